"""Two cards side by side: the figures that both state, as each was measured."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils.translation import gettext

from cases.reports.card.blocks import Block, bounds_of, sentences, table
from cases.reports.card.counts import counts_text
from cases.reports.card.figures import confusion, evaluations
from cases.reports.card.metric_names import METRICS, metric_name
from cases.reports.card.strata import strata
from cases.reports.card.values import Fields, figure, mapping, number, sequence

NamedCard = tuple[str, Fields]


@dataclass(frozen=True)
class CardsCompared:
    """What a page shows of two cards. ``lacking``: the models whose cards state no figures."""

    figures: tuple[Block, ...]
    confusions: tuple[Block, ...]
    sources: tuple[tuple[str, tuple[Block, ...]], ...]
    lacking: tuple[str, ...]


def cards_compared(*cards: NamedCard) -> CardsCompared:
    """The first evaluation of each card, the one that lists show, beside that of the other."""
    measured = [(name, *_first(card)) for name, card in cards]
    known = [(name, title, fields) for name, title, fields in measured if fields]
    return CardsCompared(
        figures=_figures(known),
        confusions=tuple(block for one in known for block in _confusion(*one)),
        sources=tuple(
            (name, blocks)
            for name, _, fields in known
            if (blocks := strata(fields, "per_source", gettext("By source")))
        ),
        lacking=tuple(name for name, _, fields in measured if not fields),
    )


def _first(card: Fields) -> tuple[str, Fields]:
    found = evaluations(card)
    return found[0] if found else ("", {})


def _figures(known: list[tuple[str, str, Fields]]) -> tuple[Block, ...]:
    rows = [
        (
            metric_name(key, label),
            *(figure(fields.get(key), bounds_of(fields, key)) for _, _, fields in known),
        )
        for key, label, _ in METRICS
        if any(number(fields.get(key)) is not None for _, _, fields in known)
    ]
    # xgettext:no-python-format
    columns = (gettext("Figure (95 % interval)"), *(name for name, _, _ in known))
    return (
        *table(gettext("Figures, each from its own card"), columns, rows),
        *sentences(
            gettext("%(name)s was measured on: %(title)s. %(counts)s")
            % {"name": name, "title": title, "counts": counts_text(fields)}
            for name, title, fields in known
        ),
    )


def _confusion(name: str, _: str, fields: Fields) -> tuple[Block, ...]:
    classes = tuple(str(c) for c in sequence(fields.get("classes")))
    at_point = mapping(fields.get("at_operating_point")).get("confusion")
    told = {"name": name}
    return confusion(
        gettext("%(name)s, at the operating point") % told, at_point, classes
    ) or confusion(
        gettext("%(name)s, answering the largest score") % told, fields.get("confusion"), classes
    )
