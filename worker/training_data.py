"""The data of a training: a snapshot's pictures, checked by their hashes and laid out to be read.

Pure `ml`, no Django: it runs in the training's own process. Its errors become event codes by
their names (`ml.progress.error_code`).
"""

from __future__ import annotations

import csv
import hashlib
import shutil
import sys
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml.errors import DatasetError

if TYPE_CHECKING:
    from ml.snapshot import Document

_COLUMNS = ("file", "class", "patient_id", "source", "device", "birads", "histology", "side")


class SnapshotUnreadableError(DatasetError):
    """The snapshot's document is missing or not what its id says."""


class DataChangedError(DatasetError):
    """A picture of the snapshot has vanished or differs."""


class OneClassError(DatasetError):
    """Malignant pictures and others are needed, and one of the two is missing."""


class TooFewCasesError(DatasetError):
    """A class has fewer groups than the split has parts."""


def read_document(path: Path) -> Document:
    """The snapshot's document. Raises ``SnapshotUnreadableError``."""
    from ml.snapshot import load_snapshot

    try:
        return load_snapshot(path)
    except DatasetError as error:
        raise SnapshotUnreadableError(str(error)) from None


def check_cases(document: Document, *, folds: int) -> None:
    """Whether a model can be trained from it. Raises ``OneClassError``, ``TooFewCasesError``."""
    groups: dict[str, set[int]] = defaultdict(set)
    for entry in document["files"]:
        if not entry["quarantined"]:
            groups[entry["class"]].add(entry["group"])
    if "malignant" not in groups or len(groups) < 2:
        found = ", ".join(sorted(groups)) or "none"
        raise OneClassError(
            f"a training needs malignant pictures and others; the snapshot's classes: {found}"
        )
    for label in sorted(groups):
        if len(groups[label]) < folds:
            raise TooFewCasesError(
                f"{len(groups[label])} cases of the class {label} are too few for {folds} parts "
                "of the split"
            )


def check_files(document: Document, root: Path) -> int:
    """Compare every picture and mask with its hash. Raises ``DataChangedError`` for the first.

    The error says which by the picture's hash: the name of a file may be a patient's, and many
    read why a run failed. The name goes to the log, which only those who train see.
    """
    from ml.snapshot import verify_snapshot

    count = 0
    for entry in document["files"]:
        try:
            count += verify_snapshot({"files": [entry]}, root)
        except DatasetError as error:
            print(error, file=sys.stderr)
            raise DataChangedError(
                f"the picture {entry['sha256'][:12]}, or a mask of it, has vanished or differs"
            ) from None
    return count


def lay_out(document: Document, root: Path, folder: Path) -> str:
    """Make ``folder`` a data folder of just the snapshot's files, as links; the digest it has.

    What was added to ``root`` since is not in it, so that the training is of the snapshot.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for entry in document["files"]:
        for name in (entry["file"], *(mask["file"] for mask in entry["masks"])):
            link = folder / name
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to((root / name).resolve())
    with (folder / "manifest.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(_COLUMNS)
        writer.writerows(_row(entry, document["name"]) for entry in document["files"])
    lines = sorted(
        f"{e['file']}\t{e['class']}\t{_patient(e)}\t{e['sha256']}" for e in document["files"]
    )
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _patient(entry: dict[str, Any]) -> str | None:
    return None if entry["patient"] is None else str(entry["patient"])


def _row(entry: dict[str, Any], name: str) -> list[str]:
    values = {**entry, "patient_id": _patient(entry), "source": entry["source"] or name}
    return ["" if values[column] is None else str(values[column]) for column in _COLUMNS]
