"""Reading seals and what they cover; checking the chain."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db.models import CharField, Func, QuerySet, TextField
from django.db.models.functions import Cast

from cases.access import Actor, Capability
from cases.models import AuditEvent, AuditSeal
from cases.sealing import CONTENT, Fault, FaultKind, Head, Row, SealFacts, event_faults

# Rows held in memory at a time.
EVENTS_AT_ONCE = 2_000
SEALS_AT_ONCE = 50
# More unsealed events than this are "more than": counting them all says nothing.
MAX_UNSEALED = 100_000


class _Epoch(Func):
    """A time as seconds since 1970 in decimal digits: any time, also one Python cannot hold."""

    template = "extract(epoch from %(expressions)s)::text"
    output_field = CharField()


@dataclass(frozen=True)
class SealState:
    """How far the trail is sealed. ``unsealed`` counts up to ``MAX_UNSEALED`` + 1."""

    head: AuditSeal | None
    unsealed: int
    oldest_unsealed_at: datetime | None


def seal_last() -> AuditSeal | None:
    """The last seal, without its list of events."""
    return AuditSeal.objects.defer("entries").order_by("-number").first()


def seal_state(*, actor: Actor) -> SealState:
    """The last seal and what waits for the next one. Three queries, however long the trail.

    Of all sites, which share one chain; ``PermissionDenied`` without VIEW_AUDIT.
    """
    actor.require(Capability.VIEW_AUDIT)
    head = seal_last()
    waiting = AuditEvent.objects.order_by("id")
    if head is not None:
        waiting = waiting.filter(id__gt=head.last_id)
    oldest = waiting.values_list("at", flat=True).first()
    return SealState(head, waiting[: MAX_UNSEALED + 1].count(), oldest)


def event_rows(*, after: int | None, until: int, limit: int) -> list[Row]:
    """Up to ``limit`` events with ids above ``after`` up to ``until``, as they are hashed."""
    events: QuerySet[Any] = AuditEvent.objects.filter(id__lte=until).order_by("id")
    if after is not None:
        events = events.filter(id__gt=after)
    events = events.annotate(at_=_Epoch("at"), detail_=Cast("detail", TextField()))
    exact = {"at": "at_", "detail": "detail_"}
    columns = [exact.get(column, column) for column in CONTENT]
    return [(row[0], row[1:]) for row in events.values_list("id", *columns)[:limit]]


def _seals_after(number: int) -> list[tuple[SealFacts, str]]:
    seals = AuditSeal.objects.filter(number__gt=number).order_by("number")[:SEALS_AT_ONCE]
    return _facts(seals)


def _facts(seals: QuerySet[AuditSeal]) -> list[tuple[SealFacts, str]]:
    """Seals and the hashes they claim to have."""
    names = [field.name for field in fields(SealFacts)]
    exact = {"horizon_at": "horizon_at_", "sealed_at": "sealed_at_"}
    rows = seals.annotate(horizon_at_=_Epoch("horizon_at"), sealed_at_=_Epoch("sealed_at"))
    found = []
    for claim, *values in rows.values_list("hash", *[exact.get(name, name) for name in names]):
        told = dict(zip(names, values, strict=True))
        found.append((SealFacts(**told | {"entries": bytes(told["entries"])}), claim))
    return found


class _Events:
    """The events in the order of ids, read in batches, each id once."""

    def __init__(self, position: int | None) -> None:
        self.position = position
        self._ahead: deque[Row] = deque()

    def between(self, after: int | None, last: int, *, until: int) -> Iterator[Row]:
        """Those above ``after`` up to ``last``. Batches are read up to ``until``, which must be
        settled: of ids beyond it some may not be seen yet."""
        if after is not None and (self.position is None or after > self.position):
            self.position = after
            while self._ahead and self._ahead[0][0] <= after:
                self._ahead.popleft()
        while True:
            if not self._ahead:
                rows = event_rows(after=self.position, until=until, limit=EVENTS_AT_ONCE)
                self._ahead.extend(rows)
            if not self._ahead or self._ahead[0][0] > last:
                self.position = last
                return
            row = self._ahead.popleft()
            self.position = row[0]
            yield row


class ChainCheck:
    """One walk along the chain; what was seen is told after ``faults`` has come to its end.

    ``expect``: a head kept elsewhere that must be in the chain. ``since``: such a head, from which
    on events and seals are checked; those before it are taken as checked when it was written.
    """

    def __init__(self, *, expect: Head | None = None, since: Head | None = None) -> None:
        self.seals = self.events = 0
        self.head: Head | None = None
        self._expect = expect or since
        self._since = since
        self._before: SealFacts | None = None
        self._events = _Events(None)
        self._horizons: deque[tuple[int, str]] = deque()
        self._not_before: Decimal | None = None

    def faults(self) -> Iterator[Fault]:
        """Everything that is not as it was sealed, in the order of the chain."""
        if self._since is not None:
            start = self._start(self._since)
            if isinstance(start, Fault):
                yield start
                return
        while page := _seals_after(self.head.number if self.head else 0):
            # Sealed when it was read, so settled: nothing up to here is still to come.
            until = max(seal.last_id for seal, _ in page)
            for seal, claim in page:
                yield from self._seal(seal, claim, until)
        if self._expect is not None and (
            self.head is None or self.head.number < self._expect.number
        ):
            last = f"seal {self.head.number}" if self.head else "no seal at all"
            why = f"missing, the chain ends with {last}: its tail was removed"
            yield Fault(FaultKind.HEAD_MISSING, self._expect.number, why)

    def _start(self, since: Head) -> Fault | None:
        found = _facts(AuditSeal.objects.filter(number=since.number))
        if not found:
            why = "missing: the seal of the given head is not in the chain"
            return Fault(FaultKind.HEAD_MISSING, since.number, why)
        seal, claim = found[0]
        if claim != since.hash or seal.digest() != claim:
            return _another(since.number)
        self._before, self.head = seal, since
        self._events = _Events(seal.last_id)
        self._horizons.append((seal.horizon_id, seal.horizon_at))
        return None

    def _seal(self, seal: SealFacts, claim: str, until: int) -> Iterator[Fault]:
        yield from self._about(seal, claim)
        # What an altered seal lists tells nothing of the events.
        if seal.digest() == claim and seal.broken() is None:
            yield from self._covered(seal, until)
            self._horizons.append((seal.horizon_id, seal.horizon_at))
        self._before, self.head = seal, Head(seal.number, claim)
        self.seals += 1
        self.events += seal.count

    def _about(self, seal: SealFacts, claim: str) -> Iterator[Fault]:
        """What is wrong with the seal itself, or with its place behind the one before."""
        number = seal.number
        expected = (self.head.number if self.head else 0) + 1
        if number > expected:
            more = f", with all up to seal {number - 1}" if number > expected + 1 else ""
            why = f"missing{more}: the events it covered cannot be checked"
            yield Fault(FaultKind.SEAL_MISSING, expected, why)
        if seal.digest() != claim:
            why = "altered (its hash is not that of its content)"
            yield Fault(FaultKind.SEAL_ALTERED, number, why)
        elif (why_ := seal.broken()) is not None:
            yield Fault(FaultKind.SEAL_ALTERED, number, f"altered ({why_})")
        if number == expected:
            yield from self._parted(seal)
        told = self._expect
        if told is not None and told.number == number and told.hash != claim:
            yield _another(number)

    def _parted(self, seal: SealFacts) -> Iterator[Fault]:
        before = self._before
        if before is None:
            if seal.previous:
                yield Fault(
                    FaultKind.SEALS_PARTED, seal.number, "not the first: it follows another"
                )
            return
        assert self.head is not None
        if seal.previous != self.head.hash:
            why = f"altered (not the one that seal {seal.number} was made after)"
            yield Fault(FaultKind.SEALS_PARTED, before.number, why)
        elif seal.after_id != before.last_id:
            why = f"does not begin where seal {before.number} ends"
            yield Fault(FaultKind.SEALS_PARTED, seal.number, why)

    def _covered(self, seal: SealFacts, until: int) -> Iterator[Fault]:
        while self._horizons and self._horizons[0][0] <= seal.after_id:
            self._not_before = Decimal(self._horizons.popleft()[1])
        after = None if seal.number == 1 else seal.after_id
        rows = self._events.between(after, seal.last_id, until=until)
        yield from event_faults(seal, rows, not_before=self._not_before)


def _another(number: int) -> Fault:
    why = "another one than the given head tells: the chain was rewritten"
    return Fault(FaultKind.HEAD_OTHER, number, why)
