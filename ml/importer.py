"""The import of a data folder: a report of what is in it, and an immutable snapshot.

    python -m ml.dataset DIR [--json OUT] [--snapshot OUT_DIR] [--folds 5] [--seed 0]

prints the report; with ``--snapshot`` it writes ``snapshot.json``, ``report.json``, ``report.txt``
and ``contact-sheet-NN.jpg``. The last hold the pictures themselves: never commit them.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ml.cli import UsageError
from ml.config import CLASSES
from ml.contact_sheet import contact_sheets
from ml.dataset import Dataset, Record, read_dataset
from ml.duplicates import RULE, Grouping, group_records
from ml.errors import ImageUnreadableError
from ml.layouts import printable
from ml.preprocessing import decode_raster
from ml.registry import write_atomic
from ml.snapshot import FILE, Document, build_snapshot, save_snapshot, stated_source


@dataclass(frozen=True)
class Import:
    """A data folder that was read: its records, their groups and the report."""

    dataset: Dataset
    grouping: Grouping
    report: dict[str, Any]

    def snapshot(
        self, *, folds: int = 5, seed: int = 0, licences: Mapping[str, str] | None = None
    ) -> Document:
        """See :func:`ml.snapshot.build_snapshot`."""
        return build_snapshot(
            self.dataset, grouping=self.grouping, folds=folds, seed=seed, licences=licences
        )

    def patients(self) -> set[tuple[str | None, str]]:
        """Source (None: not stated) and id of each patient that a manifest names.

        The document only numbers them; who compares snapshots by patient makes keys of these.
        """
        return {
            (stated_source(self.dataset, record.source), record.patient_id)
            for record in self.dataset.records
            if record.patient_id is not None
        }

    def save(self, document: Document, folder: Path) -> bool:
        """Write snapshot, report and contact sheets; False where this snapshot is there already.

        Raises :class:`ml.errors.DatasetError` where the folder holds another snapshot.
        """
        return save_snapshot(document, folder, beside=lambda out: self._beside(document, out))

    def _beside(self, document: Document, folder: Path) -> None:
        facts = {"snapshot": document["id"], "sources": document["sources"], "report": self.report}
        text = report_text(self.report) + snapshot_text(document)
        write_atomic(folder / "report.json", to_json(facts).encode())
        write_atomic(folder / "report.txt", text.encode())
        pages = contact_sheets(self.dataset, self.grouping)
        for number, page in enumerate(pages, start=1):
            write_atomic(folder / f"contact-sheet-{number:02d}.jpg", page)


def import_dataset(path: Path) -> Import:
    """Read a data folder or manifest for keeping: no link may lead out of it.

    Raises :class:`ml.errors.DatasetError` as :func:`ml.dataset.read_dataset` does; one class is
    enough.
    """
    dataset = read_dataset(path, classes_needed=1, links=False)
    grouping = group_records(dataset.records)
    return Import(dataset, grouping, report(dataset, grouping))


def report(dataset: Dataset, grouping: Grouping | None = None) -> dict[str, Any]:
    """Counts, sizes, groups and conflicts of a dataset as a JSON-ready dict."""
    grouping = grouping or group_records(dataset.records)
    records = dataset.records
    by_source: dict[str, Counter[str]] = {}
    for record in records:
        by_source.setdefault(record.source, Counter())[record.label] += 1
    sizes = np.array([(r.width, r.height) for r in records])
    return {
        "digest": dataset.digest(),
        "images": len(records),
        "classes": dataset.counts(),
        "sources": {
            name: {label: counts[label] for label in CLASSES}
            for name, counts in sorted(by_source.items())
        },
        "devices": dict(sorted(Counter(r.device for r in records if r.device).items())),
        "birads": dict(sorted(Counter(r.birads for r in records if r.birads).items())),
        "patients": len({(r.source, r.patient_id) for r in records if r.patient_id is not None}),
        "images_without_patient": sum(r.patient_id is None for r in records),
        "masks": sum(len(r.masks) for r in records),
        **_mask_facts(dataset),
        "width": _spread(sizes[:, 0]),
        "height": _spread(sizes[:, 1]),
        "grouping_rule": RULE,
        "groups": grouping.count,
        "largest_group": int(np.bincount(grouping.groups).max()),
        "same_bytes": len(records) - len({r.sha256 for r in records}),
        "near_duplicate_groups": len(grouping.duplicates),
        "near_duplicate_images": sum(len(g) for g in grouping.duplicates),
        "near_duplicates": [[records[i].file for i in g] for g in grouping.duplicates],
        "conflicts": [[records[i].file for i in g] for g in grouping.conflicts],
        "quarantined_images": int(grouping.quarantined.sum()),
        "skipped": [{"file": s.file, "reason": s.reason} for s in dataset.skipped],
    }


def _spread(values: Any) -> dict[str, int]:
    return {"min": int(values.min()), "median": int(np.median(values)), "max": int(values.max())}


def _mask_facts(dataset: Dataset) -> dict[str, Any]:
    """How many masks are empty, and those that :meth:`Dataset.read_mask` takes as absent.

    An empty mask is right for a normal picture and is named for any other.
    """
    empty, unusable = 0, []
    for record in dataset.records:
        for name in record.masks:
            reason = _fault(dataset.root / name, record)
            empty += reason == "empty"
            if reason and not (reason == "empty" and record.label == "normal"):
                unusable.append({"file": printable(name), "reason": reason})
    return {"masks_empty": empty, "masks_unusable": unusable}


def _fault(path: Path, record: Record) -> str | None:
    try:
        mask = decode_raster(path.read_bytes())
    except ImageUnreadableError as error:
        return error.reason
    if mask.shape[:2] != (record.height, record.width):
        return "not of its picture's size"
    return "empty" if mask.max() <= 127 else None


def report_text(facts: Mapping[str, Any]) -> str:
    """The report for a person, a line a fact; lists of near-duplicates without conflicts left out.

    File names are on one line each, whatever is in them.
    """
    w, h = facts["width"], facts["height"]
    width = max(len(name) for name in facts["sources"])
    lines = [
        f"{facts['images']} images, {facts['masks']} masks, id {facts['digest'][:12]}",
    ]
    for name, counts in facts["sources"].items():
        shown = ", ".join(f"{label} {count}" for label, count in counts.items())
        lines.append(f"  {printable(name):<{width}}  {shown}")
    if facts["masks_empty"]:
        lines.append(f"empty masks: {facts['masks_empty']}")
    lines += [
        f"width {w['min']}-{w['max']} (median {w['median']}), "
        f"height {h['min']}-{h['max']} (median {h['median']}) px",
        f"patients known: {facts['patients']}; "
        f"images without a patient: {facts['images_without_patient']}",
        f"rule: {facts['grouping_rule']}",
        f"groups: {facts['groups']}, the largest of {facts['largest_group']} images",
        f"near-duplicate groups: {facts['near_duplicate_groups']} "
        f"({facts['near_duplicate_images']} images; {facts['same_bytes']} repeat another's bytes)",
        f"conflicting groups: {len(facts['conflicts'])} "
        f"({facts['quarantined_images']} images quarantined)",
    ]
    lines += [f"  conflicting labels: {_names(files)}" for files in facts["conflicts"]]
    for key, title in (("masks_unusable", "mask not used"), ("skipped", "skipped")):
        lines += [f"{title}: {entry['file']}: {entry['reason']}" for entry in facts[key]]
    return "\n".join(lines) + "\n"


def _names(files: Sequence[str]) -> str:
    return ", ".join(map(printable, files))


def snapshot_text(document: Document) -> str:
    """Id, terms and stored splits of a snapshot for a person."""
    lines = [f"snapshot {document['id']}"]
    for source in document["sources"]:
        name = source["source"] or document["name"]
        lines.append(f"  {printable(name)}: licence: {source['licence'] or 'not stated'}")
    for kind, stored in document["splits"].items():
        holdout = stored["holdout"]
        sizes = ", ".join(
            f"{len(holdout[part])} {part.replace('_', '-')}"
            for part in ("train", "validation", "held_out")
        )
        lines.append(
            f"  {kind} 80/20 and {len(stored['folds'])} folds, seed {stored['seed']}: {sizes}; "
            f"{holdout['held_out_of_parted_groups']} held-out of groups that are parted"
        )
    return "\n".join(lines) + "\n"


def parse_licences(given: Sequence[str]) -> dict[str, str]:
    """``SOURCE=TEXT`` options as a dict. Raises :class:`UsageError` for anything else."""
    licences = {}
    for text in given:
        source, equals, licence = text.partition("=")
        if not (equals and source.strip() and licence.strip()):
            raise UsageError(f"--licence takes SOURCE=TEXT, not {text!r}")
        licences[source.strip()] = licence.strip()
    return licences


def to_json(value: Any) -> str:
    """Indented JSON with a newline at the end."""
    return json.dumps(value, indent=2, ensure_ascii=True) + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    """``python -m ml.dataset DIR …``: print what is in a data folder, and keep it."""
    parser = argparse.ArgumentParser(prog="python -m ml.dataset", description=main.__doc__)
    parser.add_argument("data", type=Path, metavar="DIR", help="data folder, or a .csv manifest")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the whole report as JSON")
    parser.add_argument("--snapshot", type=Path, metavar="OUT_DIR", help="keep a snapshot here")
    parser.add_argument("--folds", type=int, default=5, help="of the snapshot (default 5)")
    parser.add_argument("--seed", type=int, default=0, help="of its splits (default 0)")
    parser.add_argument("--licence", action="append", default=[], metavar="SOURCE=TEXT")
    arguments = parser.parse_args(argv)
    if arguments.folds < 2 or arguments.seed < 0:
        raise UsageError("--folds must be at least 2 and --seed not negative")
    licences = parse_licences(arguments.licence)
    found = import_dataset(arguments.data)
    print(report_text(found.report), end="")
    if arguments.json:
        write_atomic(arguments.json, to_json(found.report).encode())
    if arguments.snapshot:
        document = found.snapshot(folds=arguments.folds, seed=arguments.seed, licences=licences)
        is_new = found.save(document, arguments.snapshot)
        print(snapshot_text(document), end="")
        print(f"{'saved' if is_new else 'there already'}: {arguments.snapshot / FILE}")
    return 0
