"""Phantoms, encoded pictures and records for the tests of ml, made by code."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

from ml.dataset import Record


def phantom(
    seed: int = 0, *, size: tuple[int, int] = (120, 140), lesion: str = "benign"
) -> npt.NDArray[np.uint8]:
    """Speckle in layers with a dark lesion: uint8 HxW. ``size`` is (height, width)."""
    rng = np.random.default_rng(seed)
    high, wide = size
    y, x = np.mgrid[0:high, 0:wide]
    layers = ndimage.gaussian_filter(rng.normal(size=size), (high / 20, wide / 6))
    level = 0.45 + 0.25 * layers / (np.abs(layers).max() + 1e-9) - 0.2 * y / high
    if lesion != "normal":
        centre = rng.uniform(0.35, 0.65, 2) * (high, wide)
        radius = rng.uniform(0.12, 0.22) * min(size)
        tall = 1.5 if lesion == "malignant" else 0.7
        distance = np.hypot((y - centre[0]) / tall, x - centre[1])
        edge = ndimage.gaussian_filter(rng.normal(size=size), 3) * 25
        ragged = distance + (edge if lesion == "malignant" else 0)
        level = np.where(ragged < radius, 0.08, level)
    speckle = ndimage.gaussian_filter(rng.rayleigh(size=size), 0.8)
    return np.asarray(np.clip(255 * level * speckle, 0, 255), dtype=np.uint8)


def png(image: npt.NDArray[Any], **options: Any) -> bytes:
    """Encode an array as PNG bytes."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG", **options)
    return buffer.getvalue()


def record(index: int, label: str, **changes: Any) -> Record:
    """A record without a file, for tests of grouping and splitting."""
    rng = np.random.default_rng(index)
    values: dict[str, Any] = {
        "file": f"{label}/{index}.png",
        "label": label,
        "source": "made",
        "patient_id": None,
        "sha256": f"{index:064x}",
        "width": 100,
        "height": 100,
        "phash": int(rng.integers(0, 2**63)),
        "thumbnail": rng.integers(0, 256, 576, dtype=np.uint8).tobytes(),
    }
    return Record(**{**values, **changes})
