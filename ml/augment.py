"""Random changes to training pictures, each drawn from a generator that the caller seeds."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

from ml.config import AugmentConfig
from ml.preprocessing import UInt8Image

Generator = np.random.Generator
_Floats = npt.NDArray[np.float32]
_Affine = tuple[float, float, float, float, float, float]


def augment(
    canvas: UInt8Image,
    size: int,
    config: AugmentConfig,
    rng: Generator,
    mask: UInt8Image | None = None,
) -> tuple[UInt8Image, UInt8Image | None]:
    """Change a framed picture and its mask: uint8 CxCx3, CxC -> uint8 SxSx3, SxS with S = size.

    One affine resampling (flip, rotation, zoom, aspect, shift), which the mask shares, then marks,
    blur, shadow, gain curve, contrast and brightness, speckle, and an erased patch, each as
    ``config`` allows.
    """
    move = _affine(canvas.shape[0], size, config, rng)
    image = _moved(canvas, size, move)
    moved_mask = None if mask is None else np.asarray(_moved(mask, size, move))
    if rng.random() < config.marks:
        _draw_marks(image, rng)
    if config.blur:
        radius = rng.uniform(-config.blur, config.blur)
        if radius > 0.15:
            image = image.filter(ImageFilter.GaussianBlur(radius))
    pixels = np.asarray(image, dtype=np.float32) / np.float32(255)
    if rng.random() < config.shadow:
        pixels = pixels * _shadow(size, rng)[:, :, None]
    pixels = _toned(pixels, config, rng)
    if rng.random() < config.erase:
        side = int(size * rng.uniform(0.1, 0.25))
        x, y = rng.integers(0, size - side, 2)
        pixels[y : y + side, x : x + side] = pixels.mean()
    return np.asarray(np.rint(np.clip(pixels, 0, 1) * 255), dtype=np.uint8), moved_mask


def _affine(side: int, size: int, config: AugmentConfig, rng: Generator) -> _Affine:
    """A random affine map from output pixels to input pixels."""
    angle = math.radians(rng.uniform(-config.rotate, config.rotate))
    zoom = math.exp(rng.uniform(-config.zoom, config.zoom))
    aspect = math.exp(rng.uniform(-config.aspect, config.aspect) / 2)
    shift_x, shift_y = rng.uniform(-config.shift, config.shift, 2) * side
    mirror = -1.0 if rng.random() < config.flip else 1.0
    scale_x, scale_y = side / size / zoom * aspect, side / size / zoom / aspect
    cos, sin = math.cos(angle), math.sin(angle)
    a, b = mirror * cos * scale_x, mirror * sin * scale_x
    d, e = -sin * scale_y, cos * scale_y
    middle_out, middle_in = size / 2, side / 2
    c = middle_in + shift_x - (a + b) * middle_out
    f = middle_in + shift_y - (d + e) * middle_out
    return a, b, c, d, e, f


def _moved(pixels: UInt8Image, size: int, move: _Affine) -> Image.Image:
    """Resample; by a whole factor first where it shrinks, since an affine map does not filter."""
    image = Image.fromarray(pixels)
    factor = max(1, image.width // size)
    if factor > 1:
        image = image.reduce(factor)
    a, b, c, d, e, f = (value / factor for value in move)
    return image.transform(
        (size, size), Image.Transform.AFFINE, (a, b, c, d, e, f), Image.Resampling.BILINEAR
    )


def _toned(pixels: _Floats, config: AugmentConfig, rng: Generator) -> _Floats:
    gamma = math.exp(rng.uniform(-config.gain, config.gain)) if config.gain else 1.0
    factor = 1 + rng.uniform(-config.contrast, config.contrast)
    offset = rng.uniform(-config.brightness, config.brightness)
    # The offset fades out towards black: padding and background stay black on every scanner.
    lift = np.float32(offset) * np.minimum(1, 8 * pixels)
    toned = np.clip(pixels, 0, 1) ** np.float32(gamma) * np.float32(factor) + lift
    if config.speckle:
        sigma = rng.uniform(0, config.speckle)
        noise = rng.standard_normal(pixels.shape[:2], dtype=np.float32)
        toned = toned * (1 + np.float32(sigma) * noise[:, :, None])
    return np.asarray(toned, dtype=np.float32)


def _shadow(size: int, rng: Generator) -> _Floats:
    """Factors below 1 under a random depth, as behind a rib, a nipple or lost contact."""
    x = np.arange(size, dtype=np.float32)[None, :]
    y = np.arange(size, dtype=np.float32)[:, None]
    centre, width = rng.uniform(0, size), rng.uniform(0.04, 0.15) * size
    start, depth = rng.uniform(0, 0.7) * size, rng.uniform(0.3, 0.8)
    lean = rng.uniform(-0.2, 0.2)
    across = np.exp(-0.5 * ((x - centre - lean * (y - start)) / width) ** 2)
    down = 1 / (1 + np.exp(-(y - start) / (0.05 * size)))
    return np.asarray(1 - depth * across * down, dtype=np.float32)


def _draw_marks(image: Image.Image, rng: Generator) -> None:
    """Burnt-in calipers, a dotted line or letters, on any picture whatever its class."""
    draw = ImageDraw.Draw(image)
    size = image.width
    level = int(rng.integers(140, 256))
    ink = (level, level, level)
    kind = rng.integers(0, 3)
    if kind < 2:
        ends = rng.uniform(0.15, 0.85, (2 * int(rng.integers(1, 3)), 2)) * size
        arm = int(rng.integers(2, 5))
        for x, y in ends.astype(int).tolist():
            draw.line((x - arm, y, x + arm, y), fill=ink)
            draw.line((x, y - arm, x, y + arm), fill=ink)
        if kind == 1:
            for step in np.linspace(0, 1, 24):
                x, y = (ends[0] * (1 - step) + ends[1] * step).astype(int).tolist()
                draw.point((x, y), fill=ink)
    else:
        letters = "".join(rng.choice(list("ABCDLRTX0123456789 ."), int(rng.integers(2, 9))))
        x, y = rng.uniform(0.02, 0.8, 2) * size
        edge = size * (0.02 if rng.random() < 0.5 else 0.92)
        draw.text((float(x), float(edge if rng.random() < 0.7 else y)), letters, fill=ink)
