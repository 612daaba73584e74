"""Framed training pictures: decoded into memory, or into a file that is mapped into memory."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ml.dataset import Dataset, Record
from ml.errors import TrainingError
from ml.preprocessing import Preprocessing, UInt8Image

Canvas = tuple[UInt8Image, UInt8Image | None]
_LAYOUT = 1
"""Raised when the file's layout changes, so that old files are not read."""


def framed(dataset: Dataset, record: Record, preprocessing: Preprocessing) -> Canvas:
    """A picture and its lesion mask, framed alike: uint8 CxCx3 and CxC, or None without a mask."""
    canvas, geometry = preprocessing.frame(dataset.read(record))
    mask = dataset.read_mask(record)
    return canvas, None if mask is None else preprocessing.frame_mask(mask, geometry)


def mapped_canvases(
    folder: Path, dataset: Dataset, records: Sequence[Record], preprocessing: Preprocessing
) -> list[Canvas]:
    """What :func:`framed` gives for each record, as views into one file, made where it is missing.

    One row per picture: its C x C x 3 bytes, its mask's C x C bytes, and a byte that tells whether
    it has a mask. The file is written under another name and renamed when whole; processes that
    make it at the same time write the same. Raises ``TrainingError`` when a file of that name
    holds something else.
    """
    path, side = _cache_file(folder, dataset, records, preprocessing), preprocessing.size
    shape = (len(records), 4 * side * side + 1)
    if not path.exists():
        _write(path, dataset, records, preprocessing, shape)
    try:
        stored = np.load(path, mmap_mode="r")
    except ValueError as error:
        raise TrainingError(f"{path.name} is damaged, remove it ({error})") from None
    if stored.shape != shape or stored.dtype != np.uint8:
        raise TrainingError(f"{path.name} does not hold these pictures, remove it")
    colours = 3 * side * side
    return [
        (
            row[:colours].reshape(side, side, 3),
            row[colours:-1].reshape(side, side) if row[-1] else None,
        )
        for row in stored
    ]


def _cache_file(
    folder: Path, dataset: Dataset, records: Sequence[Record], preprocessing: Preprocessing
) -> Path:
    """Other pictures, masks or settings give another name."""
    parts = [[record.sha256, _mask_hashes(dataset, record)] for record in records]
    text = json.dumps([_LAYOUT, preprocessing.digest(), parts])
    return folder / f"canvases-{hashlib.sha256(text.encode()).hexdigest()[:16]}.npy"


def _mask_hashes(dataset: Dataset, record: Record) -> list[str]:
    files = (dataset.root / name for name in record.masks)
    return [hashlib.sha256(file.read_bytes()).hexdigest() for file in files if file.is_file()]


def _write(
    path: Path,
    dataset: Dataset,
    records: Sequence[Record],
    preprocessing: Preprocessing,
    shape: tuple[int, int],
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        stored = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.uint8, shape=shape)
        for row, record in zip(stored, records, strict=True):
            canvas, mask = framed(dataset, record, preprocessing)
            row[: canvas.size] = canvas.ravel()
            if mask is not None:
                row[canvas.size : -1], row[-1] = mask.ravel(), 1
        stored.flush()
        del stored
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
