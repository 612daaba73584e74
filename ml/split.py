"""Stratified, grouped, seeded folds: a group never lies on both sides."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ml.config import CLASSES
from ml.dataset import Record
from ml.duplicates import Grouping, group_records
from ml.errors import DatasetError

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Split:
    """Positions of the records for each use. ``held_out`` decides nothing, it is only measured."""

    train: Indices
    validation: Indices
    held_out: Indices
    grouping: Grouping


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


def split_records(
    records: Sequence[Record], *, folds: int = 5, seed: int = 0, fold: int = 0
) -> Split:
    """One grouped split: fold ``fold`` of ``folds`` held out, one fold of the rest to validate.

    Quarantined records are in none of the three. Raises :class:`DatasetError` when there are
    too few groups, or a class of the training part is missing from it.
    """
    grouping = group_records(records)
    usable = np.flatnonzero(~grouping.quarantined)
    kept = [records[i] for i in usable.tolist()]
    outer = grouped_folds(kept, grouping.groups[usable], folds=folds, seed=seed)
    rest = usable[outer != fold]
    inner = grouped_folds(
        [records[i] for i in rest.tolist()], grouping.groups[rest], folds=folds, seed=seed + 1
    )
    return Split(rest[inner != 0], rest[inner == 0], usable[outer == fold], grouping)
