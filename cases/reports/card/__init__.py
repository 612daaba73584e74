"""A model card (JSON) as a page: what is known gets words and order, what is not is still shown.

Every key is optional: cards of models trained elsewhere, or later, must render too. Beside what
``ml.registry`` needs, these entries have a place of their own:

``intended_use``  a sentence or a list of them.
``limits``        sentences. ``known_gaps``: groups and pictures the model was not tested on.
``data``          ``{name: {"title", "citation", "licence", "images", "patients", "groups",
                  "counts": {class: n}, "use"}}``; ``use`` says what the set served for.
``evaluation``    ``{name: {"title", "command", "about", "order", **the JSON of ml.evaluate or
                  ml.crossval}}``; ``order`` sorts them, the first is the one shown in lists.
``metrics``       of earlier cards: the same by part, ``held_out`` and ``validation``.
``comparators``   anything; tables where lists or mappings of figures allow it.
``heatmap``       the JSON of ``ml.explain``, or ``{name: that, …}`` with ``title``, ``command``.
``shortcuts``     the JSON of ``ml.shortcuts``, or ``{name: that, …}`` likewise.
``refusal``, ``abstention``, ``calibration``
                  sentences, figures with ``ci95``, lists of flat rows.
``training``      as ``ml.cards.training_facts`` writes it.
"""

from __future__ import annotations

from dataclasses import dataclass

from django.utils.translation import gettext, ngettext

from cases.reports.card.blocks import Entry, Section, bounds_of, entry
from cases.reports.card.figures import evaluations, trained_sources
from cases.reports.card.metric_names import METRICS, metric_name
from cases.reports.card.sections import sections
from cases.reports.card.values import (
    Fields,
    count,
    figure,
    mapping,
    number,
    source,
    text,
    thousands,
)

# Figures of a model in a list.
_HEADLINES = 4


def measured_on(title: str, images: int | None) -> str:
    """ "151 images: Held-out part"; what nobody must know, what "out of fold" means, in words."""
    name = title or gettext("not stated")
    if images is None:
        return name
    told = {"n": thousands(images), "name": name}
    if name == gettext("Out of fold"):
        words = ngettext(
            "%(n)s image, scored by a model that was not trained on it",
            "%(n)s images, each scored by a model that was not trained on it",
            images,
        )
    else:
        words = ngettext("%(n)s image: %(name)s", "%(n)s images: %(name)s", images)
    return words % told


@dataclass(frozen=True)
class Headline:
    """The first evaluation in short: each figure as (label, "0.95 (0.93–0.97)")."""

    title: str
    n: int | None
    figures: tuple[tuple[str, str], ...]

    @property
    def measured_on(self) -> str:
        """ "151 images: Held-out part"."""
        return measured_on(self.title, self.n)


@dataclass(frozen=True)
class CardView:
    """What the pages show of a card."""

    threshold: float | None
    target_sensitivity: float | None
    data_name: str
    data_images: int | None
    headline: Headline | None
    sections: tuple[Section, ...]
    everything: tuple[Entry, ...]


def card_view(card: Fields) -> CardView:
    point = mapping(card.get("operating_point"))
    data = mapping(mapping(card.get("training")).get("data"))
    return CardView(
        threshold=number(point.get("threshold")),
        target_sensitivity=number(point.get("sensitivity")),
        data_name=trained_sources(card) or source(text(data.get("name"))),
        data_images=count(data.get("images")),
        headline=_headline(card),
        sections=sections(card),
        everything=tuple(entry(str(key), value) for key, value in sorted(card.items())),
    )


def _headline(card: Fields) -> Headline | None:
    found = evaluations(card)
    if not found:
        return None
    name, fields = found[0]
    shown = [
        (metric_name(key, label), figure(fields[key], bounds_of(fields, key)))
        for key, label, _ in METRICS
        if number(fields.get(key)) is not None
    ]
    return Headline(name, count(fields.get("n")), tuple(shown[:_HEADLINES]))
