"""How readings changed after the model's answer was shown: shapes and counts, no ORM.

A first word is what a reader signed while the answer was withheld; a last word is what stands after
their later addenda. The model has no category: compared is only the side, suspicious (4A to 6) or
not (1 to 3), with above or below its threshold.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from cases.vocabulary import BiradsCategory

C = BiradsCategory
SUSPICIOUS = frozenset({C.C4A, C.C4B, C.C4C, C.C5, C.C6})
UNSUSPICIOUS = frozenset({C.C1, C.C2, C.C3})
# 0 is no assessment yet and 6 a proven one: a change to or from them goes neither way.
_ORDER = {c: n for n, c in enumerate((C.C1, C.C2, C.C3, C.C4A, C.C4B, C.C4C, C.C5))}


class ModelSide(StrEnum):
    """What the model answered of a place: above its threshold on any image, below on all, or no
    answer for one of them (abstained, refused, or not there yet)."""

    ABOVE = "above"
    BELOW = "below"
    NO_ANSWER = "no_answer"


class Move(StrEnum):
    KEPT = "kept"
    TOWARD = "toward_the_model"
    AWAY = "away_from_the_model"
    # Changed where the model had no answer, or to or from 0 or 6.
    OTHERWISE = "otherwise"


@dataclass(frozen=True)
class ReadPlace:
    """A reader's words for one place of a case. ``finding``: its number, None for the whole."""

    reading_id: UUID
    case_id: UUID
    finding: int | None
    reader: str
    signed_at: datetime
    first: BiradsCategory
    last: BiradsCategory
    model: ModelSide

    @property
    def move(self) -> Move:
        if self.first == self.last:
            return Move.KEPT
        ranked = self.first in _ORDER and self.last in _ORDER
        if not ranked or self.model is ModelSide.NO_ANSWER:
            return Move.OTHERWISE
        rises = _ORDER[self.last] > _ORDER[self.first]
        return Move.TOWARD if rises is (self.model is ModelSide.ABOVE) else Move.AWAY

    @property
    def agreed_first(self) -> bool | None:
        return _agrees(self.first, self.model)

    @property
    def agreed_last(self) -> bool | None:
        return _agrees(self.last, self.model)


def _agrees(category: BiradsCategory, model: ModelSide) -> bool | None:
    """Whether both are on one side; None where one of them takes none."""
    if model is ModelSide.NO_ANSWER or category not in SUSPICIOUS | UNSUSPICIOUS:
        return None
    return (category in SUSPICIOUS) is (model is ModelSide.ABOVE)


@dataclass
class CategoryCounts:
    """How often a category was the first word, was kept, changed from and changed to."""

    category: BiradsCategory
    first: int = 0
    kept: int = 0
    changed_from: int = 0
    changed_to: int = 0

    @property
    def last(self) -> int:
        return self.kept + self.changed_to


@dataclass
class Counts:
    """Of one reader, or of all."""

    n: int = 0
    # Of those where reader and model both took a side.
    compared: int = 0
    agreed_first: int = 0
    compared_last: int = 0
    agreed_last: int = 0
    moves: dict[Move, int] = field(default_factory=lambda: dict.fromkeys(Move, 0))

    def add(self, place: ReadPlace) -> None:
        self.n += 1
        self.moves[place.move] += 1
        if place.agreed_first is not None:
            self.compared += 1
            self.agreed_first += place.agreed_first
        if place.agreed_last is not None:
            self.compared_last += 1
            self.agreed_last += place.agreed_last

    @property
    def kept(self) -> int:
        return self.moves[Move.KEPT]

    @property
    def toward(self) -> int:
        return self.moves[Move.TOWARD]

    @property
    def away(self) -> int:
        return self.moves[Move.AWAY]

    @property
    def otherwise(self) -> int:
        return self.moves[Move.OTHERWISE]

    @property
    def changed(self) -> int:
        return self.n - self.kept


@dataclass(frozen=True)
class Changes:
    """A site's readings over a period, counted."""

    total: Counts
    readers: dict[str, Counts]
    categories: tuple[CategoryCounts, ...]
    # From what to what, the most frequent first: only what changed.
    pairs: tuple[tuple[BiradsCategory, BiradsCategory, int], ...]


def changes_of(places: Iterable[ReadPlace]) -> Changes:
    """Count ``places``, of any number, in one pass."""
    total, readers = Counts(), dict[str, Counts]()
    categories = {category: CategoryCounts(category) for category in BiradsCategory}
    pairs: dict[tuple[BiradsCategory, BiradsCategory], int] = {}
    for place in places:
        total.add(place)
        readers.setdefault(place.reader, Counts()).add(place)
        categories[place.first].first += 1
        if place.move is Move.KEPT:
            categories[place.first].kept += 1
            continue
        categories[place.first].changed_from += 1
        categories[place.last].changed_to += 1
        pairs[place.first, place.last] = pairs.get((place.first, place.last), 0) + 1
    ordered = sorted(pairs.items(), key=lambda item: (-item[1], item[0]))
    return Changes(
        total=total,
        readers=dict(sorted(readers.items())),
        categories=tuple(categories.values()),
        pairs=tuple((first, last, n) for (first, last), n in ordered),
    )
