"""Read a folder of labelled pictures: ``DIR/<class>/…``, ``DIR/manifest.csv`` or several such."""

from __future__ import annotations

import hashlib
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from ml.cli import run_cli
from ml.config import CLASSES
from ml.errors import DatasetError, ImageUnreadableError
from ml.layouts import (
    MASK_SUFFIXES,
    Part,
    Row,
    find_parts,
    masks_by_stem,
    part_rows,
    printable,
    refuse_links_out,
)
from ml.phash import perceptual_hash
from ml.preprocessing import UInt8Image, decode_raster

THUMBNAIL = 24


@dataclass(frozen=True)
class Record:
    """One readable, labelled picture. ``file`` is relative to the data folder, with slashes."""

    file: str
    label: str
    source: str
    patient_id: str | None
    sha256: str
    width: int
    height: int
    phash: int
    masks: tuple[str, ...] = ()
    device: str = ""
    birads: str = ""
    histology: str = ""
    side: str = ""
    thumbnail: bytes = field(default=b"", repr=False)

    @property
    def target(self) -> int:
        """Index of the label in ``ml.config.CLASSES``."""
        return CLASSES.index(self.label)


@dataclass(frozen=True)
class Skipped:
    """A file that was left out, and why."""

    file: str
    reason: str


@dataclass(frozen=True)
class Dataset:
    """All readable pictures of a folder, in order of their names.

    ``parts`` are the sets it holds. ``named_by_place`` tells that some source is only the name of
    the folder, which another copy of the same data need not have.
    """

    root: Path
    records: tuple[Record, ...]
    skipped: tuple[Skipped, ...]
    parts: tuple[Part, ...] = ()
    named_by_place: bool = False

    def digest(self) -> str:
        """SHA-256 over names, labels and contents: the same data gives the same id."""
        lines = sorted(f"{r.file}\t{r.label}\t{r.patient_id}\t{r.sha256}" for r in self.records)
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def read(self, record: Record) -> UInt8Image:
        """Decode one picture again: uint8 HxWx3."""
        return decode_raster((self.root / record.file).read_bytes())

    def read_mask(self, record: Record) -> UInt8Image | None:
        """The lesion masks of one picture laid over each other: uint8 HxW, 0 or 255; None if none.

        A mask of another size, or one that cannot be read, counts as absent.
        """
        union = np.zeros((record.height, record.width), dtype=np.uint8)
        for name in record.masks:
            try:
                mask = decode_raster((self.root / name).read_bytes()).max(axis=2)
            except (ImageUnreadableError, OSError):
                continue
            if mask.shape == union.shape:
                union = np.maximum(union, np.where(mask > 127, 255, 0).astype(np.uint8))
        return union if union.any() else None

    def counts(self) -> dict[str, int]:
        """Pictures per class, in the order of ``ml.config.CLASSES``."""
        counts = Counter(record.label for record in self.records)
        return {name: counts[name] for name in CLASSES}


def read_dataset(path: Path, *, classes_needed: int = 2, links: bool = True) -> Dataset:
    """Read a data folder: its ``manifest.csv`` if there is one, else one folder per class.

    ``path`` may also be a manifest, or a folder of such folders. :mod:`ml.layouts` tells what a
    manifest holds and which files are masks. Files that cannot be read or do not exist are
    skipped and named. Without ``links`` a symbolic link out of the folder is an error. Raises
    :class:`DatasetError` when the folder is missing or empty, a class is unknown, a manifest
    cannot be understood, or fewer than ``classes_needed`` classes have pictures.
    """
    root, parts, others = find_parts(path)
    rows = sorted((r for part in parts for r in part_rows(root, part)), key=lambda r: r["file"])
    masks = masks_by_stem(root)
    if not links:
        refuse_links_out(root, [r["file"] for r in rows] + [m for ms in masks.values() for m in ms])
    skipped = [Skipped(printable(p.name), "a folder without classes") for p in others]
    records: list[Record] = []
    for row in rows:
        try:
            records.append(_record(root, row, masks))
        except ImageUnreadableError as error:
            skipped.append(Skipped(printable(row["file"]), error.reason))
        except UnicodeEncodeError:
            skipped.append(Skipped(printable(row["file"]), "the name is not UTF-8"))
        except OSError as error:
            reason = error.strerror or "cannot be read"
            skipped.append(Skipped(printable(row["file"]), reason))
    skipped.extend(_orphans(root, masks))
    if not records:
        why = f" ({skipped[0].file}: {skipped[0].reason})" if skipped else ""
        raise DatasetError(f"there are no readable pictures in {path}{why}")
    found = {record.label for record in records}
    if len(found) < classes_needed:
        raise DatasetError(f"all pictures in {path} are of the class {', '.join(sorted(found))}")
    by_place = any(not row["source"] for row in rows)
    return Dataset(root, tuple(records), tuple(skipped), tuple(parts), by_place)


def _orphans(root: Path, masks: dict[str, list[str]]) -> list[Skipped]:
    """Masks that no picture took, but for those of pictures that a manifest leaves out."""
    return [
        Skipped(printable(name), "a mask without its picture")
        for stem, names in sorted(masks.items())
        if not any((root / f"{stem}{suffix}").is_file() for suffix in MASK_SUFFIXES)
        for name in names
    ]


def _record(root: Path, row: Row, masks: dict[str, list[str]]) -> Record:
    name = row["file"]
    name.encode()  # it is written into reports and hashed as UTF-8
    own_masks = tuple(masks.pop(str(Path(name).with_suffix("")), ()))
    data = (root / name).read_bytes()
    pixels = decode_raster(data)
    grey = Image.fromarray(pixels).convert("L")
    thumbnail = grey.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX)
    return Record(
        file=name,
        label=row["label"],
        source=row["source"] or root.resolve().name,
        patient_id=row.get("patient_id"),
        device=row.get("device", ""),
        birads=row.get("birads", ""),
        histology=row.get("histology", ""),
        side=row.get("side", ""),
        sha256=hashlib.sha256(data).hexdigest(),
        width=pixels.shape[1],
        height=pixels.shape[0],
        phash=perceptual_hash(pixels),
        masks=own_masks,
        thumbnail=thumbnail.tobytes(),
    )


def thumbnails(records: Sequence[Record]) -> npt.NDArray[np.uint8]:
    """Grey thumbnails for comparing pictures: uint8 N x 24 x 24."""
    flat = np.frombuffer(b"".join(r.thumbnail for r in records), dtype=np.uint8)
    return flat.reshape(len(records), THUMBNAIL, THUMBNAIL)


def limit_records(dataset: Dataset, limit: int | None, *, seed: int = 0) -> Dataset:
    """About ``limit`` pictures, each class in its proportion (at least one), chosen by seed."""
    if limit is None or limit >= len(dataset.records):
        return dataset
    rng = np.random.default_rng(seed)
    chosen: list[Record] = []
    for label in CLASSES:
        own = [r for r in dataset.records if r.label == label]
        share = min(len(own), max(1, round(limit * len(own) / len(dataset.records))))
        picked: list[int] = rng.permutation(len(own))[:share].tolist()
        chosen.extend(own[i] for i in picked)
    chosen.sort(key=lambda r: r.file)
    return replace(dataset, records=tuple(chosen))


def main(argv: Sequence[str] | None = None) -> int:
    """``python -m ml.dataset DIR …``: see :mod:`ml.importer`."""
    # Imported here because it works on this module's records.
    from ml.importer import main as run

    return run(argv)


if __name__ == "__main__":
    sys.exit(run_cli(main))
