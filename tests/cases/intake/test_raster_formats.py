"""Every kind of PNG, JPEG, BMP, TIFF and WebP, against the pixels that were put in."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageCms

from cases.errors import UserFacingError
from cases.intake import Limits, render_frame
from tests import streams
from tests.cases.intake.conftest import Check, Take
from tests.phantoms import bmode_phantom, jpeg_bytes
from tests.rasters import TiffPage, bmp_of, png_chunk, png_of, tiff_of

Picture = npt.NDArray[np.uint8]
GREY = bmode_phantom(1, (60, 90))
RGB = np.stack([GREY, np.roll(GREY, 7, axis=1), 255 - GREY], axis=-1)
CORNERS = np.full((60, 90), 100, np.uint8)
CORNERS[:20, :30], CORNERS[:20, -30:], CORNERS[-20:, :30], CORNERS[-20:, -30:] = 10, 60, 160, 240
WARM = np.stack([np.arange(256), np.arange(256) // 2, 255 - np.arange(256)], -1).astype(np.uint8)
LEVELS = {bits: np.linspace(0, 255, 1 << bits).round().astype(np.uint8) for bits in (1, 2, 4, 8)}


def shown(take: Take, data: bytes) -> Picture:
    return np.asarray(Image.open(io.BytesIO(render_frame(take(data).path))))


def drawn(check: Check, data: bytes, kind: str) -> Picture:
    """The picture that the model reads of a file which it does not read itself."""
    image = check(data)
    assert (image.format, image.frames, image.frame, image.dicom) == (kind, 1, 0, None)
    assert image.frame_png is not None
    picture = np.asarray(Image.open(io.BytesIO(image.frame_png)))
    assert (image.height, image.width) == picture.shape[:2]
    return picture


def refusal(check: Check, data: bytes, limits: Limits | None = None) -> tuple[str, str]:
    with pytest.raises(UserFacingError) as refused:
        check(data, limits)
    return refused.value.code, refused.value.detail


def same(a: npt.NDArray[Any], b: npt.NDArray[Any], within: int = 0) -> None:
    assert a.shape == b.shape
    assert int(np.abs(a.astype(int) - b.astype(int)).max()) <= within


def saved(picture: Picture | Image.Image, kind: str, **options: Any) -> bytes:
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


# PNG


@pytest.mark.parametrize("interlaced", [False, True], ids=["plain", "interlaced"])
@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_png_of_grey(bits: int, interlaced: bool, take: Take) -> None:
    if bits == 16:
        same(shown(take, png_of(GREY.astype(int) * 257, 16, interlaced=interlaced)), GREY)
        return
    stored = GREY >> (8 - bits)
    same(shown(take, png_of(stored, bits, interlaced=interlaced)), LEVELS[bits][stored])


@pytest.mark.parametrize("interlaced", [False, True], ids=["plain", "interlaced"])
@pytest.mark.parametrize("bits", [8, 16])
def test_png_of_rgb(bits: int, interlaced: bool, take: Take) -> None:
    stored = RGB if bits == 8 else RGB.astype(int) * 257
    same(shown(take, png_of(stored, bits, interlaced=interlaced)), RGB)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("colours", [1, 3], ids=["grey", "RGB"])
def test_png_with_transparency_is_laid_on_black(colours: int, bits: int, take: Take) -> None:
    alpha = np.zeros((60, 90, 1), int)
    alpha[:, 45:] = 255
    picture = RGB[:, :, :colours]
    stored = np.concatenate([picture, alpha], axis=-1) * (1 if bits == 8 else 257)
    expected = np.where(alpha > 0, picture, 0).squeeze()
    same(shown(take, png_of(stored, bits)), expected)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_png_with_palette(bits: int, take: Take) -> None:
    palette = WARM[:: 256 >> bits]
    stored = GREY >> (8 - bits)
    same(shown(take, png_of(stored, bits, palette=palette)), palette[stored])


def test_png_with_transparent_palette_entry(take: Take) -> None:
    palette = np.array([[200, 10, 10], [10, 200, 10]])
    stored = (GREY > 100).astype(int)
    data = png_of(stored, 1, palette=palette)
    at = data.index(b"IDAT") - 4
    data = data[:at] + png_chunk(b"tRNS", b"\x00") + data[at:]
    same(shown(take, data), np.array([[0, 0, 0], [10, 200, 10]])[stored])


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_colour_profile_does_not_change_the_numbers(kind: str, take: Take) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    how: dict[str, Any] = {"quality": 95} if kind == "JPEG" else {}
    how |= {"lossless": True} if kind == "WEBP" else {}
    plain, tagged = saved(RGB, kind, **how), saved(RGB, kind, icc_profile=profile, **how)
    assert len(tagged) > len(plain)
    same(shown(take, tagged), shown(take, plain))


# JPEG


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize("progressive", [False, True], ids=["baseline", "progressive"])
def test_jpeg_of_rgb(progressive: bool, subsampling: str, take: Take) -> None:
    soft = np.asarray(Image.fromarray(RGB[::10, ::10]).resize((90, 60), Image.Resampling.BICUBIC))
    data = jpeg_bytes(soft, 95, progressive=progressive, subsampling=subsampling)
    same(shown(take, data), soft, within=16)


def test_jpeg_of_cmyk_is_no_negative(check: Check, take: Take) -> None:
    flat = np.full((60, 90, 3), (200, 120, 60), np.uint8)
    data = saved(Image.fromarray(flat).convert("CMYK"), "JPEG", quality=95)
    same(shown(take, data), flat, within=6)
    at = data.index(b"\xff\xee")
    unmarked = data[:at] + data[at + 2 + int.from_bytes(data[at + 2 : at + 4], "big") :]
    code, detail = refusal(check, unmarked)
    assert (code, "CMYK" in detail) == ("image_unsupported", True)


@pytest.mark.parametrize("data", [streams.ARITHMETIC, streams.ARITHMETIC_PROGRESSIVE])
def test_jpeg_with_arithmetic_coding(data: bytes, take: Take) -> None:
    assert data[data.index(b"\xff\xc9" if b"\xff\xc9" in data else b"\xff\xca") + 2] == 0
    same(shown(take, data), streams.pattern(), within=4)


def test_jpeg_with_restart_markers(take: Take) -> None:
    data = jpeg_bytes(GREY, 95, restart_marker_rows=1)
    assert b"\xff\xd0" in data
    same(shown(take, data), GREY, within=30)


def test_jpeg_of_kinds_no_browser_shows_is_refused(check: Check) -> None:
    data = jpeg_bytes(GREY)
    at = data.index(b"\xff\xc0")
    for sof, says in ((b"\xff\xc3", "lossless"), (b"\xff\xf7", "JPEG-LS"), (b"\xff\xc5", "hier")):
        code, detail = refusal(check, data[:at] + sof + data[at + 2 :])
        assert (code, says in detail) == ("image_unsupported", True)
    deep = data[: at + 4] + b"\x0c" + data[at + 5 :]
    code, detail = refusal(check, deep)
    assert (code, "12 bits" in detail) == ("image_unsupported", True)


# BMP


@pytest.mark.parametrize(
    ("header", "top_down"),
    [(12, False), (40, False), (40, True), (52, False), (56, False), (108, True), (124, True)],
)
def test_bmp_of_rgb(header: int, top_down: bool, check: Check) -> None:
    same(drawn(check, bmp_of(RGB, header=header, top_down=top_down), "BMP"), RGB)


@pytest.mark.parametrize("header", [12, 40])
@pytest.mark.parametrize("bits", [1, 4, 8])
def test_bmp_with_palette(bits: int, header: int, check: Check) -> None:
    palette = WARM[:: 256 >> bits]
    stored = GREY >> (8 - bits)
    data = bmp_of(stored, bits, header=header, palette=palette)
    same(drawn(check, data, "BMP"), palette[stored])


def test_bmp_of_grey_stays_grey(check: Check) -> None:
    ramp = np.repeat(np.arange(256)[:, None], 3, axis=1)
    same(drawn(check, bmp_of(GREY, 8, palette=ramp), "BMP"), GREY)


@pytest.mark.parametrize("compression", [1, 2], ids=["RLE8", "RLE4"])
def test_bmp_of_runs(compression: int, check: Check) -> None:
    bits = {1: 8, 2: 4}[compression]
    palette = WARM[:: 256 >> bits]
    stored = (CORNERS >> (8 - bits)).astype(int)
    data = bmp_of(stored, bits, palette=palette, compression=compression)
    same(drawn(check, data, "BMP"), palette[stored])


@pytest.mark.parametrize("green", [5, 6])
def test_bmp_of_sixteen_bits(green: int, check: Check) -> None:
    red, middle, blue = RGB[..., 0] >> 3, RGB[..., 1] >> (8 - green), RGB[..., 2] >> 3
    words = red.astype(int) << (5 + green) | middle.astype(int) << 5 | blue
    masks = (0xF800, 0x7E0, 0x1F) if green == 6 else ()
    data = bmp_of(words, 16, compression=3 if masks else 0, masks=masks, header=52 if masks else 40)
    same(drawn(check, data, "BMP"), RGB, within=8)


@pytest.mark.parametrize("alpha", [None, 0, 255])
def test_bmp_of_thirty_two_bits(alpha: int | None, check: Check) -> None:
    words = RGB.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    words |= np.uint32((alpha or 0) << 24)
    masks = () if alpha is None else (0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    data = bmp_of(words, 32, compression=3 if masks else 0, masks=masks, header=124)
    same(drawn(check, data, "BMP"), RGB)


def test_bmp_that_cannot_be_read_is_refused_with_its_reason(check: Check) -> None:
    good = bmp_of(RGB)
    assert refusal(check, good[:-200])[0] == "image_corrupt"
    assert "cut off" in refusal(check, good[:-200])[1]
    for at, value, code in (
        (30, 5, "image_unsupported"),  # a PNG inside
        (28, 48, "image_unsupported"),  # bits that there are not
        (18, 1 << 20, "image_too_many_pixels"),
        (22, 10, "image_too_small"),
        (18, 0, "image_corrupt"),
    ):
        bad = good[:at] + value.to_bytes(4, "little") + good[at + 4 :]
        assert refusal(check, bad)[0] == code, (at, value)
    stranger = bmp_of(GREY.astype(int), 32, compression=3, masks=(0x3FF00000, 0xFFC00, 0x3FF))
    assert refusal(check, stranger)[0] == "image_unsupported"


# TIFF


@pytest.mark.parametrize(("order", "big"), [("<", False), (">", False), ("<", True)])
@pytest.mark.parametrize("deflate", [False, True], ids=["uncompressed", "deflated"])
def test_tiff_of_rgb(deflate: bool, order: str, big: bool, check: Check) -> None:
    data = tiff_of(TiffPage(RGB, 2, deflate=deflate, rows_per_strip=16), order=order, big=big)
    same(drawn(check, data, "TIFF"), RGB)


@pytest.mark.parametrize("white_is_zero", [False, True], ids=["black is 0", "white is 0"])
@pytest.mark.parametrize("bits", [1, 4, 8, 16])
def test_tiff_of_grey(bits: int, white_is_zero: bool, check: Check) -> None:
    stored = GREY.astype(np.uint16) * 257 if bits == 16 else GREY >> (8 - bits)
    expected = GREY if bits == 16 else LEVELS[bits][stored]
    page = TiffPage(stored, 0 if white_is_zero else 1, bits=bits)
    picture = drawn(check, tiff_of(page), "TIFF")
    same(picture, 255 - expected if white_is_zero else expected, within=1)


@pytest.mark.parametrize("order", ["<", ">"], ids=["little endian", "big endian"])
@pytest.mark.parametrize("deflate", [False, True], ids=["uncompressed", "deflated"])
def test_tiff_of_sixteen_bits(deflate: bool, order: str, check: Check) -> None:
    grey = tiff_of(TiffPage(GREY.astype(np.uint16) * 257, deflate=deflate), order=order)
    same(drawn(check, grey, "TIFF"), GREY)
    colours = tiff_of(TiffPage(RGB.astype(np.uint16) * 257, 2, deflate=deflate), order=order)
    same(drawn(check, colours, "TIFF"), RGB)


def test_tiff_of_twelve_bits_in_sixteen_uses_the_whole_range(check: Check) -> None:
    deep = np.rint(GREY / GREY.max() * 4095).astype(np.uint16)
    picture = drawn(check, tiff_of(TiffPage(deep)), "TIFF")
    assert (picture.min(), picture.max()) == (0, 255)


@pytest.mark.parametrize("bits", [1, 4, 8])
def test_tiff_with_palette(bits: int, check: Check) -> None:
    palette = WARM[:: 256 >> bits]
    stored = GREY >> (8 - bits)
    data = tiff_of(TiffPage(stored, 3, bits=bits, palette=palette))
    same(drawn(check, data, "TIFF"), palette[stored])


@pytest.mark.parametrize("deflate", [False, True], ids=["uncompressed", "deflated"])
def test_tiff_in_tiles(deflate: bool, check: Check) -> None:
    same(drawn(check, tiff_of(TiffPage(RGB, 2, tile=32, deflate=deflate)), "TIFF"), RGB)
    same(drawn(check, tiff_of(TiffPage(GREY, 1, tile=16, deflate=deflate)), "TIFF"), GREY)


@pytest.mark.parametrize("deflate", [False, True], ids=["uncompressed", "deflated"])
def test_tiff_in_planes(deflate: bool, check: Check) -> None:
    page = TiffPage(RGB, 2, planes=True, deflate=deflate, rows_per_strip=16)
    same(drawn(check, tiff_of(page), "TIFF"), RGB)


def test_tiff_of_cmyk(check: Check) -> None:
    inks = np.zeros((60, 90, 4), np.uint8)
    inks[..., :3] = 255 - RGB
    same(drawn(check, tiff_of(TiffPage(inks, 5)), "TIFF"), RGB, within=1)


@pytest.mark.parametrize("extra", [0, 1, 2], ids=["unspecified", "premultiplied", "transparency"])
def test_tiff_with_a_fourth_sample(extra: int, check: Check) -> None:
    stack = np.concatenate([RGB, np.full((60, 90, 1), 255, np.uint8)], axis=-1)
    same(drawn(check, tiff_of(TiffPage(stack, 2, tags={338: extra})), "TIFF"), RGB)


@pytest.mark.parametrize(
    "compression", ["tiff_lzw", "packbits", "tiff_adobe_deflate", "lzma", "zstd", "jpeg", "raw"]
)
def test_tiff_of_every_compression(compression: str, check: Check) -> None:
    data = saved(RGB, "TIFF", compression=compression)
    within = 60 if compression == "jpeg" else 0
    same(drawn(check, data, "TIFF"), RGB, within=within)


@pytest.mark.parametrize("compression", ["group3", "group4", "tiff_ccitt"])
def test_tiff_of_fax(compression: str, check: Check) -> None:
    page = Image.fromarray(CORNERS > 90)
    picture = drawn(check, saved(page, "TIFF", compression=compression), "TIFF")
    same(picture, np.where(CORNERS > 90, 255, 0))


@pytest.mark.parametrize("deflate", [False, True], ids=["uncompressed", "deflated"])
def test_tiff_orientation_is_applied(deflate: bool, check: Check) -> None:
    for orientation, turned in ((1, 0), (3, 2), (6, -1), (8, 1)):
        data = tiff_of(TiffPage(CORNERS, deflate=deflate, tags={274: orientation}))
        same(drawn(check, data, "TIFF"), np.rot90(CORNERS, turned))
        assert check(data).facts["orientation"] == orientation


def test_tiff_of_several_pages_is_refused_but_a_thumbnail_is_no_page(check: Check) -> None:
    page = TiffPage(GREY)
    code, detail = refusal(check, tiff_of(page, page, page))
    assert (code, "3 pages" in detail) == ("image_animated", True)
    small = TiffPage(GREY[::4, ::4], tags={254: 1})
    old = TiffPage(GREY[::4, ::4], tags={255: 2})
    mask = TiffPage(GREY, tags={254: 4})
    for pages in ((page, small), (small, page), (old, page), (page, mask)):
        same(drawn(check, tiff_of(*pages), "TIFF"), GREY)


def test_tiff_whose_directories_go_in_a_circle_is_refused(check: Check) -> None:
    data = bytearray(tiff_of(TiffPage(GREY), TiffPage(GREY)))
    first = data[4:8]
    assert data[-4:] == b"\0\0\0\0"
    data[-4:] = first
    assert refusal(check, bytes(data))[0] == "image_corrupt"


def test_tiff_that_cannot_be_read_is_refused_with_its_reason(check: Check) -> None:
    for page in (
        TiffPage(GREY.astype(np.float32)),
        TiffPage(GREY.astype(np.int16)),
        TiffPage(RGB, 8),  # CIE L*a*b*
        TiffPage(RGB, 6),  # YCbCr without JPEG
        TiffPage(GREY, tags={259: 6}),  # JPEG of the old kind
        TiffPage(GREY, tags={259: 34712}),  # JPEG 2000
        TiffPage(RGB.astype(np.uint16), 2, planes=True),
    ):
        code, detail = refusal(check, tiff_of(page))
        assert (code, "TIFF" in detail) == ("image_unsupported", True)
    assert refusal(check, tiff_of(TiffPage(RGB, 2), order=">", big=True))[0] == "image_unsupported"
    huge = tiff_of(TiffPage(GREY, tags={256: 60_000, 257: 60_000}))
    assert refusal(check, huge, Limits(memory_bytes=16 * 2**20))[0] == "image_too_many_pixels"
    assert refusal(check, tiff_of(TiffPage(GREY[:47])))[0] == "image_too_small"
    # The directory comes last: what is cut off first is the strip of a file written otherwise.
    moved = bytearray(tiff_of(TiffPage(GREY)))
    at = moved.index((279).to_bytes(2, "little") + b"\x03\0\1\0\0\0") + 8
    moved[at : at + 4] = (60_000).to_bytes(4, "little")
    code, detail = refusal(check, bytes(moved))
    assert (code, "cut off" in detail) == ("image_corrupt", True)
    assert refusal(check, tiff_of(TiffPage(GREY))[:-9])[0] == "image_corrupt"
    assert refusal(check, tiff_of(TiffPage(GREY, tile=32, tags={322: 1 << 30})))[0] == (
        "image_corrupt"
    )


# WebP


def test_webp_without_loss(check: Check) -> None:
    same(drawn(check, saved(RGB, "WEBP", lossless=True), "WEBP"), RGB)
    same(drawn(check, saved(GREY, "WEBP", lossless=True), "WEBP"), GREY)


def test_webp_with_loss(check: Check) -> None:
    soft = np.asarray(Image.fromarray(RGB[::10, ::10]).resize((90, 60), Image.Resampling.BICUBIC))
    same(drawn(check, saved(soft, "WEBP", quality=95), "WEBP"), soft, within=40)


def test_webp_with_transparency_is_laid_on_black(check: Check) -> None:
    alpha = np.zeros((60, 90, 1), np.uint8)
    alpha[:, 45:] = 255
    stack = np.concatenate([RGB, alpha], axis=-1)
    for how in ({"lossless": True}, {"lossless": True, "exact": True}):
        same(drawn(check, saved(stack, "WEBP", **how), "WEBP"), np.where(alpha > 0, RGB, 0))


@pytest.mark.parametrize("orientation", [1, 6, 8])
def test_webp_orientation_is_applied(orientation: int, check: Check) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(CORNERS, "WEBP", lossless=True, exif=exif)
    same(drawn(check, data, "WEBP"), np.rot90(CORNERS, {1: 0, 6: -1, 8: 1}[orientation]))


def test_webp_that_cannot_be_read_is_refused_with_its_reason(check: Check) -> None:
    frames = [Image.fromarray(np.roll(GREY, i)) for i in range(3)]
    moving = saved(frames[0], "WEBP", save_all=True, append_images=frames[1:])
    assert refusal(check, moving)[0] == "image_animated"
    good = saved(GREY, "WEBP", lossless=True)
    code, detail = refusal(check, good[:-40])
    assert (code, "cut off" in detail) == ("image_corrupt", True)
    assert refusal(check, saved(GREY[:47], "WEBP"))[0] == "image_too_small"
    exif = Image.Exif()
    exif[0x0112] = 1
    large = bytearray(saved(GREY, "WEBP", lossless=True, exif=exif))
    at = large.index(b"VP8X") + 12
    large[at : at + 6] = b"\xff\xff\x0f" * 2
    little = Limits(memory_bytes=16 * 2**20)
    assert refusal(check, bytes(large), little)[0] == "image_too_many_pixels"


@pytest.mark.parametrize("kind", ["BMP", "TIFF", "WEBP"])
def test_drawn_picture_of_a_file_carries_nothing_else_of_it(kind: str, check: Check) -> None:
    exif = Image.Exif()
    exif[0x010E] = "Secret^Name"
    data = saved(RGB, kind, **({} if kind == "BMP" else {"exif": exif}))
    png = check(data + (b"Secret^Name" if kind == "BMP" else b"")).frame_png
    assert png is not None
    assert b"Secret" not in png
    assert not Image.open(io.BytesIO(png)).info
