"""Small phantoms, encoded pictures and records for the tests of ml, made by code."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from ml.dataset import Record
from tests.phantoms import Lesion, bmode_phantom


def phantom(
    seed: int = 0, *, size: tuple[int, int] = (120, 140), lesion: Lesion = "benign"
) -> npt.NDArray[np.uint8]:
    """A small B-mode phantom: uint8 HxW. ``size`` is (height, width)."""
    return bmode_phantom(seed, size, lesion)


def oval(size: tuple[int, int], seed: int = 0) -> npt.NDArray[np.uint8]:
    """A lesion mask, 0 or 255, about where the phantoms have theirs. ``size``: (height, width)."""
    rng = np.random.default_rng(seed)
    height, width = size
    y, x = np.mgrid[:height, :width]
    across = (x - width * rng.uniform(0.35, 0.65)) / (width * rng.uniform(0.08, 0.16))
    down = (y - height * rng.uniform(0.38, 0.48)) / (height * rng.uniform(0.08, 0.14))
    return np.where(across**2 + down**2 < 1, 255, 0).astype(np.uint8)


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
