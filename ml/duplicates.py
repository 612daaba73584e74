"""Near-duplicate pictures, and the groups that must not be parted by a split."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ml.dataset import Record, thumbnails

MIN_CORRELATION = 0.97
MAX_HASH_BITS = 3
_PAIRS_AND_GROUPS = (
    "two pictures are near-duplicates when their 24x24 grey thumbnails, one of them possibly "
    f"mirrored, correlate above {MIN_CORRELATION} or their 64-bit DCT hashes differ in at most "
    f"{MAX_HASH_BITS} bits; groups are the connected sets of these pairs joined with patient "
    "ids; a near-duplicate set with more than one label is quarantined, "
)
RULE = (
    f"{_PAIRS_AND_GROUPS}in no part of any split: never trained on or held out; a measurement of "
    "a whole folder counts it and says so"
)
RULE_IN_IDS = f"{_PAIRS_AND_GROUPS}never trained or measured on"
"""The rule's first wording, which the ids of snapshots are made from: another wording of the same
rule must not give the same data another id."""


@dataclass(frozen=True)
class Grouping:
    """Groups of records, by position.

    ``groups[i]`` is the group number of record i; ``duplicates`` are the near-duplicate sets of
    two or more, ``conflicts`` those of them with more than one label; ``quarantined[i]`` tells
    whether record i is in one.
    """

    groups: npt.NDArray[np.int64]
    duplicates: tuple[tuple[int, ...], ...]
    conflicts: tuple[tuple[int, ...], ...]
    quarantined: npt.NDArray[np.bool_]

    @property
    def count(self) -> int:
        """Number of groups."""
        return len(np.unique(self.groups))


def group_records(records: Sequence[Record]) -> Grouping:
    """Group by near-duplicates and patient ids, by the rule in :data:`RULE`."""
    count = len(records)
    pairs = duplicate_pairs(records)
    alike = connected(count, pairs)
    duplicates = tuple(members for members in _members(alike) if len(members) > 1)
    conflicts = tuple(d for d in duplicates if len({records[i].label for i in d}) > 1)
    quarantined = np.zeros(count, dtype=np.bool_)
    for members in conflicts:
        quarantined[list(members)] = True
    first: dict[tuple[str, str], int] = {}
    for index, record in enumerate(records):
        if record.patient_id is not None:
            start = first.setdefault((record.source, record.patient_id), index)
            if start != index:
                pairs.append((start, index))
    return Grouping(connected(count, pairs), duplicates, conflicts, quarantined)


def duplicate_pairs(records: Sequence[Record]) -> list[tuple[int, int]]:
    """Pairs (i, j), i < j, that the rule calls near-duplicates."""
    if not records:
        return []
    small = thumbnails(records).astype(np.float64)
    plain, mirrored = _standardised(small), _standardised(small[:, :, ::-1])
    hashes = np.array([r.phash for r in records], dtype=np.uint64)
    pairs: list[tuple[int, int]] = []
    for i in range(len(records) - 1):
        rest = slice(i + 1, None)
        correlation = np.maximum(plain[rest] @ plain[i], mirrored[rest] @ plain[i])
        bits = np.unpackbits((hashes[rest] ^ hashes[i]).view(np.uint8).reshape(-1, 8), axis=1)
        alike = (correlation > MIN_CORRELATION) | (bits.sum(axis=1) <= MAX_HASH_BITS)
        pairs.extend((i, i + 1 + int(j)) for j in np.flatnonzero(alike))
    return pairs


def _standardised(images: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    flat = images.reshape(len(images), -1)
    flat = flat - flat.mean(axis=1, keepdims=True)
    norm = np.linalg.norm(flat, axis=1, keepdims=True)
    return np.asarray(flat / np.maximum(norm, 1e-9))


def connected(count: int, pairs: Iterable[tuple[int, int]]) -> npt.NDArray[np.int64]:
    """Number of the connected set of each of ``count`` nodes, counted from 0 by first member."""
    parent = list(range(count))

    def root(node: int) -> int:
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    for a, b in pairs:
        low, high = sorted((root(a), root(b)))
        parent[high] = low
    roots = np.array([root(i) for i in range(count)], dtype=np.int64)
    return np.asarray(np.unique(roots, return_inverse=True)[1], dtype=np.int64).reshape(-1)


def _members(groups: npt.NDArray[np.int64]) -> list[tuple[int, ...]]:
    sets: dict[int, list[int]] = {}
    for index, group in enumerate(groups.tolist()):
        sets.setdefault(group, []).append(index)
    return [tuple(members) for members in sets.values()]
