"""From picture bytes to the network's input, once, for training, evaluation and serving alike."""

from __future__ import annotations

import hashlib
import io
import json
import struct
import warnings
import zlib
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from ml.bmode import Box, bmode_box
from ml.errors import ImageUnreadableError

MAX_PIXELS = 50_000_000
MIN_SIDE = 16
ALGORITHM = 1
"""Raised when the meaning of a setting below changes, so that the digest changes too."""

UInt8Image = npt.NDArray[np.uint8]
Float32Image = npt.NDArray[np.float32]

_BROKEN = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    struct.error,
    zlib.error,
)


def decode_raster(data: bytes) -> UInt8Image:
    """Decode a JPEG or PNG of any colour mode.

    EXIF orientation is applied; transparency is laid over black; palettes, CMYK and grey become
    RGB. 16-bit samples are scaled from the full range, as the PNG specification says, unless
    none exceeds 12 bits: then from the smallest whole number of bits (8 to 12) that holds them,
    because ultrasound systems store 10 or 12 bits in 16.

    Returns uint8, height x width x 3, 0..255. Raises :class:`ImageUnreadableError` when the
    bytes are empty, no JPEG or PNG, animated, broken, beyond 50 million pixels (refused from
    the header, before decoding), or under 16 pixels on a side.
    """
    if not data:
        raise ImageUnreadableError("the file is empty")
    try:
        with warnings.catch_warnings():
            # Pillow warns at sizes that the check below refuses with an error of its own.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image: Image.Image = Image.open(io.BytesIO(data), formats=["JPEG", "PNG"])
    except Image.DecompressionBombError:
        raise ImageUnreadableError("the picture has too many pixels") from None
    except _BROKEN:
        raise ImageUnreadableError("the file is not a JPEG or PNG picture") from None
    _check_size(image.width, image.height)
    if image.format == "PNG" and getattr(image, "is_animated", False):
        raise ImageUnreadableError("the picture is animated")
    try:
        image.load()
        image = ImageOps.exif_transpose(image)
    except _BROKEN:
        raise ImageUnreadableError("the picture is damaged or cut short") from None
    return _to_rgb(image)


def as_rgb(image: npt.NDArray[Any]) -> UInt8Image:
    """Check an array that a caller decoded: uint8, height x width or height x width x 3.

    Returns uint8 height x width x 3. Raises :class:`ImageUnreadableError` for other shapes or
    types and for sizes that :func:`decode_raster` would refuse.
    """
    if image.dtype != np.uint8 or image.ndim not in (2, 3):
        raise ImageUnreadableError("the array is not an 8-bit grey or RGB picture")
    if image.ndim == 3 and image.shape[2] != 3:
        raise ImageUnreadableError("the array is not an 8-bit grey or RGB picture")
    _check_size(image.shape[1], image.shape[0])
    return np.repeat(image[:, :, None], 3, axis=2) if image.ndim == 2 else image


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise ImageUnreadableError(f"the picture has too many pixels ({width} x {height})")
    if min(width, height) < MIN_SIDE:
        raise ImageUnreadableError(f"the picture is too small ({width} x {height})")


def _to_rgb(image: Image.Image) -> UInt8Image:
    if image.mode.startswith("I") or image.mode == "F":
        return as_rgb(_to_8_bit(np.asarray(image)))
    if image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        black = Image.new("RGBA", rgba.size, (0, 0, 0, 255))
        image = Image.alpha_composite(black, rgba)
    return np.array(image.convert("RGB"), dtype=np.uint8)


def _to_8_bit(samples: npt.NDArray[Any]) -> UInt8Image:
    values = np.clip(np.nan_to_num(samples.astype(np.float64)), 0, 65535)
    top = int(values.max())
    full = 65535 if top > 4095 else (1 << max(8, top.bit_length())) - 1
    return np.asarray(np.rint(values * (255.0 / full)), dtype=np.uint8)


@dataclass(frozen=True)
class Geometry:
    """Where the network's square input lies in the original picture.

    ``content`` is the part of the original that was used, ``covered`` the area that the whole
    input square spans; it reaches beyond the picture where the square was padded. Both are
    (x0, y0, x1, y1) in original pixels, x to the right, y down.
    """

    width: int
    height: int
    content: Box
    covered: tuple[float, float, float, float]


@dataclass(frozen=True)
class Preprocessing:
    """How a picture becomes the network's input. Frozen, hashable, stored in the model file.

    ``crop="bmode"`` cuts to the ultrasound region where it is certain; ``fit="pad"`` keeps the
    proportions and fills up with black, ``"squash"`` does not keep them; ``grey`` drops colour,
    which in B-mode is only marks and overlays.
    """

    crop: Literal["none", "bmode"] = "bmode"
    fit: Literal["pad", "squash"] = "pad"
    grey: bool = True
    size: int = 224
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)

    def frame(self, image: UInt8Image) -> tuple[UInt8Image, Geometry]:
        """Cut, fit and resize: uint8 HxWx3 -> (uint8 size x size x 3, geometry)."""
        height, width = image.shape[:2]
        box: Box = bmode_box(image) if self.crop == "bmode" else (0, 0, width, height)
        part = Image.fromarray(image).crop(box)
        if self.grey:
            part = part.convert("L")
        w, h = part.size
        left, top, new_w, new_h = self._placed(w, h)
        # Pillow's resize widens its filter when shrinking, so fine speckle does not alias.
        small = part.resize((new_w, new_h), Image.Resampling.BILINEAR).convert("RGB")
        canvas = np.zeros((self.size, self.size, 3), dtype=np.uint8)
        canvas[top : top + new_h, left : left + new_w] = np.asarray(small)
        x0, y0 = box[0] - left * w / new_w, box[1] - top * h / new_h
        covered = (x0, y0, x0 + self.size * w / new_w, y0 + self.size * h / new_h)
        return canvas, Geometry(width, height, box, covered)

    def frame_mask(self, mask: UInt8Image, geometry: Geometry) -> UInt8Image:
        """Put a lesion mask where :meth:`frame` put its picture: uint8 HxW -> size x size, 0..255.

        ``geometry`` is the picture's; the mask must have the picture's size.
        """
        part = Image.fromarray(mask).crop(geometry.content)
        left, top, new_w, new_h = self._placed(*part.size)
        canvas = np.zeros((self.size, self.size), dtype=np.uint8)
        small = part.resize((new_w, new_h), Image.Resampling.BILINEAR)
        canvas[top : top + new_h, left : left + new_w] = np.asarray(small)
        return canvas

    def _placed(self, width: int, height: int) -> tuple[int, int, int, int]:
        """Left, top, width and height on the input square of a part of this size."""
        new_w, new_h = self.size, self.size
        if self.fit == "pad":
            scale = self.size / max(width, height)
            new_w, new_h = max(1, round(width * scale)), max(1, round(height * scale))
        return (self.size - new_w) // 2, (self.size - new_h) // 2, new_w, new_h

    def normalise(self, canvas: UInt8Image) -> Float32Image:
        """Uint8 HxWx3 in 0..255 -> float32 3xHxW, ImageNet mean and std taken out."""
        scaled = canvas.astype(np.float32) / np.float32(255.0)
        centred = (scaled - np.array(self.mean, np.float32)) / np.array(self.std, np.float32)
        return np.ascontiguousarray(centred.transpose(2, 0, 1), dtype=np.float32)

    def apply(self, image: UInt8Image) -> tuple[Float32Image, Geometry]:
        """The whole way: uint8 HxWx3 -> (float32 3 x size x size, geometry)."""
        canvas, geometry = self.frame(image)
        return self.normalise(canvas), geometry

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON-ready dict, the inverse of :meth:`from_dict`."""
        return {
            "algorithm": ALGORITHM,
            "crop": self.crop,
            "fit": self.fit,
            "grey": self.grey,
            "size": self.size,
            "mean": list(self.mean),
            "std": list(self.std),
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Preprocessing:
        """Rebuild from :meth:`to_dict`. Raises ``ValueError`` when this code cannot do it."""
        values = dict(data)
        if values.pop("algorithm", None) != ALGORITHM:
            raise ValueError("preprocessing was made by another version of this code")
        try:
            made = cls(**{**values, "mean": tuple(values["mean"]), "std": tuple(values["std"])})
        except (KeyError, TypeError) as error:
            raise ValueError(f"preprocessing settings are not understood: {error}") from error
        if made.crop not in ("none", "bmode") or made.fit not in ("pad", "squash"):
            raise ValueError("preprocessing settings are not understood: crop or fit")
        return made

    def digest(self) -> str:
        """First 12 hex digits of the SHA-256 of the settings; shown with each result."""
        text = json.dumps(self.to_dict(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


PREPROCESSING = {
    "bcweb": Preprocessing(),
    "paper": Preprocessing(crop="none", fit="squash", grey=False),
}
"""The preprocessing of each recipe."""
