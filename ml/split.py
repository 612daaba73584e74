"""Stratified, seeded folds: grouped (a group never lies on both sides), or picture by picture.

The second kind, ``random``, is how the paper this work follows split its data: near-duplicates
and one patient's pictures lie on both sides, so its figures are too good. It is only reported
beside the grouped one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from ml.config import CLASSES
from ml.dataset import Record
from ml.duplicates import Grouping, group_records
from ml.errors import DatasetError

Indices = npt.NDArray[np.int64]
Kind = Literal["grouped", "random"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True)
class Split:
    """Positions of the records for each use. ``held_out`` decides nothing, it is only measured."""

    train: Indices
    validation: Indices
    held_out: Indices
    grouping: Grouping
    kind: Kind = "grouped"
    fold: int = 0
    source: str | None = None
    """The source that is held out whole, where that is how the data was split."""

    def leaked(self) -> Indices:
        """Held-out records whose group also lies in the other parts: none where grouped."""
        groups = self.grouping.groups
        others = np.concatenate([self.train, self.validation])
        return self.held_out[np.isin(groups[self.held_out], groups[others])]


def grouped_folds(records: Sequence[Record], groups: Indices, *, folds: int, seed: int) -> Indices:
    """Assign each record a fold 0..folds-1: int64 N.

    Groups go whole, larger first, each to the fold where the class counts stay most even; the
    order among equals comes from the seed and the pictures' hashes, so it does not depend on
    file names or their order. Raises :class:`DatasetError` with fewer groups than folds.
    """
    targets = np.array([r.target for r in records], dtype=np.int64)
    names = np.unique(groups)
    if len(names) < folds:
        raise DatasetError(f"{len(names)} groups of pictures are too few for {folds} folds")
    totals = np.maximum(np.bincount(targets, minlength=len(CLASSES)), 1)

    def order(group: int) -> tuple[int, str]:
        members = np.flatnonzero(groups == group).tolist()
        text = f"{seed}:{min(records[i].sha256 for i in members)}"
        return -len(members), hashlib.sha256(text.encode()).hexdigest()

    filled = np.zeros((folds, len(CLASSES)))
    result = np.zeros(len(records), dtype=np.int64)
    for group in sorted(names.tolist(), key=order):
        members = np.flatnonzero(groups == group)
        added = np.bincount(targets[members], minlength=len(CLASSES)) / totals
        costs = ((filled + added) ** 2).sum(axis=1) - (filled**2).sum(axis=1)
        fold = int(np.argmin(np.round(costs, 12)))
        filled[fold] += added
        result[members] = fold
    return result


def random_folds(records: Sequence[Record], *, folds: int, seed: int) -> Indices:
    """Assign each record a fold 0..folds-1, class by class, whatever its group: int64 N.

    Records are dealt in an order that comes from the seed and their hashes (equal files: their
    names), so class counts and sizes of the folds differ by at most one. Raises
    :class:`DatasetError` with fewer records than folds.
    """
    if len(records) < folds:
        raise DatasetError(f"{len(records)} pictures are too few for {folds} folds")

    def order(index: int) -> tuple[int, str, str]:
        record = records[index]
        text = f"{seed}:{record.sha256}"
        return record.target, hashlib.sha256(text.encode()).hexdigest(), record.file

    result = np.zeros(len(records), dtype=np.int64)
    result[sorted(range(len(records)), key=order)] = np.arange(len(records)) % folds
    return result


def split_records(
    records: Sequence[Record],
    *,
    folds: int = 5,
    seed: int = 0,
    fold: int = 0,
    kind: Kind = "grouped",
    validate: bool = True,
    grouping: Grouping | None = None,
) -> Split:
    """One split: fold ``fold`` of ``folds`` held out, one fold of the rest to validate.

    ``grouped`` keeps groups whole, and quarantined records are in none of the three parts.
    ``random`` splits picture by picture and keeps the quarantined ones, as the paper did.
    Without ``validate`` all the rest is trained on and ``validation`` is empty. ``grouping`` is
    that of these records, where it is known already. Raises :class:`DatasetError` when there are
    too few groups (pictures) for the folds.
    """
    known = grouping or group_records(records)
    keep = ~known.quarantined if kind == "grouped" else np.ones(len(records), dtype=np.bool_)
    usable = np.flatnonzero(keep)

    def assign(part: Indices, seed: int) -> Indices:
        own = [records[i] for i in part.tolist()]
        if kind == "random":
            return random_folds(own, folds=folds, seed=seed)
        return grouped_folds(own, known.groups[part], folds=folds, seed=seed)

    outer = assign(usable, seed)
    rest, held_out = usable[outer != fold], usable[outer == fold]
    if not validate:
        return Split(rest, rest[:0], held_out, known, kind, fold)
    inner = assign(rest, seed + 1)
    return Split(rest[inner != 0], rest[inner == 0], held_out, known, kind, fold)
