"""A data folder of phantoms as BUSI lays it out: `malignant/malignant (1).png` and its mask."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from ml.config import CLASSES
from tests.ml.helpers import oval, phantom


def write_busi(root: Path, counts: tuple[int, int, int], *, first: int = 1) -> None:
    """Add so many benign, malignant and normal pictures with their masks, of different sizes.

    Their seeds run on from ``first``. As in BUSI, the masks of normal pictures are empty.
    """
    seed = first
    for label, count in zip(CLASSES, counts, strict=True):
        folder = root / label
        folder.mkdir(parents=True, exist_ok=True)
        there = sum(1 for _ in folder.glob("*_mask.png"))
        for number in range(there + 1, there + count + 1):
            image = phantom(seed, size=(96 + 5 * (seed % 4), 110 + 7 * (seed % 5)), lesion=label)
            mask = np.zeros_like(image) if label == "normal" else oval(image.shape, seed)
            Image.fromarray(image).save(folder / f"{label} ({number}).png")
            Image.fromarray(mask).save(folder / f"{label} ({number})_mask.png")
            seed += 1
