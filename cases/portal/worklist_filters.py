"""The worklist's filters as a form and as words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any
from urllib.parse import urlencode

from django.utils.formats import date_format
from django.utils.translation import gettext
from django.utils.translation import gettext_noop as _

from cases.access import Actor, Capability
from cases.portal.wording import PRIORITY
from cases.portal.worklist import WORK_WORDS
from cases.words import Words, within
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
ANSWERS = Words(
    {
        WorkAnswer.ABOVE: _("Above the threshold"),
        WorkAnswer.BELOW: _("Below the threshold"),
        WorkAnswer.NO_LESION: _("No lesion pattern"),
        WorkAnswer.ABSTAINED: _("No answer: too uncertain"),
        WorkAnswer.REFUSED: _("No answer: refused"),
        WorkAnswer.WITHDRAWN: _("Withdrawn"),
        WorkAnswer.NONE: _("None yet"),
    }
)
READINGS = Words(
    {
        ReadingState.UNREAD: _("Not signed"),
        ReadingState.DRAFTED: _("Being read"),
        ReadingState.SIGNED: _("Signed"),
    }
)
MINE = Words(
    {
        Mine.READING: _("I am reading"),
        Mine.SIGNED: _("I signed"),
        Mine.SUBMITTED: _("I submitted"),
    }
)
PERIODS = Words(
    {
        Period.TODAY: _("Today"),
        Period.WEEK: _("Last 7 days"),
        Period.MONTH: _("Last 30 days"),
    }
)
ORDERS = Words(
    {
        Order.WORKLIST: _("Unread and urgent first"),
        Order.NEWEST: _("Newest first"),
        Order.SCORE: _("Highest score first"),
    }
)
FIELDS = ("state", "answer", "priority", "reading", "mine", "period", "since", "until", "order")


@dataclass(frozen=True)
class FilterField:
    """One select of the form: its name, label, choices, what is chosen and what is wrong."""

    name: str
    label: str
    choices: tuple[tuple[str, str], ...]
    value: str
    nothing: str = gettext("All")
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
        (
            "state",
            gettext("State"),
            {state: WORK_WORDS[state] for state in _STATES},
            gettext("All"),
        ),
        ("answer", gettext("Answer"), ANSWERS if ai_offered else {}, gettext("All")),
        ("priority", gettext("Priority"), PRIORITY, gettext("All")),
        ("reading", gettext("Reading"), READINGS, gettext("All")),
        ("mine", gettext("Mine"), mine, gettext("Everybody's")),
        ("period", gettext("Received"), PERIODS, gettext("At any time")),
        ("order", gettext("Order"), ORDERS if ai_offered else orders, ""),
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
        words.append(gettext("State: {words}").format(words=within(WORK_WORDS[filters.state])))
    if filters.answer is not None:
        words.append(gettext("Answer: {words}").format(words=within(ANSWERS[filters.answer])))
    if filters.priority is not None:
        words.append(gettext("Priority: {words}").format(words=within(PRIORITY[filters.priority])))
    if filters.reading is not None:
        words.append(gettext("Reading: {words}").format(words=within(READINGS[filters.reading])))
    if filters.mine is not None:
        words.append(MINE[filters.mine])
    if filters.period is not None:
        words.append(gettext("Received: {words}").format(words=within(PERIODS[filters.period])))
    if filters.since is not None:
        words.append(gettext("Received from {day}").format(day=_day(filters.since)))
    if filters.until is not None:
        words.append(gettext("Received until {day}").format(day=_day(filters.until)))
    if filters.order is not Order.WORKLIST:
        words.append(ORDERS[filters.order])
    return words


def _day(day: date) -> str:
    return date_format(day, "j M Y")


def query_of(filters: WorklistFilters, **more: str) -> str:
    """The query of an address that shows this list; never what was searched for."""
    return urlencode({**filters.as_words(), **{k: v for k, v in more.items() if v}})
