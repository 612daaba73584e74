"""Folding the moves of jobs into counts that never go down."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.db import transaction

from cases.measures import DURATION_BOUNDS_S
from cases.models import JobEvent, JobTally
from cases.models.tallies import hour_key
from cases.selectors.settled import Horizon, settled
from cases.services.locks import advisory_lock
from cases.states import JobState

# Moves read in one transaction.
MOVES_AT_ONCE = 5_000
_MEASURED = (JobState.SUCCEEDED, JobState.FAILED)
# What ended in each hour is kept for so many of them: a day, and whoever looks at its edge.
HOURS_KEPT = 30


def jobs_tally(*, seconds: float | None = 1.0, patience_s: float = 1.0) -> int:
    """Count the moves that nobody can commit another one between; how many there were.

    Each move is counted once, however often and by however many this is called: counts and place
    change in one transaction. Ends after ``seconds`` (None: when all is counted).
    """
    # Also where nothing came: that the counts are complete is worth telling.
    horizon = settled(JobEvent, above=None, patience_s=patience_s)
    if horizon is None:
        return 0
    deadline = None if seconds is None else time.monotonic() + seconds
    total = 0
    while found := _tally_next(horizon):
        total += found
        if deadline is not None and time.monotonic() >= deadline:
            break
    return total


@transaction.atomic
def _tally_next(horizon: Horizon) -> int:
    if not advisory_lock("job-tally", wait=False):
        return 0
    tally = JobTally.objects.first() or JobTally()
    moves = list(
        JobEvent.objects.filter(id__gt=tally.last_event_id, id__lte=horizon.id)
        .order_by("id")
        .values_list(
            "id",
            "at",
            "from_state",
            "to_state",
            "attempt",
            "job__kind",
            "job__created_at",
            "job__started_at",
        )[:MOVES_AT_ONCE]
    )
    if moves:
        _count(tally.counts, moves)
        tally.last_event_id = moves[-1][0]
    if len(moves) < MOVES_AT_ONCE:
        tally.complete_at = horizon.at
    tally.save()
    return len(moves)


def _count(counts: dict[str, Any], moves: Iterable[tuple[Any, ...]]) -> None:
    for _, at, source, target, attempt, kind, created_at, started_at in moves:
        made = counts.setdefault("moves", {}).setdefault(kind, {})
        name = f"{source}>{target}"
        made[name] = made.get(name, 0) + 1
        if target == JobState.RUNNING and attempt == 1:
            _observe(counts, "waiting", kind, created_at, at)
        elif target in _MEASURED and started_at is not None:
            _observe(counts, "running", kind, started_at, at)
        if target in _MEASURED:
            _hour(counts, kind, target, at)


def _hour(counts: dict[str, Any], kind: str, target: str, at: datetime) -> None:
    """One more job that ended in this hour; those of long ago go."""
    hours = counts.setdefault("hours", {}).setdefault(kind, {})
    ended = hours.setdefault(hour_key(at), {})
    ended[target] = ended.get(target, 0) + 1
    for old in sorted(hours)[:-HOURS_KEPT]:
        del hours[old]


def _observe(counts: dict[str, Any], what: str, kind: str, begin: datetime, end: datetime) -> None:
    """One more duration; ``buckets`` has one place more than there are bounds, for all above."""
    empty = {"buckets": [0] * (len(DURATION_BOUNDS_S) + 1), "sum": 0.0}
    histogram = counts.setdefault(what, {}).setdefault(kind, empty)
    seconds = max(0.0, (end - begin).total_seconds())
    histogram["buckets"][bisect_left(DURATION_BOUNDS_S, seconds)] += 1
    histogram["sum"] += seconds
