"""What a worklist can be narrowed to and ordered by: data and pure functions, no ORM.

The words of an address, of a saved view and of the rows that the database keeps for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import date
from enum import StrEnum
from typing import Any, TypeVar

from cases.errors import FieldInvalid
from cases.vocabulary import Priority

E = TypeVar("E", bound=StrEnum)


class WorkState(StrEnum):
    """How far the work on a case's images has come: the least finished of them."""

    READING = "reading"
    WAITING = "waiting"
    FAILED = "failed"
    CANCELLED = "cancelled"
    DONE = "done"
    ERASED = "erased"


class WorkAnswer(StrEnum):
    """What the model said of a case, as `reports.answers.CaseSummary.key` says it."""

    ABOVE = "above"
    BELOW = "below"
    NO_LESION = "no_lesion"
    ABSTAINED = "abstained"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"
    # Nothing yet, or nothing that stands for all of its images.
    NONE = "none"


class ReadingState(StrEnum):
    UNREAD = "unread"
    DRAFTED = "drafted"
    SIGNED = "signed"


class Mine(StrEnum):
    READING = "reading"
    SIGNED = "signed"
    SUBMITTED = "submitted"


class Period(StrEnum):
    TODAY = "today"
    WEEK = "week"
    MONTH = "month"


class Order(StrEnum):
    """``worklist``: unread before read, then by priority, then the oldest first."""

    WORKLIST = "worklist"
    NEWEST = "newest"
    SCORE = "score"


# Where a case stands in the order of the worklist: unread ones by their priority (0 to 2), then
# what was read, then what was erased.
RANK_READ = 3
RANK_ERASED = 4
# The score of a case without any, so that it comes last.
NO_SCORE = -1.0


@dataclass(frozen=True)
class WorklistFilters:
    """What a worklist is narrowed to. None: not narrowed. Days are days of the portal's zone."""

    state: WorkState | None = None
    answer: WorkAnswer | None = None
    priority: Priority | None = None
    reading: ReadingState | None = None
    mine: Mine | None = None
    period: Period | None = None
    since: date | None = None
    until: date | None = None
    order: Order = Order.WORKLIST

    @property
    def narrow(self) -> bool:
        """Whether anything is left out."""
        return replace(self, order=Order.WORKLIST) != WorklistFilters()

    @property
    def of_the_model(self) -> bool:
        """Whether they tell what the model said of the cases they leave."""
        return self.answer is not None or self.order is Order.SCORE

    def without_the_model(self) -> WorklistFilters:
        order = Order.WORKLIST if self.order is Order.SCORE else self.order
        return replace(self, answer=None, order=order)

    def as_words(self) -> dict[str, str]:
        """As an address or a saved view holds them: only what differs from nothing said."""
        said = {
            name: str(value)
            for name, value in asdict(self).items()
            if value is not None and (name != "order" or value != Order.WORKLIST)
        }
        return said


def worklist_filters_parse(raw: Mapping[str, Any]) -> WorklistFilters:
    """Check what an address, a form or a saved view says; other names are ignored.

    Raises ``FieldInvalid`` with all that is wrong at once.
    """
    errors: dict[str, list[str]] = {}

    def text(name: str) -> str:
        return str(raw.get(name) or "").strip()

    def choice(name: str, choices: type[E]) -> E | None:
        value = text(name)
        if not value:
            return None
        try:
            return choices(value)
        except ValueError:
            errors[name] = ["Choose one of: " + ", ".join(c.value for c in choices) + "."]
            return None

    def day(name: str) -> date | None:
        value = text(name)
        if not value:
            return None
        try:
            found = date.fromisoformat(value)
        except ValueError:
            found = None
        # What the database and a change of zone can hold.
        if found is None or not 1900 <= found.year <= 2999:
            errors[name] = ["Write the date as YYYY-MM-DD, for example 2026-03-01."]
            return None
        return found

    filters = WorklistFilters(
        state=choice("state", WorkState),
        answer=choice("answer", WorkAnswer),
        priority=choice("priority", Priority),
        reading=choice("reading", ReadingState),
        mine=choice("mine", Mine),
        period=choice("period", Period),
        since=day("since"),
        until=day("until"),
        order=choice("order", Order) or Order.WORKLIST,
    )
    if filters.since and filters.until and filters.since > filters.until:
        errors["until"] = ["The last day lies before the first."]
    if errors:
        raise FieldInvalid(errors=errors)
    return filters
