import io
import zlib

import numpy as np
import pytest
from PIL import Image

from ml.bmode import bmode_box
from ml.errors import ImageUnreadableError
from ml.inference import Predictor
from ml.preprocessing import MAX_PIXELS, PREPROCESSING, Preprocessing, as_rgb, decode_raster
from ml.trainer import TrainingData
from tests.ml.helpers import phantom, png

GREY = phantom(3, size=(60, 80))
RGB = np.stack([GREY, GREY // 2, 255 - GREY], axis=2)


def encode(image, fmt, **options):
    buffer = io.BytesIO()
    image.save(buffer, format=fmt, **options)
    return buffer.getvalue()


def with_alpha(mode):
    alpha = np.full(GREY.shape, 255, np.uint8)
    alpha[:, :40] = 0
    bands = {"LA": [GREY, alpha], "RGBA": [GREY, GREY, GREY, alpha]}[mode]
    return Image.merge(mode, [Image.fromarray(b) for b in bands])


LOSSLESS = {
    "L": (Image.fromarray(GREY), np.repeat(GREY[:, :, None], 3, 2)),
    "RGB": (Image.fromarray(RGB), RGB),
    "1": (
        Image.fromarray(GREY > 60),
        np.repeat((GREY > 60)[:, :, None] * np.uint8(255), 3, 2),
    ),
    "P": (
        Image.fromarray(GREY).convert("P"),
        np.asarray(Image.fromarray(GREY).convert("P").convert("RGB")),
    ),
}


@pytest.mark.parametrize("mode", LOSSLESS)
def test_png_of_each_mode_decodes_to_its_rgb_pixels(mode):
    image, expected = LOSSLESS[mode]
    assert image.mode == mode
    decoded = decode_raster(encode(image, "PNG"))
    assert decoded.dtype == np.uint8
    np.testing.assert_array_equal(decoded, expected)


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_transparent_parts_become_black(mode):
    decoded = decode_raster(encode(with_alpha(mode), "PNG"))
    assert decoded[:, :40].max() == 0
    np.testing.assert_array_equal(decoded[:, 40:, 0], GREY[:, 40:])


def test_a_palette_with_a_transparent_entry_decodes():
    image = Image.fromarray(GREY).convert("P")
    decoded = decode_raster(encode(image, "PNG", transparency=0))
    assert decoded.shape == (60, 80, 3)


def test_16_bit_png_is_scaled_from_the_full_range():
    wide = GREY.astype(np.uint16) * 257
    wide[0, 0] = 65535
    decoded = decode_raster(png(wide))
    np.testing.assert_array_equal(decoded[1:, :, 0], GREY[1:])


def test_16_bit_png_that_holds_12_bits_is_not_black():
    wide = GREY.astype(np.uint16) * 16
    wide[0, 0] = 4095
    decoded = decode_raster(png(wide))
    assert np.abs(decoded[1:, :, 0].astype(int) - GREY[1:]).max() <= 1


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_jpeg_of_each_mode_decodes_close_to_its_pixels(mode):
    smooth = Image.linear_gradient("L").resize((80, 60))
    data = encode(smooth.convert(mode), "JPEG", quality=95)
    decoded = decode_raster(data)
    assert np.abs(decoded[:, :, 0].astype(int) - np.asarray(smooth).astype(int)).max() < 12


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("fmt", ["JPEG", "PNG"])
def test_exif_orientation_is_applied(orientation, fmt):
    image = Image.new("L", (64, 32))
    image.paste(255, (0, 0, 32, 16))
    exif = Image.Exif()
    exif[0x0112] = orientation
    decoded = decode_raster(encode(image, fmt, exif=exif.tobytes()))[:, :, 0]
    corners = [decoded[4, 4], decoded[4, -4], decoded[-4, -4], decoded[-4, 4]]
    lit = int(np.argmax(corners))
    assert lit == {1: 0, 2: 1, 3: 2, 4: 3, 5: 0, 6: 1, 7: 2, 8: 3}[orientation]
    assert decoded.shape == ((32, 64) if orientation < 5 else (64, 32))


def bomb():
    """A PNG header that promises 60,000 x 60,000 pixels."""
    data = bytearray(png(GREY))
    data[16:24] = (60000).to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(bytes(data[12:29])).to_bytes(4, "big")
    return bytes(data)


def animated():
    frames = [Image.fromarray(phantom(s, size=(60, 80))) for s in range(3)]
    return encode(frames[0], "PNG", save_all=True, append_images=frames[1:])


BAD = {
    "empty": (b"", "empty"),
    "text": (b"this is no picture", "not a JPEG or PNG"),
    "gif": (encode(Image.fromarray(GREY), "GIF"), "not a JPEG or PNG"),
    "cut png": (png(GREY)[:-900], "damaged or cut short"),
    "cut jpeg": (encode(Image.fromarray(RGB), "JPEG")[:-400], "damaged or cut short"),
    "only a png signature": (png(GREY)[:8], "not a JPEG or PNG"),
    "bomb": (bomb(), "too many pixels"),
    "tiny": (png(GREY[:15, :40]), "too small"),
    "animated": (animated(), "animated"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_bytes_are_refused_with_a_reason(kind, recwarn):
    data, reason = BAD[kind]
    with pytest.raises(ImageUnreadableError, match=reason):
        decode_raster(data)
    assert not recwarn.list


def test_arrays_of_other_kinds_are_refused():
    assert as_rgb(GREY).shape == (60, 80, 3)
    for bad in (GREY.astype(np.float32), RGB[:, :, :2], np.zeros((2, 60, 80, 3), np.uint8)):
        with pytest.raises(ImageUnreadableError):
            as_rgb(bad)
    with pytest.raises(ImageUnreadableError, match="too small"):
        as_rgb(GREY[:5])
    assert MAX_PIXELS < 60000 * 60000


@pytest.mark.parametrize(("high", "wide"), [(100, 200), (200, 100), (333, 77), (64, 64)])
def test_pad_keeps_proportions_and_tells_where_the_picture_went(high, wide):
    image = np.full((high, wide, 3), 200, np.uint8)
    canvas, geometry = Preprocessing(crop="none", size=96).frame(image)
    rows, cols = (np.flatnonzero(canvas[:, :, 0].any(axis=a)) for a in (1, 0))
    assert abs(len(cols) / len(rows) - wide / high) < 0.03 * wide / high + 0.02
    x0, y0, x1, y1 = geometry.covered
    # the lit pixels, mapped back through the covered area, are the picture's own edges
    assert x0 + cols[0] * (x1 - x0) / 96 == pytest.approx(0, abs=1e-6)
    assert x0 + (cols[-1] + 1) * (x1 - x0) / 96 == pytest.approx(wide, abs=1e-6)
    assert y0 + rows[0] * (y1 - y0) / 96 == pytest.approx(0, abs=1e-6)
    assert y0 + (rows[-1] + 1) * (y1 - y0) / 96 == pytest.approx(high, abs=1e-6)


def test_squash_fills_the_square():
    canvas, geometry = Preprocessing(crop="none", fit="squash", size=64).frame(RGB)
    assert canvas.min(axis=2).shape == (64, 64)
    assert geometry.covered == (0, 0, 80, 60)


def test_a_region_amid_black_borders_and_letters_is_cropped():
    screen = np.zeros((300, 420), np.uint8)
    screen[60:280, 100:340] = np.maximum(phantom(5, size=(220, 240), lesion="normal"), 30)
    screen[10:18, 20:60] = 230
    screen[290:294, 10:400:3] = 180
    x0, y0, x1, y1 = bmode_box(np.repeat(screen[:, :, None], 3, axis=2))
    assert 85 <= x0 <= 100 and 340 <= x1 <= 355
    assert 45 <= y0 <= 60 and y1 == 300


def test_a_full_picture_is_not_cropped():
    image = np.repeat(np.maximum(GREY, 30)[:, :, None], 3, axis=2)
    assert bmode_box(image) == (0, 0, 80, 60)


@pytest.mark.parametrize("level", [0, 255])
def test_a_flat_picture_is_not_cropped(level):
    assert bmode_box(np.full((90, 120, 3), level, np.uint8)) == (0, 0, 120, 90)


def test_scattered_letters_are_no_region():
    screen = np.zeros((300, 420, 3), np.uint8)
    screen[20:30, 30:90] = 255
    screen[200:210, 300:360] = 255
    assert bmode_box(screen) == (0, 0, 420, 300)


@pytest.mark.parametrize("recipe", sorted(PREPROCESSING))
def test_settings_survive_json_and_have_a_digest_of_their_own(recipe):
    settings = PREPROCESSING[recipe]
    assert Preprocessing.from_dict(settings.to_dict()) == settings
    assert settings.digest() == Preprocessing.from_dict(settings.to_dict()).digest()
    assert len({p.digest() for p in PREPROCESSING.values()}) == len(PREPROCESSING)


@pytest.mark.parametrize("change", [{"algorithm": 99}, {"crop": "face"}, {"colour": 1}])
def test_settings_this_code_cannot_follow_are_refused(change):
    with pytest.raises(ValueError, match="preprocessing"):
        Preprocessing.from_dict({**Preprocessing().to_dict(), **change})


def test_evaluation_in_training_equals_serving_bit_for_bit(dataset, model_file, monkeypatch):
    records = dataset.records[:5]
    predictor = Predictor(model_file, device="cpu")
    data = TrainingData.load(dataset, records, records, predictor.model.preprocessing)
    seen = []
    original = predictor.run
    monkeypatch.setattr(predictor, "run", lambda t: (seen.extend(t), original(t))[1])
    predictor.predict([(dataset.root / r.file).read_bytes() for r in records])
    assert len(seen) == len(records)
    for served, trained in zip(seen, data.validation, strict=True):
        assert served.dtype == trained.dtype == np.float32
        np.testing.assert_array_equal(served, trained)
