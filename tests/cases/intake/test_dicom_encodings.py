"""Every transfer syntax with every depth and colour model it may carry, to known pixels."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.sequence import Sequence

from cases.errors import UserFacingError
from cases.intake import Limits, dicom_file, render_frame
from tests import encoders, phantoms, streams
from tests.cases.intake.conftest import Check, Take
from tests.cases.intake.test_dicom_pixels import COLOURS, GREY, difference, frame, to_ybr
from tests.encoders import deep, encoded, written
from tests.jpeg_writers import lossless_jpeg
from tests.phantoms import bmode_phantom, dicom_bytes, dicom_dataset

LOSSLESS = {
    "implicit": phantoms.IMPLICIT_LITTLE,
    "explicit": phantoms.EXPLICIT_LITTLE,
    "big endian": phantoms.EXPLICIT_BIG,
    "deflated": phantoms.DEFLATED,
    "RLE": phantoms.RLE,
    "JPEG lossless": encoders.JPEG_LOSSLESS,
    "JPEG lossless SV1": encoders.JPEG_LOSSLESS_FIRST,
    "JPEG-LS": phantoms.JPEG_LS,
    "JPEG 2000": phantoms.JPEG_2000,
}
DEPTHS = {"8": (8, False), "8 signed": (8, True), "10": (10, False), "12": (12, False),
          "12 signed": (12, True), "16": (16, False), "16 signed": (16, True)}  # fmt: skip
SMALL = GREY[:48, :64]


def levels(picture: npt.NDArray[np.uint8], bits: int) -> npt.NDArray[np.uint8]:
    """`picture` in the grey levels that so many bits leave."""
    return np.rint(deep(picture, bits) / ((1 << bits) - 1) * 255).astype(np.uint8)


@pytest.mark.parametrize(("bits", "signed"), DEPTHS.values(), ids=DEPTHS)
@pytest.mark.parametrize("syntax", LOSSLESS.values(), ids=LOSSLESS)
def test_lossless_grey_of_every_depth(syntax: str, bits: int, signed: bool, check: Check) -> None:
    data = encoded(deep(SMALL, bits, signed=signed), syntax, bits=bits)
    assert difference(frame(check, data), SMALL) == 0


@pytest.mark.parametrize("photometric", ["RGB", "YBR_FULL"])
@pytest.mark.parametrize("syntax", LOSSLESS.values(), ids=LOSSLESS)
def test_lossless_colour(syntax: str, photometric: str, check: Check) -> None:
    stored = COLOURS if photometric == "RGB" else to_ybr(COLOURS)
    data = encoded(stored, syntax, photometric=photometric)
    assert difference(frame(check, data), COLOURS) <= (0 if photometric == "RGB" else 2)


@pytest.mark.parametrize("syntax", LOSSLESS.values(), ids=LOSSLESS)
def test_lossless_palette_indices(syntax: str, check: Check) -> None:
    palette = np.random.default_rng(5).integers(0, 256, (256, 3), dtype=np.uint8)
    data = encoded(SMALL, syntax, photometric="PALETTE COLOR", palette=palette)
    assert difference(frame(check, data), palette[SMALL]) == 0


@pytest.mark.parametrize("predictor", range(1, 8))
def test_lossless_jpeg_with_every_predictor(predictor: int, check: Check) -> None:
    data = encoded(deep(SMALL, 12), encoders.JPEG_LOSSLESS, bits=12, predictor=predictor)
    assert difference(frame(check, data), SMALL) == 0


@pytest.mark.parametrize("stored", [3, 7])
@pytest.mark.parametrize("precision", [7, 8])
def test_lossless_jpeg_of_fewer_bits_than_a_byte(
    precision: int, stored: int, check: Check, caplog: pytest.LogCaptureFixture
) -> None:
    """gdcm aborts on such a header: found by the fuzzer, file 13470 of seed 20261126."""
    dataset = dicom_dataset(SMALL, extra={"BitsStored": stored, "HighBit": stored - 1})
    samples = deep(SMALL, stored)
    encoders.put(dataset, encoders.JPEG_LOSSLESS_FIRST, lossless_jpeg(samples, precision))
    assert difference(frame(check, written(dataset)), levels(SMALL, stored)) == 0
    assert "decoder_died" not in caplog.text


def test_extended_jpeg_of_twelve_bits(check: Check) -> None:
    data = encoded(deep(GREY, 12), encoders.JPEG_EXTENDED, bits=12)
    assert difference(frame(check, data), GREY) <= 1


def test_extended_jpeg_of_eight_bits(check: Check) -> None:
    dataset = dicom_dataset(GREY)
    encoders.put(dataset, encoders.JPEG_EXTENDED, phantoms.jpeg_bytes(GREY, 95))
    assert difference(frame(check, written(dataset)), GREY) <= 40


@pytest.mark.parametrize("bits", [8, 12])
def test_near_lossless_jpeg_ls_stays_within_its_bound(bits: int, check: Check) -> None:
    near = 2 << (bits - 8)
    data = encoded(deep(GREY, bits), encoders.JPEG_LS_NEAR, bits=bits, near=near)
    assert difference(frame(check, data), GREY) <= 3


@pytest.mark.parametrize("photometric", ["MONOCHROME2", "RGB"])
def test_lossy_jpeg_2000_stays_close(photometric: str, check: Check) -> None:
    picture = GREY if photometric == "MONOCHROME2" else COLOURS
    data = encoded(picture, encoders.JPEG_2000_LOSSY, photometric=photometric, ratio=3)
    shown = frame(check, data)
    assert shown.shape == picture.shape
    assert np.abs(shown.astype(int) - picture).mean() < 6


@pytest.mark.parametrize("syntax", [phantoms.JPEG_2000, encoders.JPEG_2000_LOSSY])
def test_jpeg_2000_with_its_own_colour_transform(syntax: str, check: Check) -> None:
    """RGB through the transform of the codestream, as YBR_RCT and YBR_ICT announce it."""
    dataset = dicom_dataset(COLOURS, photometric="RGB")
    lossy = syntax != phantoms.JPEG_2000
    dataset.PhotometricInterpretation = "RGB"
    options: dict[str, Any] = {"j2k_cr": [2]} if lossy else {}
    dataset.compress(syntax, generate_instance_uid=False, **options)
    dataset.PhotometricInterpretation = "YBR_ICT" if lossy else "YBR_RCT"
    shown = frame(check, written(dataset))
    assert np.abs(shown.astype(int) - COLOURS).mean() <= (6 if lossy else 0)


@pytest.mark.parametrize("number", [201, 202, 203])
def test_high_throughput_jpeg_2000(number: int, check: Check) -> None:
    dataset = dicom_dataset(streams.pattern())
    encoders.put(dataset, f"1.2.840.10008.1.2.4.{number}", streams.HTJ2K)
    assert difference(frame(check, written(dataset)), streams.pattern()) == 0


def test_colour_models_of_jpeg_2000_are_refused_elsewhere(check: Check) -> None:
    data = dicom_bytes(COLOURS, photometric="RGB", extra={"PhotometricInterpretation": "YBR_RCT"})
    with pytest.raises(UserFacingError, match="JPEG 2000 only") as refusal:
        check(data)
    assert refusal.value.code == "dicom_invalid"


def test_partial_range_ybr_is_stretched(check: Check) -> None:
    y = np.full((64, 96), 16, np.uint8)
    y[:, 48:] = 235
    stored = np.stack([y, np.full_like(y, 128), np.full_like(y, 128)], axis=-1)
    dataset = dicom_dataset(stored, photometric="YBR_FULL_422")
    dataset.PhotometricInterpretation = "YBR_PARTIAL_422"
    shown = frame(check, written(dataset))
    assert (shown[:, :48].max(), shown[:, 48:].min()) == (0, 255)


def test_signed_colours_are_read_as_they_were_meant(check: Check) -> None:
    data = dicom_bytes(COLOURS, photometric="RGB", extra={"PixelRepresentation": 1})
    assert difference(frame(check, data), COLOURS) == 0


def test_supplemental_palette_colours_the_high_values_only(check: Check) -> None:
    stored = np.where(SMALL > 120, 200 + (SMALL % 3), SMALL // 2).astype(np.uint8)
    palette = np.array([[200, 10, 20], [10, 200, 20], [10, 20, 200]], np.uint8)
    dataset = dicom_dataset(stored, extra={"WindowCenter": "64", "WindowWidth": "128"})
    dataset.VOILUTFunction = "LINEAR_EXACT"
    for index, colour in enumerate(("Red", "Green", "Blue")):
        words = (palette[:, index].astype("<u2") * 257).tobytes()
        setattr(dataset, f"{colour}PaletteColorLookupTableDescriptor", [3, 200, 16])
        setattr(dataset, f"{colour}PaletteColorLookupTableData", words)
    grey = np.clip(np.rint(stored / 128 * 255), 0, 255).astype(np.uint8)
    assert difference(frame(check, written(dataset)), grey) <= 1
    dataset.PixelPresentation = "COLOR"
    coloured = np.where(stored[..., None] >= 200, palette[stored % 200 % 3], grey[..., None])
    assert difference(frame(check, written(dataset)), coloured) <= 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"BitsAllocated": 1},
        {"BitsAllocated": 24},
        {"BitsAllocated": 32, "BitsStored": 32, "HighBit": 31},
        {"BitsStored": 0},
        {"BitsStored": 9},
        {"HighBit": 8},
        {"PhotometricInterpretation": "HSV"},
        {"PhotometricInterpretation": "ARGB"},
        {"PhotometricInterpretation": "YBR_PARTIAL_420"},
    ],
)
def test_other_depths_and_colour_models_are_refused(wrong: dict[str, Any], check: Check) -> None:
    with pytest.raises(UserFacingError) as refusal:
        check(dicom_bytes(GREY, extra=wrong))
    assert refusal.value.code == "dicom_invalid"


# Grey by the standard


def ramp() -> npt.NDArray[np.uint8]:
    return np.tile(np.arange(96, dtype=np.uint8), (64, 1))


def windowed(function: str, x: npt.NDArray[Any], centre: float, width: float) -> npt.NDArray[Any]:
    """PS3.3 C.11.2.1.2 and C.11.2.1.3, word by word."""
    x = x.astype(float)
    if function == "SIGMOID":
        y = 1 / (1 + np.exp(-4 * (x - centre) / width))
    elif function == "LINEAR_EXACT":
        y = (x - centre) / width + 0.5
        y = np.where(x <= centre - width / 2, 0, np.where(x > centre + width / 2, 1, y))
    else:
        low, high = centre - 0.5 - (width - 1) / 2, centre - 0.5 + (width - 1) / 2
        y = (x - (centre - 0.5)) / max(width - 1, 1e-9) + 0.5
        y = np.where(x <= low, 0, np.where(x > high, 1, y))
    return np.asarray(np.rint(y * 255)).astype(np.uint8)


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID", ""])
@pytest.mark.parametrize(("centre", "width"), [(48, 33), (20.5, 1), (10, 200)])
def test_window_of_every_function(function: str, centre: float, width: float, check: Check) -> None:
    extra = {"WindowCenter": str(centre), "WindowWidth": str(width)}
    extra |= {"VOILUTFunction": function} if function else {}
    shown = frame(check, dicom_bytes(ramp(), extra=extra))
    assert difference(shown, windowed(function or "LINEAR", ramp(), centre, width)) <= 1


def test_first_of_several_windows_is_used(check: Check) -> None:
    extra = {"WindowCenter": ["48", "10"], "WindowWidth": ["33", "5"]}
    shown = frame(check, dicom_bytes(ramp(), extra=extra))
    assert difference(shown, windowed("LINEAR", ramp(), 48, 33)) <= 1


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("syntax", [phantoms.IMPLICIT_LITTLE, phantoms.EXPLICIT_BIG])
def test_modality_table_comes_before_the_window(syntax: str, bits: int, check: Check) -> None:
    table = (np.arange(96)[::-1] * 2 + 7).astype(int)
    order = ">" if syntax == phantoms.EXPLICIT_BIG else "<"
    item = Dataset()
    item.LUTDescriptor = [96, 0, bits]
    item.ModalityLUTType = "US"
    item.LUTData = table.astype(f"{order}u2").tobytes()
    item["LUTData"].VR = "OW"
    dataset = dicom_dataset(ramp(), transfer_syntax=syntax)
    dataset.ModalityLUTSequence = Sequence([item])
    dataset.WindowCenter, dataset.WindowWidth = "100", "150"
    expected = windowed("LINEAR", table[ramp()], 100, 150)
    assert difference(frame(check, written(dataset)), expected) <= 1


def test_signed_values_look_up_from_a_negative_first_value(check: Check) -> None:
    stored = ramp().astype(np.int16) - 48
    item = Dataset()
    item.LUTDescriptor = [96, -48, 8]
    item["LUTDescriptor"].VR = "SS"
    item.LUTData = (np.arange(96) * 2).astype("<u2").tobytes()
    item["LUTData"].VR = "OW"
    dataset = dicom_dataset(stored, bits=16)
    dataset.VOILUTSequence = Sequence([item])
    assert difference(frame(check, written(dataset)), ramp() * 2) <= 1


def test_overlays_are_not_burnt_in(check: Check) -> None:
    dataset = dicom_dataset((deep(GREY, 12) | 0x8000).astype(np.uint16), bits=12)
    dataset.add_new(0x60000010, "US", 64)
    dataset.add_new(0x60000011, "US", 96)
    dataset.add_new(0x60000040, "CS", "G")
    dataset.add_new(0x60000050, "SS", [1, 1])
    dataset.add_new(0x60000100, "US", 1)
    dataset.add_new(0x60000102, "US", 0)
    dataset.add_new(0x60003000, "OW", b"\xff" * (64 * 96 // 8))
    assert difference(frame(check, written(dataset)), GREY) == 0


def test_pixels_that_are_not_square_are_told_and_not_stretched(check: Check) -> None:
    image = check(dicom_bytes(GREY, extra={"PixelAspectRatio": ["4", "3"]}))
    assert (image.width, image.height) == (96, 64)
    assert image.dicom is not None
    assert image.dicom.pixel_aspect_ratio == (4, 3)


# Loops


@pytest.mark.parametrize("table", ["basic", "none", "extended", "wrong"])
@pytest.mark.parametrize("kind", ["JPEG", "JPEG lossless"])
def test_frames_are_found_by_every_offset_table(kind: str, table: str, take: Take) -> None:
    stack = np.stack([bmode_phantom(seed, (48, 64)) for seed in range(3)])
    if kind == "JPEG":
        syntax, streams = phantoms.JPEG_BASELINE, [phantoms.jpeg_bytes(f, 98) for f in stack]
    else:
        syntax, streams = encoders.JPEG_LOSSLESS_FIRST, [lossless_jpeg(f, 8) for f in stack]
    streams = [stream + b"\0" * (len(stream) % 2) for stream in streams]
    dataset = dicom_dataset(stack)
    if table == "extended":
        encoders.put(dataset, syntax, *streams, extended=True)
    elif table == "wrong":
        encoders.put(dataset, syntax, *streams, has_bot=True)
        data = bytearray(dataset.PixelData)
        data[12:16] = b"\x03\0\0\0"
        dataset.PixelData = bytes(data)
    else:
        encoders.put(dataset, syntax, *streams, has_bot=table == "basic")
    path = take(written(dataset)).path
    for index, one in enumerate(stack):
        shown = np.asarray(Image.open(io.BytesIO(render_frame(path, index))))
        assert difference(shown, one) <= (0 if kind != "JPEG" else 12)


@pytest.mark.parametrize("syntax", LOSSLESS.values(), ids=LOSSLESS)
def test_every_frame_of_every_encoding_is_addressable(syntax: str, take: Take) -> None:
    stack = np.stack([bmode_phantom(seed, (48, 64)) for seed in range(3)])
    if syntax in (encoders.JPEG_LOSSLESS, encoders.JPEG_LOSSLESS_FIRST):
        dataset = dicom_dataset(stack)
        encoders.put(dataset, syntax, *(lossless_jpeg(one, 8) for one in stack))
        data = written(dataset)
    else:
        data = dicom_bytes(stack, transfer_syntax=syntax)
    path = take(data).path
    for index in (2, 0, 1):
        shown = np.asarray(Image.open(io.BytesIO(render_frame(path, index))))
        assert difference(shown, stack[index]) == 0


def test_one_frame_of_a_long_loop_is_decoded_alone(take: Take) -> None:
    """Two hundred frames of a million pixels, drawn with memory for a few."""
    dataset = dicom_dataset(np.zeros((1000, 1000), np.uint8), transfer_syntax=phantoms.RLE)
    frame_bytes = next(generate_frames(dataset.PixelData, number_of_frames=1))
    dataset.NumberOfFrames = 200
    encoders.put(dataset, phantoms.RLE, *[frame_bytes] * 200)
    path = take(written(dataset)).path
    png = render_frame(path, 199, Limits(memory_bytes=64 * 2**20))
    assert Image.open(io.BytesIO(png)).size == (1000, 1000)


def test_deflated_data_unfolds_within_bounds(
    check: Check, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = dicom_bytes(GREY, transfer_syntax=phantoms.DEFLATED)
    assert difference(frame(check, data + b"appended" * 2**20), GREY) == 0
    path = tmp_path / "bomb.dcm"
    path.write_bytes(data)
    monkeypatch.setattr(dicom_file, "_MAX_INFLATED", 4096)
    with pytest.raises(UserFacingError, match="absurd") as refusal:
        dicom_file.open_dicom(path)
    assert refusal.value.code == "image_corrupt"


@pytest.mark.parametrize(
    ("syntax", "says"),
    [
        ("1.2.840.10008.1.2.4.100", "MPEG2"),
        ("1.2.840.10008.1.2.4.107", "HEVC"),
        ("1.2.840.10008.1.2.4.110", "not known here"),
        ("1.2.840.10008.1.2.4.94", "JPIP"),
        ("1.2.840.113619.5.2", "private"),
    ],
)
def test_encodings_that_are_not_read_are_named(syntax: str, says: str, check: Check) -> None:
    dataset = dicom_dataset(GREY)
    known = "1.2.840.10008.1.2.4.100"
    encoders.put(dataset, known, b"\0" * 64)
    stated = syntax.encode().ljust(len(known) + 1, b"\0")
    data = written(dataset).replace(known.encode() + b"\0", stated)
    with pytest.raises(UserFacingError, match=says) as refusal:
        check(data)
    assert refusal.value.code == "dicom_transfer_syntax"
