"""Reading first as its pages show it: the switch with its history, and what readers changed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.http import HttpRequest
from django.utils import timezone

from cases.models import ReaderFirstEvent
from cases.portal.moments import typed_moment
from cases.portal.readings import CATEGORIES
from cases.reading_changes import CategoryCounts, Changes, Counts
from cases.vocabulary import BiradsCategory

# What the summary tells of where nobody names a period.
DAYS = 90


@dataclass(frozen=True)
class Stretch:
    """A time in which the site read first; ``ended`` None while it does."""

    begun: ReaderFirstEvent
    ended: ReaderFirstEvent | None


def stretches_of(history: list[ReaderFirstEvent]) -> list[Stretch]:
    """``history``, newest first, as times from on to off."""
    found: list[Stretch] = []
    ended: ReaderFirstEvent | None = None
    for event in history:
        if event.on:
            found.append(Stretch(event, ended))
        ended = None if event.on else event
    return found


def typed_period(request: HttpRequest) -> tuple[datetime | None, datetime | None]:
    """From when to before when; the last ``DAYS`` days where no beginning is typed.

    ``FieldInvalid`` for what is no moment.
    """
    since, until = typed_moment(request, "since"), typed_moment(request, "until")
    if since is None and "since" not in request.GET:
        since = timezone.now() - timedelta(days=DAYS)
    return since, until


@dataclass(frozen=True)
class CategoryLine:
    words: str
    counts: CategoryCounts


@dataclass(frozen=True)
class ReaderLine:
    reader: str
    counts: Counts


@dataclass(frozen=True)
class PairLine:
    first: str
    last: str
    number: int


@dataclass(frozen=True)
class ChangesView:
    """The counts in the order and words of the page."""

    total: Counts
    categories: tuple[CategoryLine, ...]
    readers: tuple[ReaderLine, ...]
    pairs: tuple[PairLine, ...]


def changes_view(changes: Changes) -> ChangesView:
    def words(category: BiradsCategory) -> str:
        return CATEGORIES[category]

    return ChangesView(
        total=changes.total,
        categories=tuple(
            CategoryLine(words(counts.category), counts)
            for counts in changes.categories
            if counts.first or counts.changed_to
        ),
        readers=tuple(ReaderLine(name, counts) for name, counts in changes.readers.items()),
        pairs=tuple(PairLine(a.value, b.value, n) for a, b, n in changes.pairs),
    )
