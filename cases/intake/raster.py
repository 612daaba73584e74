"""JPEG, PNG, BMP, TIFF and WebP: checked strictly, decoded in full, drawn as they are seen.

Colour profiles are not applied: the model was trained on the numbers as they are stored. Decoder
child only.
"""

from __future__ import annotations

import io
import mmap
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import (
    BmpImagePlugin,
    Image,
    ImageFile,
    ImageOps,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)

from cases.errors import FieldInvalid, ImageCorrupt, UserFacingError
from cases.intake.checked import Limits
from cases.intake.codestream import Bytes
from cases.intake.formats import AS_SENT, MEDIA_TYPES
from cases.intake.raster_headers import (
    Header,
    check_bmp,
    check_jpeg,
    check_png,
    check_size,
    check_webp,
)
from cases.intake.tiff import check_tiff, unsupported

# Sizes are refused from the header here, with our own limits and words.
Image.MAX_IMAGE_PIXELS = None
ImageFile.LOAD_TRUNCATED_IMAGES = False
_ORIENTATION = 0x0112
_CHECKS: dict[str, Callable[[Bytes, Limits], Header]] = {
    "JPEG": check_jpeg,
    "PNG": check_png,
    "BMP": check_bmp,
    "TIFF": check_tiff,
    "WEBP": check_webp,
}


@dataclass(frozen=True, slots=True)
class Raster:
    """A raster file, decoded and turned upright; `orientation` is what EXIF said of it."""

    image: Image.Image
    format: str
    bits: int
    orientation: int
    inverted: bool


def inspect_raster(path: Path, kind: str, limits: Limits) -> tuple[dict[str, Any], bytes]:
    """Check and decode a raster file: the fields of a `CheckedImage`, and the picture as PNG where
    the model does not read the file itself."""
    raster = load_raster(path, kind, limits)
    mode, (width, height) = raster.image.mode, raster.image.size
    drawn = b"" if kind in AS_SENT else png_bytes(_displayed(raster))
    facts = {"mode": mode, "bits": raster.bits, "orientation": raster.orientation}
    result = {
        "format": raster.format,
        "media_type": MEDIA_TYPES[raster.format],
        "width": width,
        "height": height,
        "frames": 1,
        "frame": 0,
        "dicom": None,
        "facts": facts,
    }
    return result, drawn


def draw_raster(path: Path, kind: str, frame: int, limits: Limits) -> Image.Image:
    """The picture as seen: orientation applied, 8 bits, mode L or RGB, transparency on black."""
    if frame != 0:
        raise FieldInvalid(errors={"frame": [f"This image has one frame, there is no {frame}."]})
    return _displayed(load_raster(path, kind, limits))


def load_raster(path: Path, kind: str, limits: Limits) -> Raster:
    """Open, check and decode the file in full; raises what `inspect` promises."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        header = _CHECKS[kind](data, limits)
        file.seek(0)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return _decoded(file, kind, header, limits)
        except (UserFacingError, MemoryError):
            raise
        except UnidentifiedImageError as error:
            # The header is sound, yet of no kind that Pillow knows.
            raise (unsupported() if kind == "TIFF" else ImageCorrupt()) from error
        except Exception as error:  # whatever a decoder raises is the file's fault
            raise ImageCorrupt from error


def _decoded(file: BinaryIO, kind: str, header: Header, limits: Limits) -> Raster:
    image: Image.Image = Image.open(file, formats=[kind])
    if header.page:
        image.seek(header.page)
    check_size(image.width, image.height, limits)
    image.load()
    # A TIFF is upright by now.
    stated = header.orientation if kind == "TIFF" else image.getexif().get(_ORIENTATION, 1)
    ImageOps.exif_transpose(image, in_place=True)
    valid = isinstance(stated, int) and 1 <= stated <= 8
    return Raster(image, kind, header.bits, int(stated) if valid else 1, header.inverted)


def _displayed(raster: Raster) -> Image.Image:
    image = raster.image
    if image.mode.startswith("I") or image.mode == "F":
        samples = np.asarray(image)
        return Image.fromarray(_to_8_bit(65535 - samples if raster.inverted else samples))
    if image.mode in ("1", "L") and "transparency" not in image.info:
        return image.convert("L")
    if image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        if raster.format == "BMP" and rgba.getchannel("A").getextrema() == (0, 0):
            # Programs that know no transparency leave zeros there.
            rgba.putalpha(255)
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


# Imported here so that opening needs no further modules.
_ = (BmpImagePlugin, JpegImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin)
