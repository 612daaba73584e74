"""Read a folder of labelled pictures: ``DIR/<class>/…`` or ``DIR/manifest.csv``."""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from ml.cli import run_cli
from ml.config import CLASSES
from ml.errors import DatasetError, ImageUnreadableError
from ml.phash import perceptual_hash
from ml.preprocessing import UInt8Image, decode_raster

THUMBNAIL = 24
_SUFFIXES = (".jpg", ".jpeg", ".png")
_IGNORED = ("thumbs.db", "desktop.ini")


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
    """All readable pictures of a folder, in order of their names."""

    root: Path
    records: tuple[Record, ...]
    skipped: tuple[Skipped, ...]

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


def read_dataset(root: Path, *, classes_needed: int = 2) -> Dataset:
    """Read a data folder: ``manifest.csv`` if there is one, else one folder per class.

    The manifest has the columns file and class, and may have patient_id and source. Files with
    ``_mask`` in the name are masks of the picture whose name they begin with. Unreadable files
    are skipped and named. Raises :class:`DatasetError` when the folder is missing or empty, a
    class is unknown, or fewer than ``classes_needed`` classes have pictures.
    """
    if not root.is_dir():
        raise DatasetError(f"there is no folder {root}")
    rows = [row for part in _parts(root) for row in _rows(root, part)]
    skipped: list[Skipped] = []
    records: list[Record] = []
    masks = _masks_by_stem(root)
    for row in sorted(rows, key=lambda r: r["file"]):
        try:
            records.append(_record(root, row, masks))
        except ImageUnreadableError as error:
            skipped.append(Skipped(row["file"], error.reason))
        except OSError as error:
            skipped.append(Skipped(row["file"], error.strerror or "cannot be read"))
    for orphan in sorted(path for paths in masks.values() for path in paths):
        skipped.append(Skipped(orphan, "a mask without its picture"))
    if not records:
        raise DatasetError(f"there are no readable pictures in {root}")
    found = {record.label for record in records}
    if len(found) < classes_needed:
        raise DatasetError(f"all pictures in {root} are of the class {', '.join(sorted(found))}")
    return Dataset(root, tuple(records), tuple(skipped))


def _parts(root: Path) -> list[Path]:
    """The data folders in a folder: itself, or those of its subfolders that are one."""
    if _is_data_folder(root):
        return [root]
    inner = sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    return [p for p in inner if _is_data_folder(p)] or [root]


def _is_data_folder(folder: Path) -> bool:
    if (folder / "manifest.csv").is_file():
        return True
    return any(p.is_dir() and p.name.lower() in CLASSES for p in folder.iterdir())


def _rows(root: Path, part: Path) -> Iterator[dict[str, str]]:
    """One row a picture, with ``file`` relative to ``root``."""
    manifest = part / "manifest.csv"
    prefix = part.relative_to(root)
    for row in _manifest_rows(manifest) if manifest.is_file() else _folder_rows(part):
        yield {**row, "file": (prefix / row["file"]).as_posix()}


def _manifest_rows(manifest: Path) -> Iterator[dict[str, str]]:
    try:
        with manifest.open(newline="", encoding="utf-8-sig") as file:
            table = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{manifest} cannot be read ({error})") from None
    for number, row in enumerate(table, start=2):
        name, label = (row.get("file") or "").strip(), (row.get("class") or "").strip().lower()
        if not name or not label:
            raise DatasetError(f"{manifest} line {number}: the columns file and class are needed")
        if label not in CLASSES:
            raise DatasetError(f"{manifest} line {number}: unknown class {label!r}")
        inside = Path(name)
        if inside.is_absolute() or ".." in inside.parts:
            raise DatasetError(f"{manifest} line {number}: the file lies outside the data folder")
        yield {
            "file": inside.as_posix(),
            "label": label,
            "patient_id": (row.get("patient_id") or "").strip(),
            "source": (row.get("source") or "").strip() or manifest.parent.name,
            "device": (row.get("device") or "").strip(),
            "birads": (row.get("birads") or "").strip(),
        }


def _folder_rows(root: Path) -> Iterator[dict[str, str]]:
    folders = sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    for folder in folders:
        label = folder.name.lower()
        if label not in CLASSES:
            raise DatasetError(f"unknown class folder {folder.name!r} in {root}")
        for path in sorted(folder.rglob("*")):
            hidden = path.name.startswith(".") or path.name.lower() in _IGNORED
            if path.is_file() and not hidden and "_mask" not in path.stem:
                name = path.relative_to(root).as_posix()
                yield {"file": name, "label": label, "patient_id": "", "source": root.name}


def _masks_by_stem(root: Path) -> dict[str, list[str]]:
    """Mask files by the name (without ending) of the picture they belong to."""
    masks: dict[str, list[str]] = {}
    for path in sorted(root.rglob("*_mask*")):
        if path.is_file() and path.suffix.lower() in _SUFFIXES:
            name = path.relative_to(root).as_posix()
            masks.setdefault(name[: name.rindex("_mask")], []).append(name)
    return masks


def _record(root: Path, row: dict[str, str], masks: dict[str, list[str]]) -> Record:
    name = row["file"]
    own_masks = tuple(masks.pop(str(Path(name).with_suffix("")), ()))
    data = (root / name).read_bytes()
    pixels = decode_raster(data)
    grey = Image.fromarray(pixels).convert("L")
    thumbnail = grey.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX)
    return Record(
        file=name,
        label=row["label"],
        source=row["source"],
        patient_id=row["patient_id"] or None,
        device=row.get("device", ""),
        birads=row.get("birads", ""),
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
    return Dataset(dataset.root, tuple(chosen), dataset.skipped)


def report(dataset: Dataset) -> dict[str, Any]:
    """Counts, sizes, groups and conflicts of a dataset as a JSON-ready dict."""
    # Imported here because grouping itself works on this module's records.
    from ml.duplicates import RULE, group_records

    grouping = group_records(dataset.records)
    by_source = Counter(f"{r.source}/{r.label}" for r in dataset.records)
    sizes = np.array([(r.width, r.height) for r in dataset.records])
    return {
        "digest": dataset.digest(),
        "images": len(dataset.records),
        "classes": dataset.counts(),
        "sources": dict(sorted(by_source.items())),
        "masks": sum(len(r.masks) for r in dataset.records),
        "width": {"min": int(sizes[:, 0].min()), "max": int(sizes[:, 0].max())},
        "height": {"min": int(sizes[:, 1].min()), "max": int(sizes[:, 1].max())},
        "grouping_rule": RULE,
        "groups": grouping.count,
        "near_duplicate_groups": len(grouping.duplicates),
        "near_duplicates": [[dataset.records[i].file for i in g] for g in grouping.duplicates],
        "conflicts": [[dataset.records[i].file for i in g] for g in grouping.conflicts],
        "skipped": [{"file": s.file, "reason": s.reason} for s in dataset.skipped],
    }


def main(argv: Sequence[str] | None = None) -> int:
    """``python -m ml.dataset DIR [--json OUT]``: print what is in a data folder."""
    parser = argparse.ArgumentParser(prog="python -m ml.dataset", description=__doc__)
    parser.add_argument("data", type=Path, metavar="DIR")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the whole report as JSON")
    arguments = parser.parse_args(argv)
    dataset = read_dataset(arguments.data, classes_needed=1)
    facts = report(dataset)
    if arguments.json:
        arguments.json.write_text(json.dumps(facts, indent=2, ensure_ascii=False) + "\n")
    print(f"{facts['images']} images, {facts['masks']} masks, id {facts['digest'][:12]}")
    for name, count in facts["sources"].items():
        print(f"  {name}: {count}")
    width, height = facts["width"], facts["height"]
    print(f"width {width['min']}-{width['max']}, height {height['min']}-{height['max']} px")
    print(f"rule: {facts['grouping_rule']}")
    print(f"groups: {facts['groups']}, near-duplicate groups: {facts['near_duplicate_groups']}")
    for files in facts["conflicts"]:
        print(f"  conflicting labels: {', '.join(files)}")
    for entry in facts["skipped"]:
        print(f"  skipped {entry['file']}: {entry['reason']}")
    return 0


if __name__ == "__main__":
    sys.exit(run_cli(main))
