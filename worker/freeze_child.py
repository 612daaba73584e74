"""The process that compares and describes the pictures of a freeze. Pure `ml`, no Django.

Started by `worker.freezing` as `python -m worker.freeze_child OPTIONS`. Reads ``request.json``,
``rows.csv`` and the pictures in ``data/``; leaves out what looks like a picture of the other side
of the test, and pictures of different classes that look the same; writes ``data/manifest.csv``,
``snapshot.json`` and ``result.json``, or ``error.json`` with why there is no snapshot.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bcweb.embedded.linux import die_with_parent

Rows = dict[str, dict[str, str]]
FOLDS = 5


class NoSnapshotError(Exception):
    """There will be no snapshot; ``code`` says why."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def main() -> int:
    options = json.loads(sys.argv[1])
    die_with_parent(options["parent"])
    own = os.getpriority(os.PRIO_PROCESS, 0)
    os.setpriority(os.PRIO_PROCESS, 0, max(own, options["nice"]))
    draft = Path(options["draft"])
    try:
        freeze(draft)
    except NoSnapshotError as error:
        (draft / "error.json").write_text(json.dumps({"code": error.code}))
        return 1
    return 0


def freeze(draft: Path) -> None:
    """Make the snapshot of what is in ``draft``. Raises ``NoSnapshotError``."""
    request = json.loads((draft / "request.json").read_bytes())
    with (draft / "rows.csv").open(encoding="utf-8", newline="") as file:
        rows: Rows = {row["file"]: row for row in csv.DictReader(file)}
    dropped = seen_before(draft / "data", rows, request)
    _drop(draft / "data", rows, dropped)
    dropped |= contradictions(draft / "data", rows)
    _drop(draft / "data", rows, dropped)
    labels = {row["class"] for row in rows.values()}
    if not rows:
        raise NoSnapshotError("nothing_left")
    if request["both_classes"] and not ("malignant" in labels and len(labels) > 1):
        raise NoSnapshotError("one_class")
    document = describe(draft, request["name"])
    kept = {entry["file"]: entry["sha256"] for entry in document["files"]}
    (draft / "result.json").write_text(json.dumps({"kept": kept, "dropped": dropped}))


def seen_before(data: Path, rows: Rows, request: Mapping[str, Any]) -> dict[str, str]:
    """Pictures that are, or look like, one of the other side of the test, or are too small."""
    from ml.duplicates import MAX_HASH_BITS
    from ml.errors import ImageUnreadableError
    from ml.phash import perceptual_hash
    from ml.preprocessing import decode_raster

    hashes = set(request["sha256"])
    known = np.array(request["phash"], dtype=np.uint64)
    found = {}
    for name in rows:
        content = (data / name).read_bytes()
        try:
            own = np.uint64(perceptual_hash(decode_raster(content)))
        except ImageUnreadableError:
            found[name] = "unreadable"
            continue
        bits = np.unpackbits((known ^ own).view(np.uint8).reshape(-1, 8), axis=1).sum(axis=1)
        is_near = len(known) and int(bits.min()) <= MAX_HASH_BITS
        if is_near or hashlib.sha256(content).hexdigest() in hashes:
            found[name] = "on_the_other_side"
    return found


def contradictions(data: Path, rows: Rows) -> dict[str, str]:
    """Pictures of different classes that look the same by the whole rule of `ml.duplicates`."""
    if not rows:
        return {}
    from ml.dataset import read_dataset
    from ml.duplicates import group_records

    dataset = read_dataset(data, classes_needed=1, links=False)
    quarantined = group_records(dataset.records).quarantined
    return {
        record.file: "contradicted"
        for record, bad in zip(dataset.records, quarantined, strict=True)
        if bad
    }


def describe(draft: Path, name: str) -> dict[str, Any]:
    """Write the snapshot's document; it bears the freeze's name, its id is of its content."""
    from ml.errors import DatasetError
    from ml.importer import import_dataset
    from ml.snapshot import save_snapshot

    found = import_dataset(draft / "data")
    try:
        document = found.snapshot(folds=FOLDS)
    except DatasetError as error:
        print(error, file=sys.stderr)
        raise NoSnapshotError("too_few_patients") from None
    document["name"] = name
    save_snapshot(document, draft)
    return document


def _drop(data: Path, rows: Rows, dropped: Mapping[str, str]) -> None:
    for name in dropped:
        if rows.pop(name, None) is not None:
            (data / name).unlink()
    _manifest(data, rows)


def _manifest(data: Path, rows: Rows) -> None:
    fields = ("file", "class", "patient_id", "source", "device", "histology", "side")
    with (data / "manifest.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=fields)
        writer.writeheader()
        writer.writerows(rows[name] for name in sorted(rows))


if __name__ == "__main__":
    sys.exit(main())
