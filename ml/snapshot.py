"""An immutable snapshot of a data folder: one JSON document whose id is the hash of its content.

It holds every picture's hash, label, groups and masks, the origin and terms of each source, the
rule of grouping and the stored splits; never an absolute path or a patient's id. A patient who is
named by a keyed hash (``hmac-sha256:`` and 64 hex digits) keeps that name, so that documents can be
compared; any other id becomes a number of its own document.

    python -m ml.snapshot SNAPSHOT.json DIR     does DIR still hold what the snapshot says?
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

from ml.cli import UsageError, run_cli
from ml.dataset import Dataset, Record
from ml.duplicates import RULE, RULE_IN_IDS, Grouping, group_records
from ml.errors import DatasetError
from ml.layouts import Terms, printable, read_terms
from ml.registry import write_atomic
from ml.split import KINDS, Kind, split_records

Document = dict[str, Any]
FORMAT = 1
FILE = "snapshot.json"
HOLDOUT_FOLDS = 5
"""The 80/20 split holds out the first of five folds, whatever ``folds`` is."""
_KEYED = re.compile(r"hmac-sha256:[0-9a-f]{64}")
_NOT_CONTENT = ("id", "created_at", "name")
_NOTES: dict[Kind, str] = {
    "grouped": "groups are never parted; quarantined pictures are in no part",
    "random": "picture by picture, as in the paper this work follows: near-duplicates and one "
    "patient's pictures lie on both sides; only reported beside the grouped split",
}


def build_snapshot(
    dataset: Dataset,
    *,
    grouping: Grouping | None = None,
    folds: int = 5,
    seed: int = 0,
    licences: Mapping[str, str] | None = None,
) -> Document:
    """Describe a data folder as it is now.

    ``licences`` (by source) go before what the sets' own files say. A source that is only the
    folder's own name is null, so that a copy under another name has the same id. Positions in
    ``splits`` are those in ``files``. Raises :class:`DatasetError` when a mask cannot be read or
    there are too few groups for the folds, :class:`UsageError` for a licence of no source.
    """
    grouping = grouping or group_records(dataset.records)
    files = _files(dataset, grouping)
    content: Document = {
        "format": FORMAT,
        "digest": dataset.digest(),
        "classes": dataset.counts(),
        "sources": _sources(dataset, licences or {}),
        "grouping": {
            "rule": RULE,
            "groups": grouping.count,
            "near_duplicate_groups": len(grouping.duplicates),
            "conflicting_groups": len(grouping.conflicts),
            "quarantined_images": int(grouping.quarantined.sum()),
        },
        "files": files,
        "skipped": [{"file": s.file, "reason": s.reason} for s in dataset.skipped],
        "splits": {kind: _splits(dataset.records, grouping, kind, folds, seed) for kind in KINDS},
    }
    created = datetime.now(UTC).isoformat(timespec="seconds")
    facts = {"created_at": created, "name": dataset.root.resolve().name, **content}
    return {"id": content_id(facts), **facts}


def content_id(document: Document) -> str:
    """SHA-256 of the canonical JSON of a document without its id, date and the folder's name."""
    content = {k: v for k, v in document.items() if k not in _NOT_CONTENT}
    grouping = content.get("grouping")
    if isinstance(grouping, dict) and grouping.get("rule") == RULE:
        content["grouping"] = {**grouping, "rule": RULE_IN_IDS}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def stated_source(dataset: Dataset, source: str) -> str | None:
    """A source as a snapshot names it: None where it is only the folder's own name."""
    unstated = dataset.named_by_place and source == dataset.root.resolve().name
    return None if unstated else source


def _files(dataset: Dataset, grouping: Grouping) -> list[Document]:
    """One entry a picture. Patients are keys, or numbers in order of appearance; not their ids."""
    alike = {i: number for number, members in enumerate(grouping.duplicates) for i in members}
    patients: dict[tuple[str, str], int] = {}
    entries = []
    for index, record in enumerate(dataset.records):
        patient: int | str | None = None
        if record.patient_id is not None and _KEYED.fullmatch(record.patient_id):
            patient = record.patient_id
        elif record.patient_id is not None:
            patient = patients.setdefault((record.source, record.patient_id), len(patients))
        masks = [{"file": m, "sha256": _sha256(dataset.root, m)} for m in record.masks]
        entries.append(
            {
                "file": record.file,
                "class": record.label,
                "sha256": record.sha256,
                "width": record.width,
                "height": record.height,
                "phash": f"{record.phash:016x}",
                "source": stated_source(dataset, record.source),
                "device": record.device,
                "birads": record.birads,
                "histology": record.histology,
                "side": record.side,
                "patient": patient,
                "group": int(grouping.groups[index]),
                "near_duplicates": alike.get(index),
                "quarantined": bool(grouping.quarantined[index]),
                "masks": masks,
            }
        )
    return entries


def _sources(dataset: Dataset, licences: Mapping[str, str]) -> list[Document]:
    """Origin and terms of each source, by name; those of the first set that has it."""
    counts = Counter(record.source for record in dataset.records)
    for name in licences:
        if name not in counts:
            known = ", ".join(sorted(counts))
            raise UsageError(f"there is no source {name!r}; the sources are {known}")
    terms: dict[str, Terms] = {}
    for part in dataset.parts:
        prefix = part.folder.relative_to(dataset.root)
        own = [r.source for r in dataset.records if PurePosixPath(r.file).is_relative_to(prefix)]
        for source in dict.fromkeys(own):
            terms.setdefault(source, read_terms(part.folder))
    entries = []
    for source in sorted(counts):
        found = terms.get(source, Terms())
        entries.append(
            {
                "source": stated_source(dataset, source),
                "images": counts[source],
                "licence": licences.get(source, found.licence),
                "licence_sha256": found.licence_sha256,
                "citation": found.citation,
                "url": found.url,
                "note": found.note,
            }
        )
    return entries


def _splits(
    records: Sequence[Record], grouping: Grouping, kind: Kind, folds: int, seed: int
) -> Document:
    def part(count: int, fold: int) -> Document:
        split = split_records(
            records, folds=count, seed=seed, fold=fold, kind=kind, grouping=grouping
        )
        return {
            "train": split.train.tolist(),
            "validation": split.validation.tolist(),
            "held_out": split.held_out.tolist(),
            "held_out_of_parted_groups": len(split.leaked()),
        }

    return {
        "note": _NOTES[kind],
        "seed": seed,
        "holdout": part(HOLDOUT_FOLDS, 0),
        "folds": [part(folds, fold) for fold in range(folds)],
    }


def to_json(document: Document) -> str:
    """The document as text: one line a picture, one line a split."""
    lines = []
    for key, value in document.items():
        text = json.dumps(value, ensure_ascii=True)
        if key in ("files", "skipped", "sources") and value:
            text = (
                "[\n" + ",\n".join("  " + json.dumps(v, ensure_ascii=True) for v in value) + "\n]"
            )
        lines.append(f"{json.dumps(key)}: {text}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def save_snapshot(
    document: Document, folder: Path, *, beside: Callable[[Path], None] | None = None
) -> bool:
    """Write ``snapshot.json`` into ``folder`` by atomic rename, last of all; False if it is there.

    ``beside`` writes the files that go with it. A folder that holds another snapshot is left as it
    is, with a :class:`DatasetError`: a snapshot never changes.
    """
    path = folder / FILE
    if path.exists():
        existing = load_snapshot(path)["id"]
        if existing == document["id"]:
            return False
        raise DatasetError(
            f"{folder} holds another snapshot ({existing[:12]}); choose a new folder"
        )
    folder.mkdir(parents=True, exist_ok=True)
    if beside:
        beside(folder)
    write_atomic(path, to_json(document).encode())
    return True


def load_snapshot(path: Path) -> Document:
    """Read a snapshot and check that its id is the hash of its content.

    Raises :class:`DatasetError` where the file is missing, cut short, changed or of another
    format, or names a file outside the data folder.
    """
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise DatasetError(f"{path} cannot be read ({error.strerror})") from None
    except ValueError:
        raise DatasetError(f"{path} is no snapshot: it is not JSON") from None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise DatasetError(f"{path} is no snapshot that this version reads")
    if document.get("id") != content_id(document):
        raise DatasetError(f"{path} was changed: its content does not have its id")
    for name, _ in _hashes(document):
        inside = PurePosixPath(name)
        if inside.is_absolute() or ".." in inside.parts:
            raise DatasetError(f"{path} names a file outside the data folder")
    return dict(document)


def verify_snapshot(document: Document, root: Path) -> int:
    """Check that the files under ``root`` have the snapshot's hashes; how many were checked.

    Raises :class:`DatasetError` that names the first picture or mask that is missing or differs.
    """
    hashes = _hashes(document)
    for name, expected in hashes:
        if _sha256(root, name) != expected:
            raise DatasetError(f"{printable(name)} is not what the snapshot holds")
    return len(hashes)


def stored_split(
    document: Document, dataset: Dataset, *, kind: Kind = "grouped", fold: int | None = None
) -> dict[str, list[Record]]:
    """The records of the stored 80/20 split, or of one of the stored folds, by part.

    Raises :class:`DatasetError` when the data is not the snapshot's or there is no such fold.
    """
    if dataset.digest() != document["digest"]:
        raise DatasetError(f"{dataset.root} is not the data of snapshot {document['id'][:12]}")
    stored = document["splits"][kind]
    if fold is not None and not 0 <= fold < len(stored["folds"]):
        raise DatasetError(f"snapshot {document['id'][:12]} has {len(stored['folds'])} folds")
    chosen = stored["holdout"] if fold is None else stored["folds"][fold]
    return {
        name: [dataset.records[i] for i in chosen[name]]
        for name in ("train", "validation", "held_out")
    }


def _hashes(document: Document) -> list[tuple[str, str]]:
    pairs = []
    for entry in document["files"]:
        pairs.append((entry["file"], entry["sha256"]))
        pairs.extend((mask["file"], mask["sha256"]) for mask in entry["masks"])
    return pairs


def _sha256(root: Path, name: str) -> str:
    try:
        return hashlib.sha256((root / name).read_bytes()).hexdigest()
    except OSError as error:
        raise DatasetError(f"{printable(name)} cannot be read ({error.strerror})") from None


def main(argv: Sequence[str] | None = None) -> int:
    """``python -m ml.snapshot SNAPSHOT.json DIR``: compare a snapshot with a data folder."""
    parser = argparse.ArgumentParser(prog="python -m ml.snapshot", description=main.__doc__)
    parser.add_argument("snapshot", type=Path, metavar="SNAPSHOT.json")
    parser.add_argument("data", type=Path, metavar="DIR")
    arguments = parser.parse_args(argv)
    document = load_snapshot(arguments.snapshot)
    count = verify_snapshot(document, arguments.data)
    print(f"snapshot {document['id'][:12]}: {count} files as they were")
    return 0


if __name__ == "__main__":
    sys.exit(run_cli(main))
