"""JPEG and PNG: checked strictly, decoded in full, drawn as they are seen. Decoder child only."""

from __future__ import annotations

import io
import mmap
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageFile, ImageOps, JpegImagePlugin, PngImagePlugin

from cases.errors import (
    FieldInvalid,
    ImageAnimated,
    ImageCorrupt,
    ImageTooManyPixels,
    ImageTooSmall,
    ImageUnsupported,
)
from cases.intake.checked import Limits
from cases.intake.codestream import scan_jpeg
from cases.intake.formats import MEDIA_TYPES, PNG_START

# Sizes are refused from the header here, with our own limits and words.
Image.MAX_IMAGE_PIXELS = None
ImageFile.LOAD_TRUNCATED_IMAGES = False
_ORIENTATION = 0x0112
# What libjpeg-turbo decodes: baseline, extended, progressive, and both with arithmetic coding.
_JPEG_KINDS = (0xC0, 0xC1, 0xC2, 0xC9, 0xCA)


@dataclass(frozen=True, slots=True)
class Raster:
    """A JPEG or PNG as it stands in the file, decoded; `orientation` is EXIF's, not applied."""

    image: Image.Image
    format: str
    bits: int
    orientation: int


def inspect_raster(path: Path, kind: str, limits: Limits) -> dict[str, Any]:
    """Check and decode a JPEG or PNG; the fields of a `CheckedImage` for the parent."""
    raster = load_raster(path, kind, limits)
    width, height = raster.image.size
    if raster.orientation >= 5:
        width, height = height, width
    return {
        "format": raster.format,
        "media_type": MEDIA_TYPES[raster.format],
        "width": width,
        "height": height,
        "frames": 1,
        "frame": 0,
        "dicom": None,
        "facts": {
            "mode": raster.image.mode,
            "bits": raster.bits,
            "orientation": raster.orientation,
        },
    }


def draw_raster(path: Path, kind: str, frame: int, limits: Limits) -> Image.Image:
    """The picture as seen: orientation applied, 8 bits, mode L or RGB, transparency on black."""
    if frame != 0:
        raise FieldInvalid(errors={"frame": [f"This image has one frame, there is no {frame}."]})
    return _displayed(load_raster(path, kind, limits))


def load_raster(path: Path, kind: str, limits: Limits) -> Raster:
    """Open, check and decode the file in full; raises what `inspect` promises."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        bits = _check_jpeg(data, limits) if kind == "JPEG" else _check_png(data, limits)
        file.seek(0)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                image = Image.open(file, formats=[kind])
                check_size(image.width, image.height, limits)
                image.load()
                orientation = image.getexif().get(_ORIENTATION, 1)
        except MemoryError:
            raise
        except (ImageTooManyPixels, ImageTooSmall):
            raise
        except Exception as error:  # whatever a decoder raises is the file's fault
            raise ImageCorrupt from error
    valid = isinstance(orientation, int) and 1 <= orientation <= 8
    return Raster(image, kind, bits, int(orientation) if valid else 1)


def check_size(width: int, height: int, limits: Limits) -> None:
    """Refuse a frame of `width` x `height` pixels outside the limits."""
    if width * height > limits.max_pixels:
        raise ImageTooManyPixels(
            f"The image has {width:,} x {height:,} pixels. This service accepts up to "
            f"{limits.max_pixels / 1e6:,.0f} million pixels in one image."
        )
    if min(width, height) < limits.min_side_px:
        raise ImageTooSmall(
            f"The image has only {width} x {height} pixels. Its shorter side must have at least "
            f"{limits.min_side_px}. Send the image at its original size."
        )


def _check_jpeg(data: mmap.mmap, limits: Limits) -> int:
    """Refuse what Pillow would read leniently or not at all; the bits per sample."""
    head = scan_jpeg(data, header_only=True)
    if head.sof and head.sof not in _JPEG_KINDS:
        name = {0xC3: "lossless JPEG", 0xF7: "JPEG-LS"}.get(head.sof, "hierarchical JPEG")
        raise ImageUnsupported(f"This kind of JPEG ({name}) is not read here. {_SEND}")
    if head.sof and head.precision != 8:
        raise ImageUnsupported(f"A JPEG of {head.precision} bits is not read here. {_SEND}")
    if not head.sof or not head.width or not head.height:
        raise ImageCorrupt
    check_size(head.width, head.height, limits)
    if not scan_jpeg(data).complete:
        raise ImageCorrupt("The JPEG image is cut off: its end is missing. Export it again.")
    return 8


_SEND = "Send an ordinary JPEG, PNG or DICOM."


def _check_png(data: mmap.mmap, limits: Limits) -> int:
    """Walk the chunks with their checksums (PNG specification, section 5); the bits per sample."""
    if data[12:16] != b"IHDR" or len(data) < 33:
        raise ImageCorrupt
    width, height = (int.from_bytes(data[i : i + 4], "big") for i in (16, 20))
    bits = data[24]
    if width == 0 or height == 0:
        raise ImageCorrupt
    check_size(width, height, limits)
    position = len(PNG_START)
    view = memoryview(data)
    try:
        while True:
            length = int.from_bytes(view[position : position + 4], "big")
            kind = bytes(view[position + 4 : position + 8])
            end = position + 12 + length
            if end > len(data):
                raise ImageCorrupt("The PNG image is cut off: its end is missing. Export it again.")
            if zlib.crc32(view[position + 4 : end - 4]) != int.from_bytes(
                view[end - 4 : end], "big"
            ):
                raise ImageCorrupt
            if kind == b"acTL":
                raise ImageAnimated
            if kind == b"IEND":
                return bits
            position = end
    finally:
        view.release()


def _displayed(raster: Raster) -> Image.Image:
    image = ImageOps.exif_transpose(raster.image)
    if image.mode.startswith("I") or image.mode == "F":
        return Image.fromarray(_to_8_bit(np.asarray(image)))
    if image.mode in ("1", "L") and "transparency" not in image.info:
        return image.convert("L")
    if image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, (0, 0, 0, 255)), rgba)
    return grey_if_grey(image.convert("RGB"))


def _to_8_bit(samples: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """16-bit samples from the full range, or from the bits in use when 12 suffice.

    Ultrasound systems write 10 or 12 bits into 16-bit files; the model reads them by this rule.
    """
    values = np.clip(samples.astype(np.float32), 0, 65535)
    top = int(values.max())
    full = 65535 if top > 4095 else (1 << max(8, top.bit_length())) - 1
    return np.asarray(np.rint(values * (255.0 / full)), dtype=np.uint8)


def grey_if_grey(image: Image.Image) -> Image.Image:
    """An RGB picture whose three channels agree everywhere becomes grey: the same, smaller."""
    red, green, blue = image.split()
    same = red.tobytes() == green.tobytes() == blue.tobytes()
    return red if same else image


def png_bytes(image: Image.Image) -> bytes:
    """A lossless PNG, compressed fast, without any metadata of the file (profiles, comments)."""
    buffer = io.BytesIO()
    image.info.clear()
    image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def shrink(image: Image.Image, max_side: int | None) -> Image.Image:
    """A copy whose longer side is at most `max_side` pixels; never enlarged."""
    if max_side is None or max(image.size) <= max_side:
        return image
    scale = max_side / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.BOX if scale < 0.5 else Image.Resampling.BILINEAR)


_ = (JpegImagePlugin, PngImagePlugin)  # imported here so that opening needs no further modules
