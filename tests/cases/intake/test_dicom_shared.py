"""The real ultrasound files of the shared folder, against an independent reading by pydicom."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pydicom
import pytest
from PIL import Image
from pydicom.pixels.processing import apply_color_lut

from cases.intake import CheckedImage, inspect, receive, render_frame

# File -> size (width, height), frames.
FILES = {
    "ExplVR_BigEnd": ((80, 60), 1),
    "OBXXXX1A": ((800, 600), 1),
    "OBXXXX1A_2frame": ((800, 600), 2),
    "OBXXXX1A_expb": ((800, 600), 1),
    "OBXXXX1A_rle": ((800, 600), 1),
    "US1_J2KR": ((640, 480), 1),
    "US1_UNCI": ((640, 480), 1),
    "US1_UNCR": ((640, 480), 1),
    "color-px": ((256, 120), 1),
    "examples_jpeg2k": ((640, 480), 1),
    "examples_palette": ((800, 350), 1),
    "examples_rgb_color": ((320, 240), 1),
    "examples_ybr_color": ((320, 240), 30),
    "gdcm-US-ALOKA-16": ((640, 480), 1),
}


def checked(folder: Path, name: str) -> CheckedImage:
    path = folder / "us_dicom" / f"{name}.dcm"
    if not path.is_file():
        pytest.skip(f"{path.name} is not in the shared data folder")
    with path.open("rb") as source, receive(source, path.name) as file:
        return inspect(file)


def pixels(png: bytes | None) -> npt.NDArray[np.uint8]:
    assert png is not None
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def by_pydicom(path: Path, frame: int) -> npt.NDArray[np.uint8]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(path)
        array = dataset.pixel_array
    if int(dataset.get("NumberOfFrames") or 1) > 1:
        array = array[frame]
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        array = apply_color_lut(array, dataset)
    if array.dtype == np.uint16:
        array = (array >> 8 if array.max() > 255 else array).astype(np.uint8)
    return np.asarray(array)


@pytest.mark.parametrize("name", FILES)
def test_shared_file_shows_the_pixels_an_independent_reader_finds(
    name: str, shared_data: Path
) -> None:
    image = checked(shared_data, name)
    size, frames = FILES[name]
    assert ((image.width, image.height), image.frames) == (size, frames)
    expected = by_pydicom(shared_data / "us_dicom" / f"{name}.dcm", image.frame)
    assert np.abs(pixels(image.frame_png).astype(int) - expected).max() <= 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("OBXXXX1A", "OBXXXX1A_expb"),
        ("OBXXXX1A", "OBXXXX1A_rle"),
        ("OBXXXX1A", "OBXXXX1A_2frame"),
        ("US1_UNCR", "US1_J2KR"),
        ("US1_J2KR", "examples_jpeg2k"),
    ],
)
def test_same_image_in_two_encodings_is_shown_the_same(
    one: str, other: str, shared_data: Path
) -> None:
    a, b = (pixels(checked(shared_data, name).frame_png) for name in (one, other))
    assert np.array_equal(a, b)


def test_last_frame_of_the_shared_loop_can_be_drawn(shared_data: Path) -> None:
    path = shared_data / "us_dicom" / "examples_ybr_color.dcm"
    if not path.is_file():
        pytest.skip("the loop is not in the shared data folder")
    assert np.abs(pixels(render_frame(path, 29)).astype(int) - by_pydicom(path, 29)).max() <= 1


def test_resized_shared_files_claim_no_calibration(shared_data: Path) -> None:
    assert checked(shared_data, "examples_ybr_color").dicom.spacing_mm is None  # type: ignore[union-attr]
    spacing = checked(shared_data, "OBXXXX1A").dicom.spacing_mm  # type: ignore[union-attr]
    assert spacing == pytest.approx((0.2623, 0.2623), abs=1e-4)


def test_side_of_the_shared_file_that_states_one_is_kept(shared_data: Path) -> None:
    assert checked(shared_data, "gdcm-US-ALOKA-16").dicom.laterality == "R"  # type: ignore[union-attr]
