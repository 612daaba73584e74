"""Reading the worklist: narrowed, ordered, page by page, each in a constant number of queries."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any
from uuid import UUID

from django.db.models import BooleanField, F, Func, Max, Q, QuerySet, Value
from django.utils import timezone

from cases.access import Actor, Capability
from cases.errors import NotFound
from cases.models import Reading, Submission, WorklistEntry
from cases.selectors.attached import attach
from cases.selectors.cases import case_list, summaries_attach
from cases.selectors.portal import MAX_NEWER, Page
from cases.vocabulary import PriorityRank
from cases.worklisting import (
    RANK_READ,
    Mine,
    Order,
    Period,
    ReadingState,
    WorklistFilters,
)

# What each order goes by; in one direction as a whole, so that one comparison of rows finds a
# place in it. Each is the tail of an index that begins with the site.
_KEYS: dict[Order, tuple[str, ...]] = {
    Order.WORKLIST: ("rank", "place", "case_id"),
    Order.NEWEST: ("arrived_at", "case_id"),
    Order.SCORE: ("top_score", "case_id"),
}
_FALLING = frozenset({Order.NEWEST, Order.SCORE})
_DAYS = {Period.TODAY: 0, Period.WEEK: 6, Period.MONTH: 29}
# The smallest and largest of a 64-bit column.
_BIGINT = 2**63


@dataclass(frozen=True)
class Cursor:
    """A place in an order: the values there, not the case, which may have moved meanwhile."""

    order: Order
    key: tuple[Any, ...]

    def encode(self) -> str:
        """As it stands in an address: nothing but numbers and an id."""
        parts = [_told(part) for part in self.key]
        return "_".join([self.order.value, *parts])

    @classmethod
    def of(cls, entry: WorklistEntry, order: Order) -> Cursor:
        return cls(order, tuple(getattr(entry, name) for name in _KEYS[order]))

    @classmethod
    def decode(cls, text: str, order: Order) -> Cursor:
        """``NotFound`` for anything that is no place in this order."""
        name, *parts = text.split("_")
        try:
            if name != order.value or len(parts) != len(_KEYS[order]):
                raise ValueError
            *values, case = parts
            return cls(order, (*_READ[order](values), UUID(hex=case)))
        except (ValueError, OverflowError):
            raise NotFound() from None


def _told(part: Any) -> str:
    if isinstance(part, UUID):
        return part.hex
    if isinstance(part, datetime):
        return str(int((part - _EPOCH) / timedelta(microseconds=1)))
    return repr(part)


_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.get_fixed_timezone(0))


def _read_rank(values: Sequence[str]) -> tuple[int, int]:
    rank, place = (int(value) for value in values)
    if not (0 <= rank < 100 and -_BIGINT <= place < _BIGINT):
        raise ValueError
    return rank, place


def _read_moment(values: Sequence[str]) -> tuple[datetime]:
    return (_EPOCH + timedelta(microseconds=int(values[0])),)


def _read_score(values: Sequence[str]) -> tuple[float]:
    score = float(values[0])
    if not -1 <= score <= 1:
        raise ValueError
    return (score,)


_READ: dict[Order, Any] = {
    Order.WORKLIST: _read_rank,
    Order.NEWEST: _read_moment,
    Order.SCORE: _read_score,
}


class _RowCompare(Func):
    """(a, b) < (x, y) in one comparison, which an index over a, b can start from."""

    output_field = BooleanField()

    def __init__(self, names: Sequence[str], values: Sequence[Any], *, falls: bool) -> None:
        super().__init__(*(F(name) for name in names), *(Value(value) for value in values))
        self.falls = falls

    def as_sql(
        self, compiler: Any, connection: Any, *args: Any, **extra: Any
    ) -> tuple[str, tuple[Any, ...]]:
        parts = [compiler.compile(part) for part in self.get_source_expressions()]
        half = len(parts) // 2
        sides = [", ".join(sql for sql, _ in side) for side in (parts[:half], parts[half:])]
        params = tuple(value for _, values in parts for value in values)
        return f"(({sides[0]}) {'<' if self.falls else '>'} ({sides[1]}))", params


def worklist(
    *, actor: Actor, filters: WorklistFilters, among: Collection[UUID] | None = None
) -> QuerySet[WorklistEntry]:
    """The entries of the actor's site that the filters leave, in no order.

    ``among``: only these cases, such as those that a search found. ``PermissionDenied`` without
    VIEW_CASES.
    """
    actor.require(Capability.VIEW_CASES)
    entries = WorklistEntry.objects.filter(site_id=actor.own_site)
    if among is not None:
        entries = entries.filter(case_id__in=list(among))
    if filters.state is not None:
        entries = entries.filter(state=filters.state.value)
    if filters.answer is not None:
        entries = entries.filter(answer=filters.answer.value)
    if filters.priority is not None:
        entries = entries.filter(priority=PriorityRank[filters.priority.name].value)
    first, last = days_of(filters)
    if first is not None:
        entries = entries.filter(arrived_at__gte=_midnight(first))
    if last is not None:
        entries = entries.filter(arrived_at__lt=_midnight(last + timedelta(days=1)))
    return entries.filter(_read_so_far(filters.reading), _of_mine(actor, filters.mine))


def days_of(filters: WorklistFilters) -> tuple[date | None, date | None]:
    """The first and last day that the filters let through; the narrower of period and dates."""
    first = filters.since
    if filters.period is not None:
        begin = timezone.localdate() - timedelta(days=_DAYS[filters.period])
        first = begin if first is None else max(first, begin)
    return first, filters.until


def _midnight(day: date) -> datetime:
    return timezone.make_aware(datetime.combine(day, time.min))


def _read_so_far(reading: ReadingState | None) -> Q:
    if reading is ReadingState.UNREAD:
        return Q(rank__lt=RANK_READ)
    if reading is ReadingState.SIGNED:
        return Q(rank=RANK_READ)
    if reading is ReadingState.DRAFTED:
        return Q(case_id__in=Reading.objects.filter(signed_at__isnull=True).values("case_id"))
    return Q()


def _of_mine(actor: Actor, mine: Mine | None) -> Q:
    if mine is None:
        return Q()
    if actor.user_id is None:
        # Nothing is the machine's own.
        return Q(pk__in=[])
    if mine is Mine.SUBMITTED:
        sent = Submission.objects.filter(user_id=actor.user_id, site_id=actor.own_site)
        return Q(case_id__in=sent.values("case_id"))
    read = Reading.objects.filter(reader_id=actor.user_id, signed_at__isnull=mine is Mine.READING)
    return Q(case_id__in=read.values("case_id"))


def in_order(entries: QuerySet[WorklistEntry], order: Order, *, back: bool = False) -> Any:
    """``entries`` in this order, or in the opposite one."""
    falls = (order in _FALLING) != back
    return entries.order_by(*(f"-{name}" if falls else name for name in _KEYS[order]))


def worklist_page(
    *,
    actor: Actor,
    filters: WorklistFilters,
    size: int,
    after: str = "",
    before: str = "",
    among: Collection[UUID] | None = None,
) -> Page[WorklistEntry]:
    """``size`` entries with their cases, behind ``after`` or ahead of ``before`` (cursors).

    ``has_newer`` is said of what comes before the page, ``has_older`` of what comes after it. A
    page holds its place when its cases move. ``NotFound`` for what is no cursor of this order.
    """
    entries = worklist(actor=actor, filters=filters, among=among)
    back = bool(before) and not after
    if after or before:
        cursor = Cursor.decode(after or before, filters.order)
        falls = (filters.order in _FALLING) != back
        entries = entries.filter(
            _RowCompare(_KEYS[filters.order], cursor.key, falls=falls),
        )
    found = list(in_order(entries, filters.order, back=back)[: size + 1])
    rows, more = _with_cases(actor, found[:size]), len(found) > size
    if back:
        return Page(rows=rows[::-1], has_newer=more, has_older=True)
    return Page(rows=rows, has_newer=bool(after), has_older=more)


def worklist_rows(*, actor: Actor, case_ids: Sequence[UUID]) -> list[WorklistEntry]:
    """The entries of these cases, in the given order; those of another site are left out."""
    entries = worklist(actor=actor, filters=WorklistFilters(), among=case_ids)
    place = {case_id: n for n, case_id in enumerate(case_ids)}
    return sorted(_with_cases(actor, entries), key=lambda entry: place[entry.case_id])


def _with_cases(actor: Actor, entries: Iterable[WorklistEntry]) -> list[WorklistEntry]:
    """``entries`` with what their lines are made of: patient, images, readers, and the answers that
    the actor may see."""
    found = list(entries)
    readings = Reading.objects.filter(addendum_to=None).select_related("reader")
    shown = readings.only(
        *("case_id", "signed_at", "created_at", "reader__username"),
        *("reader__first_name", "reader__last_name"),
    )
    cases = case_list(actor=actor).filter(pk__in=[entry.case_id for entry in found])
    by_id = {case.pk: case for case in cases}
    summaries_attach(list(by_id.values()), actor=actor)
    attach(list(by_id.values()), "readings", shown.order_by("created_at", "id"))
    for entry in found:
        entry.case = by_id[entry.case_id]
    return found


def newest_number(*, actor: Actor) -> int:
    """How far the list of the actor's site has come: entries numbered above it came later."""
    entries = WorklistEntry.objects.filter(site_id=actor.own_site)
    return entries.aggregate(last=Max("id"))["last"] or 0


def arrived_count(
    *,
    actor: Actor,
    filters: WorklistFilters,
    since: int,
    among: Collection[UUID] | None = None,
) -> int:
    """How many entries that the filters leave came after number ``since``; up to MAX_NEWER + 1."""
    entries = worklist(actor=actor, filters=filters, among=among)
    return entries.filter(id__gt=since)[: MAX_NEWER + 1].count()
