"""DICOM pixels in every encoding and colour model, against known pixels."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence

from cases.errors import FieldInvalid
from cases.intake import Limits, dicom, render_frame
from tests import phantoms
from tests.cases.intake.conftest import Check, Take
from tests.phantoms import bmode_phantom, dicom_bytes

GREY = bmode_phantom(2, (64, 96))
ENCODINGS = {
    "implicit": phantoms.IMPLICIT_LITTLE,
    "explicit": phantoms.EXPLICIT_LITTLE,
    "big endian": phantoms.EXPLICIT_BIG,
    "deflated": phantoms.DEFLATED,
    "RLE": phantoms.RLE,
    "JPEG 2000": phantoms.JPEG_2000,
    "JPEG-LS": phantoms.JPEG_LS,
}
NATIVE = list(ENCODINGS.values())[:4]
Picture = npt.NDArray[np.uint8]


def colours() -> Picture:
    """64 x 96 x 3: the phantom with blocks of primary and mixed colours."""
    picture = np.stack([GREY] * 3, axis=-1)
    blocks = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (10, 120, 200), (200, 30, 90)]
    for index, block in enumerate(blocks):
        picture[16:48, 16 * index : 16 * index + 16] = block
    return picture


COLOURS = colours()


def to_ybr(rgb: Picture) -> Picture:
    """The matrix of PS3.3 C.7.6.3.1.2 for YBR_FULL, rounded."""
    matrix = np.array(
        [[0.2990, 0.5870, 0.1140], [-0.1687, -0.3313, 0.5000], [0.5000, -0.4187, -0.0813]]
    )
    return np.asarray(np.clip(np.rint(rgb @ matrix.T + [0, 128, 128]), 0, 255), np.uint8)


def frame(check: Check, data: bytes) -> npt.NDArray[np.uint8]:
    png = check(data).frame_png
    assert png is not None
    return np.asarray(Image.open(io.BytesIO(png)))


def difference(a: npt.NDArray[np.uint8], b: npt.NDArray[np.uint8]) -> int:
    assert a.shape == b.shape
    return int(np.abs(a.astype(int) - b).max())


@pytest.mark.parametrize("syntax", ENCODINGS.values(), ids=ENCODINGS)
def test_grey_is_read_back_exactly_and_stays_grey(syntax: str, check: Check) -> None:
    shown = frame(check, dicom_bytes(GREY, transfer_syntax=syntax))
    assert difference(shown, GREY) == 0


@pytest.mark.parametrize("planar", [0, 1])
@pytest.mark.parametrize("syntax", ENCODINGS.values(), ids=ENCODINGS)
def test_rgb_is_read_back_exactly(syntax: str, planar: int, check: Check) -> None:
    data = dicom_bytes(COLOURS, photometric="RGB", planar=planar, transfer_syntax=syntax)
    assert difference(frame(check, data), COLOURS) == 0


@pytest.mark.parametrize("syntax", [*NATIVE, phantoms.RLE])
def test_ybr_full_is_shown_in_its_colours(syntax: str, check: Check) -> None:
    data = dicom_bytes(to_ybr(COLOURS), photometric="YBR_FULL", transfer_syntax=syntax)
    assert difference(frame(check, data), COLOURS) <= 2


@pytest.mark.parametrize("syntax", NATIVE)
def test_native_ybr_full_422_is_shown_in_its_colours(syntax: str, check: Check) -> None:
    data = dicom_bytes(to_ybr(COLOURS), photometric="YBR_FULL_422", transfer_syntax=syntax)
    # The blocks are an even number of pixels wide, so that shared chroma loses nothing.
    assert difference(frame(check, data)[16:48], COLOURS[16:48]) <= 2


def test_ybr_full_422_stored_with_all_samples_is_understood(check: Check) -> None:
    dataset = phantoms.dicom_dataset(to_ybr(COLOURS), photometric="YBR_FULL")
    dataset.PhotometricInterpretation = "YBR_FULL_422"
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    assert difference(frame(check, buffer.getvalue()), COLOURS) <= 2


@pytest.mark.parametrize("photometric", ["RGB", "YBR_FULL", "YBR_FULL_422"])
def test_jpeg_baseline_is_shown_in_the_colours_of_its_stream(
    photometric: str, check: Check
) -> None:
    stored = COLOURS if photometric == "RGB" else to_ybr(COLOURS)
    data = dicom_bytes(stored, photometric=photometric, transfer_syntax=phantoms.JPEG_BASELINE)
    shown = frame(check, data)
    for x in range(8, 96, 16):
        assert difference(shown[32, x], COLOURS[32, x]) <= 12


@pytest.mark.parametrize("photometric", ["YBR_FULL", "YBR_FULL_422"])
def test_jpeg_called_rgb_but_compressed_as_ybr_is_shown_right(
    photometric: str, check: Check
) -> None:
    data = dicom_bytes(
        to_ybr(COLOURS),
        photometric=photometric,
        transfer_syntax=phantoms.JPEG_BASELINE,
        extra={"PhotometricInterpretation": "RGB"},
    )
    assert difference(frame(check, data)[32, 8], COLOURS[32, 8]) <= 12


def test_jpeg_of_plain_rgb_without_any_marker_follows_the_header(check: Check) -> None:
    dataset = phantoms.dicom_dataset(
        COLOURS, photometric="RGB", transfer_syntax=phantoms.JPEG_BASELINE
    )
    stream = bytes(dataset.PixelData)
    # Component ids R, G, B become 1, 2, 3 in frame and scan header, and the Adobe marker goes.
    adobe = stream.find(b"\xff\xee")
    if adobe > 0:
        stream = stream[:adobe] + stream[adobe + 2 + stream[adobe + 3] :] + b"\0" * 16
    for letter, number in ((b"R", b"\x01"), (b"G", b"\x02"), (b"B", b"\x03")):
        stream = stream.replace(letter + b"\x11", number + b"\x11", 1)
        stream = stream.replace(letter + b"\x00", number + b"\x00", 1)
    frame_bytes = stream[stream.index(b"\xff\xd8") : stream.rindex(b"\xff\xd9") + 2]
    dataset.PixelData = encapsulate([frame_bytes])
    dataset["PixelData"].VR = "OB"
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    assert difference(frame(check, buffer.getvalue())[32, 8], COLOURS[32, 8]) <= 12


@pytest.mark.parametrize("syntax", [*NATIVE, phantoms.RLE])
def test_palette_colours_are_those_of_the_palette(syntax: str, check: Check) -> None:
    rng = np.random.default_rng(5)
    palette = rng.integers(0, 256, (256, 3), dtype=np.uint8)
    data = dicom_bytes(GREY, photometric="PALETTE COLOR", palette=palette, transfer_syntax=syntax)
    assert difference(frame(check, data), palette[GREY]) == 0


def test_palette_of_eight_bit_values_in_sixteen_bit_words_is_not_black(check: Check) -> None:
    palette = np.stack([np.arange(256), np.arange(256)[::-1], np.full(256, 9)], -1)
    palette = palette.astype(np.uint16)
    data = dicom_bytes(GREY, photometric="PALETTE COLOR", palette=palette)
    assert difference(frame(check, data), palette[GREY].astype(np.uint8)) == 0


@pytest.mark.parametrize("syntax", NATIVE)
def test_palette_of_three_entries_starting_at_100_clamps(syntax: str, check: Check) -> None:
    palette = np.array([[1, 2, 3], [50, 60, 70], [251, 252, 253]], np.uint8)
    dataset = phantoms.dicom_dataset(
        GREY, photometric="PALETTE COLOR", palette=palette, transfer_syntax=syntax
    )
    for colour in ("Red", "Green", "Blue"):
        setattr(dataset, f"{colour}PaletteColorLookupTableDescriptor", [3, 100, 16])
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    expected = palette[np.clip(GREY.astype(int) - 100, 0, 2)]
    assert difference(frame(check, buffer.getvalue()), expected) == 0


@pytest.mark.parametrize("syntax", [phantoms.EXPLICIT_LITTLE, phantoms.EXPLICIT_BIG])
def test_segmented_palette_is_unfolded(syntax: str, check: Check) -> None:
    # Discrete 0, 257; linear up to 257 * 255 in 254 steps: the identity ramp in 16 bits.
    words = np.array(
        [0, 2, 0, 257, 1, 254, 65535], ">u2" if syntax == phantoms.EXPLICIT_BIG else "<u2"
    )
    dataset = phantoms.dicom_dataset(GREY, photometric="PALETTE COLOR", transfer_syntax=syntax)
    for colour in ("Red", "Green", "Blue"):
        delattr(dataset, f"{colour}PaletteColorLookupTableData")
        setattr(dataset, f"Segmented{colour}PaletteColorLookupTableData", words.tobytes())
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    assert difference(frame(check, buffer.getvalue()), GREY) == 0


def test_monochrome1_is_shown_inverted(check: Check) -> None:
    shown = frame(check, dicom_bytes(GREY, photometric="MONOCHROME1"))
    assert difference(shown, 255 - GREY) == 0


@pytest.mark.parametrize("syntax", NATIVE)
@pytest.mark.parametrize("bits", [10, 12, 16])
def test_deep_grey_is_scaled_by_its_stored_bits(bits: int, syntax: str, check: Check) -> None:
    top = (1 << bits) - 1
    deep = np.rint(GREY / 255 * top).astype(np.uint16)
    shown = frame(check, dicom_bytes(deep, bits=bits, transfer_syntax=syntax))
    assert difference(shown, GREY) == 0


def test_signed_grey_is_scaled_over_its_range(check: Check) -> None:
    deep = (GREY.astype(np.int16) - 128) * 256
    assert difference(frame(check, dicom_bytes(deep, bits=16)), GREY) <= 1


def test_bits_outside_the_stored_ones_are_ignored(check: Check) -> None:
    deep = np.rint(GREY / 255 * 4095).astype(np.uint16) | 0xA000
    assert difference(frame(check, dicom_bytes(deep, bits=12)), GREY) == 0


def test_window_decides_what_is_black_and_white(check: Check) -> None:
    ramp = np.tile(np.arange(96, dtype=np.uint8), (64, 1))
    shown = frame(check, dicom_bytes(ramp, extra={"WindowCenter": "48", "WindowWidth": "33"}))
    # Linear (C.11.2.1.2): black up to 47.5 - 16, white from 47.5 + 16.
    assert (shown[0, 31], shown[0, 64]) == (0, 255)
    assert 120 <= shown[0, 48] <= 140


def test_rescale_comes_before_the_window(check: Check) -> None:
    ramp = np.tile(np.arange(96, dtype=np.uint8), (64, 1))
    extra = {
        "RescaleSlope": "2",
        "RescaleIntercept": "-10",
        "WindowCenter": "85",
        "WindowWidth": "100",
        "VOILUTFunction": "LINEAR_EXACT",
    }
    shown = frame(check, dicom_bytes(ramp, extra=extra))
    expected = np.clip(np.rint(((2.0 * ramp - 10 - 85) / 100 + 0.5) * 255), 0, 255)
    assert difference(shown, expected.astype(np.uint8)) <= 1


def test_voi_lut_is_applied(check: Check) -> None:
    item = Dataset()
    item.LUTDescriptor = [256, 0, 8]
    item.LUTData = (255 - np.arange(256)).astype("<u2").tobytes()
    item["LUTData"].VR = "OW"
    data = dicom_bytes(GREY, extra={"VOILUTSequence": Sequence([item])})
    assert difference(frame(check, data), 255 - GREY) == 0


def test_odd_sized_big_endian_frames_in_words_are_put_right(check: Check, take: Take) -> None:
    rng = np.random.default_rng(3)
    stack = rng.integers(0, 256, (3, 49, 51), dtype=np.uint8)
    dataset = phantoms.dicom_dataset(stack, transfer_syntax=phantoms.EXPLICIT_BIG)
    data = stack.tobytes() + b"\0"
    dataset.PixelData = np.frombuffer(data, "u2").byteswap().tobytes()
    dataset["PixelData"].VR = "OW"
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    path = take(buffer.getvalue()).path
    for index in range(3):
        shown = np.asarray(Image.open(io.BytesIO(render_frame(path, index))))
        assert difference(shown, stack[index]) == 0


@pytest.mark.parametrize(
    "syntax", [phantoms.EXPLICIT_LITTLE, phantoms.RLE, phantoms.JPEG_BASELINE, phantoms.JPEG_2000]
)
def test_every_frame_of_a_loop_can_be_drawn(syntax: str, check: Check, take: Take) -> None:
    stack = np.stack([bmode_phantom(seed, (64, 96)) for seed in range(4)])
    data = dicom_bytes(stack, transfer_syntax=syntax)
    image = check(data)
    assert (image.frames, image.frame) == (4, 1)
    path = take(data).path
    for index in range(4):
        shown = np.asarray(Image.open(io.BytesIO(render_frame(path, index))))
        limit = 40 if syntax == phantoms.JPEG_BASELINE else 0
        assert difference(shown, stack[index]) <= limit
    assert image.frame_png == render_frame(path, 1)
    for wrong in (-1, 4):
        with pytest.raises(FieldInvalid):
            render_frame(path, wrong)


def test_frames_split_into_fragments_are_put_together(take: Take) -> None:
    stack = np.stack([bmode_phantom(seed, (64, 96)) for seed in range(3)])
    for has_bot in (True, False):
        dataset = phantoms.dicom_dataset(stack, transfer_syntax=phantoms.JPEG_BASELINE)
        frames = [phantoms._dicom_jpeg(one, "MONOCHROME2") for one in stack]
        dataset.PixelData = encapsulate(frames, fragments_per_frame=3, has_bot=has_bot)
        dataset["PixelData"].VR = "OB"
        buffer = io.BytesIO()
        dataset.save_as(buffer, enforce_file_format=True)
        path = take(buffer.getvalue()).path
        for index in range(3):
            expected = np.asarray(Image.open(io.BytesIO(frames[index])))
            shown = np.asarray(Image.open(io.BytesIO(render_frame(path, index))))
            assert difference(shown, expected) == 0


@pytest.mark.parametrize(
    ("frames", "stated", "chosen", "rule"),
    [
        (1, None, 0, "single_frame"),
        (5, None, 2, "middle_frame"),
        (4, None, 1, "middle_frame"),
        (5, 4, 3, "representative_frame_number"),
        (5, 6, 2, "middle_frame"),
        (5, 0, 2, "middle_frame"),
    ],
)
def test_representative_frame_follows_the_stated_rule(
    frames: int, stated: int | None, chosen: int, rule: str, check: Check
) -> None:
    image = check(dicom_bytes(frames=frames, representative_frame=stated))
    assert image.dicom is not None
    assert (image.frame, image.dicom.representative_frame_rule) == (chosen, rule)
    assert image.dicom.frames_decoded == frames


@pytest.mark.parametrize("budget", [1, 64 * 96 * 5])
def test_long_loop_is_decoded_in_part_and_says_so(
    budget: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dicom, "WORK_SAMPLES", budget)
    path = tmp_path / "loop.dcm"
    stack = np.stack([bmode_phantom(seed, (64, 96)) for seed in range(9)])
    path.write_bytes(dicom_bytes(stack, transfer_syntax=phantoms.JPEG_BASELINE))
    found, png = dicom.inspect_dicom(path, Limits())
    assert (found["frames"], found["frame"]) == (9, 4)
    assert found["dicom"]["frames_decoded"] == (3 if budget == 1 else 5)
    assert np.asarray(Image.open(io.BytesIO(png))).shape == (64, 96)
