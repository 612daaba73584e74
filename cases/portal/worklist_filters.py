"""The worklist's filters as a form and as words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any
from urllib.parse import urlencode

from cases.access import Actor, Capability
from cases.portal.worklist import WORK_WORDS
from cases.vocabulary import Priority
from cases.worklisting import (
    Mine,
    Order,
    Period,
    ReadingState,
    WorkAnswer,
    WorklistFilters,
    WorkState,
)

# In the order in which work goes on.
_STATES = (
    WorkState.WAITING,
    WorkState.READING,
    WorkState.DONE,
    WorkState.FAILED,
    WorkState.CANCELLED,
    WorkState.ERASED,
)
ANSWERS = {
    WorkAnswer.ABOVE: "Above the threshold",
    WorkAnswer.BELOW: "Below the threshold",
    WorkAnswer.NO_LESION: "No lesion pattern",
    WorkAnswer.ABSTAINED: "No answer: too uncertain",
    WorkAnswer.REFUSED: "No answer: refused",
    WorkAnswer.WITHDRAWN: "Withdrawn",
    WorkAnswer.NONE: "None yet",
}
PRIORITIES = {Priority.STAT: "Stat", Priority.URGENT: "Urgent", Priority.ROUTINE: "Routine"}
READINGS = {
    ReadingState.UNREAD: "Not signed",
    ReadingState.DRAFTED: "Being read",
    ReadingState.SIGNED: "Signed",
}
MINE = {
    Mine.READING: "I am reading",
    Mine.SIGNED: "I signed",
    Mine.SUBMITTED: "I submitted",
}
PERIODS = {
    Period.TODAY: "Today",
    Period.WEEK: "Last 7 days",
    Period.MONTH: "Last 30 days",
}
ORDERS = {
    Order.WORKLIST: "Unread and urgent first",
    Order.NEWEST: "Newest first",
    Order.SCORE: "Highest score first",
}
FIELDS = ("state", "answer", "priority", "reading", "mine", "period", "since", "until", "order")


@dataclass(frozen=True)
class FilterField:
    """One select of the form: its name, label, choices, what is chosen and what is wrong."""

    name: str
    label: str
    choices: tuple[tuple[str, str], ...]
    value: str
    nothing: str = "All"
    errors: tuple[str, ...] = ()


def filter_fields(
    typed: Mapping[str, str],
    *,
    actor: Actor,
    ai_offered: bool,
    errors: Mapping[str, list[str]] | None = None,
) -> list[FilterField]:
    """The selects of the form; those about answers only where answers are told, and those about
    one's own work only where one may have any."""
    mine = dict(MINE)
    if not actor.can(Capability.READ_CASES):
        del mine[Mine.READING], mine[Mine.SIGNED]
    if not actor.can(Capability.SUBMIT):
        mine.pop(Mine.SUBMITTED)
    orders = {order: words for order, words in ORDERS.items() if order is not Order.SCORE}
    told: list[tuple[str, str, Mapping[Any, str], str]] = [
        ("state", "State", {state: WORK_WORDS[state] for state in _STATES}, "All"),
        ("answer", "Answer", ANSWERS if ai_offered else {}, "All"),
        ("priority", "Priority", PRIORITIES, "All"),
        ("reading", "Reading", READINGS, "All"),
        ("mine", "Mine", mine, "Everybody's"),
        ("period", "Received", PERIODS, "At any time"),
        ("order", "Order", ORDERS if ai_offered else orders, ""),
    ]
    return [
        FilterField(
            name=name,
            label=label,
            choices=tuple((str(value), words) for value, words in choices.items()),
            value=typed.get(name, ""),
            nothing=nothing,
            errors=tuple((errors or {}).get(name, ())),
        )
        for name, label, choices, nothing in told
        if choices
    ]


def filter_words(filters: WorklistFilters) -> list[str]:
    """What the list is narrowed to, a phrase each."""
    words: list[str] = []
    if filters.state is not None:
        words.append(f"State: {WORK_WORDS[filters.state].lower()}")
    if filters.answer is not None:
        words.append(f"Answer: {ANSWERS[filters.answer].lower()}")
    if filters.priority is not None:
        words.append(f"Priority: {PRIORITIES[filters.priority].lower()}")
    if filters.reading is not None:
        words.append(f"Reading: {READINGS[filters.reading].lower()}")
    if filters.mine is not None:
        words.append(MINE[filters.mine])
    if filters.period is not None:
        words.append(f"Received: {PERIODS[filters.period].lower()}")
    if filters.since is not None:
        words.append(f"Received from {_day(filters.since)}")
    if filters.until is not None:
        words.append(f"Received until {_day(filters.until)}")
    if filters.order is not Order.WORKLIST:
        words.append(ORDERS[filters.order])
    return words


def _day(day: date) -> str:
    return f"{day.day} {day:%b %Y}"


def query_of(filters: WorklistFilters, **more: str) -> str:
    """The query of an address that shows this list; never what was searched for."""
    return urlencode({**filters.as_words(), **{k: v for k, v in more.items() if v}})
