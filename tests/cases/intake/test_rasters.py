"""JPEG and PNG: every mode is read, the orientation is the one a viewer shows."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, PngImagePlugin

from cases.errors import FieldInvalid
from cases.intake import render_frame, render_preview
from tests.cases.intake.conftest import Check, Take
from tests.phantoms import bmode_phantom, jpeg_bytes, png_bytes

PICTURE = bmode_phantom(1, (60, 90))


def pixels(png: bytes) -> npt.NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(png)))


def corners() -> npt.NDArray[np.uint8]:
    """60 x 90 with another grey in each corner."""
    picture = np.full((60, 90), 100, np.uint8)
    picture[:20, :30], picture[:20, -30:] = 10, 60
    picture[-20:, :30], picture[-20:, -30:] = 160, 240
    return picture


# What a viewer shows at top left, top right, bottom left, bottom right (EXIF 2.3, table 6).
SEEN = {
    1: (10, 60, 160, 240),
    2: (60, 10, 240, 160),
    3: (240, 160, 60, 10),
    4: (160, 240, 10, 60),
    5: (10, 160, 60, 240),
    6: (160, 10, 240, 60),
    7: (240, 60, 160, 10),
    8: (60, 240, 10, 160),
}


@pytest.mark.parametrize("orientation", SEEN)
def test_exif_orientation_is_applied_to_size_and_pixels(
    orientation: int, check: Check, take: Take
) -> None:
    data = jpeg_bytes(corners(), quality=95, exif_orientation=orientation)
    image = check(data)
    turned = orientation >= 5
    assert (image.width, image.height) == ((60, 90) if turned else (90, 60))
    assert image.facts["orientation"] == orientation
    shown = pixels(render_frame(take(data).path))
    assert shown.shape == (image.height, image.width)
    seen = [int(shown[y, x]) for y in (5, -5) for x in (5, -5)]
    assert np.abs(np.array(seen) - SEEN[orientation]).max() <= 3


def test_impossible_orientation_is_read_as_upright(check: Check) -> None:
    image = check(jpeg_bytes(PICTURE, exif_orientation=77))
    assert (image.width, image.height, image.facts["orientation"]) == (90, 60, 1)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_png_of_every_mode_is_accepted_and_drawn(mode: str, check: Check, take: Take) -> None:
    data = png_bytes(PICTURE, mode)
    image = check(data)
    assert (image.format, image.media_type, image.width, image.height) == (
        "PNG",
        "image/png",
        90,
        60,
    )
    assert (image.frames, image.frame, image.frame_png, image.dicom) == (1, 0, None, None)
    shown = pixels(render_frame(take(data).path))
    assert shown.shape == (60, 90)
    if mode != "1":
        assert np.abs(shown.astype(int) - PICTURE).max() <= (8 if mode == "P" else 0)


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("progressive", [False, True])
def test_jpeg_of_every_mode_is_accepted_and_drawn(
    mode: str, progressive: bool, check: Check, take: Take
) -> None:
    data = jpeg_bytes(PICTURE, quality=95, mode=mode, progressive=progressive)
    assert check(data).facts["mode"] == mode
    shown = np.asarray(Image.open(io.BytesIO(render_frame(take(data).path))).convert("L"))
    assert np.abs(shown.astype(int) - PICTURE).mean() < 4


def test_adobe_cmyk_jpeg_is_not_drawn_as_a_negative(take: Take) -> None:
    white = np.full((60, 90, 3), 250, np.uint8)
    shown = pixels(render_frame(take(jpeg_bytes(white, mode="CMYK")).path))
    assert shown.min() > 240


def test_transparent_parts_are_drawn_black(take: Take) -> None:
    picture = np.full((60, 90, 4), 200, np.uint8)
    picture[:30, :, 3], picture[30:, :, 3] = 0, 255
    shown = pixels(render_frame(take(png_bytes(picture)).path))
    assert (shown[:30].max(), shown[30:].min()) == (0, 200)


def test_twelve_bits_in_sixteen_are_drawn_over_the_full_range(take: Take) -> None:
    ramp = np.tile(np.linspace(0, 4095, 90).astype(np.uint16), (60, 1))
    buffer = io.BytesIO()
    Image.fromarray(ramp).save(buffer, "PNG")
    shown = pixels(render_frame(take(buffer.getvalue()).path))
    assert (shown.min(), shown.max()) == (0, 255)


def test_bytes_after_the_end_of_the_image_do_no_harm(check: Check) -> None:
    assert check(jpeg_bytes(PICTURE) + b"appended by a device").width == 90
    assert check(png_bytes(PICTURE) + b"appended by a device").width == 90


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_drawn_picture_carries_no_metadata_of_the_file(kind: str, take: Take) -> None:
    exif, text = Image.Exif(), PngImagePlugin.PngInfo()
    exif[0x010E] = "Secret^Name"
    text.add_text("Comment", "Secret^Name")
    more = {"comment": "Secret^Name"} if kind == "JPEG" else {"pnginfo": text}
    buffer = io.BytesIO()
    image = Image.fromarray(PICTURE)
    image.save(buffer, kind, exif=exif, icc_profile=b"Secret^Name" * 20, dpi=(72, 72), **more)
    assert b"Secret" in buffer.getvalue()
    drawn = render_frame(take(buffer.getvalue()).path)
    assert b"Secret" not in drawn
    assert not Image.open(io.BytesIO(drawn)).info


def test_photo_with_several_pictures_in_one_jpeg_shows_the_first(check: Check, take: Take) -> None:
    buffer = io.BytesIO()
    first, second = (Image.fromarray(np.full((60, 90), grey, np.uint8)) for grey in (50, 200))
    first.save(buffer, "MPO", save_all=True, append_images=[second])
    assert check(buffer.getvalue()).frames == 1
    assert abs(int(pixels(render_frame(take(buffer.getvalue()).path)).mean()) - 50) < 3


def test_raster_has_frame_zero_only(take: Take) -> None:
    path = take(png_bytes(PICTURE)).path
    assert render_frame(path, 0)
    with pytest.raises(FieldInvalid) as refusal:
        render_frame(path, 1)
    assert refusal.value.errors is not None
    assert "frame" in refusal.value.errors


def test_preview_is_made_smaller_but_never_larger(take: Take) -> None:
    path: Path = take(png_bytes(PICTURE)).path
    assert pixels(render_preview(path, max_side=45)).shape == (30, 45)
    assert pixels(render_preview(path, max_side=500)).shape == (60, 90)
