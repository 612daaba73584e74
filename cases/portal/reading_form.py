"""The fields of a reading's form: the words of the lexicon in groups that fold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext
from django.utils.translation import gettext_noop as _

from cases.lexicon import (
    COMPOSITION,
    SEVERAL,
    SINGLE,
    SIZES,
    Descriptors,
    Margin,
    descriptors_of,
)
from cases.models import Reading
from cases.reports.lexicon import LEGENDS, NOT_CIRCUMSCRIBED, WORDS
from cases.words import within

Typed = Mapping[str, Any]
Errors = Mapping[str, Sequence[str]]

# Title, fields; the first two are open from the start, since most findings have them.
OF_A_FINDING: tuple[tuple[str, tuple[str, ...]], ...] = (
    (_("Mass"), ("shape", "orientation", "margin", "echo_pattern", "posterior_features")),
    (_("Size"), SIZES),
    (_("Calcifications"), ("calcifications",)),
    (_("Associated features"), ("associated_features", "vascularity", "elasticity")),
    (_("Special case"), ("special_case",)),
)
OF_THE_CASE = ((_("Breast"), (COMPOSITION,)),)
OPEN_FROM_THE_START = (_("Mass"), _("Size"))
NOT_SAID = _("Not stated")


@dataclass(frozen=True)
class Option:
    value: str
    words: str
    chosen: bool


@dataclass(frozen=True)
class LexiconField:
    """One question. ``kind``: "one" (radio buttons), "some" (boxes) or "size" (a number)."""

    name: str
    legend: str
    kind: str
    options: tuple[Option, ...]
    value: str
    errors: Sequence[str]

    @property
    def said(self) -> str:
        """What is chosen, in words; "" for nothing."""
        if self.kind == "size":
            return f"{self.value} mm" if self.value else ""
        chosen = [option.words for option in self.options if option.chosen and option.value]
        return ", ".join(chosen)


@dataclass(frozen=True)
class LexiconGroup:
    """Questions that fold together. ``said`` stands beside the title, also when folded."""

    key: str
    title: str
    opens: bool
    fields: tuple[LexiconField, ...]

    @property
    def said(self) -> str:
        return "; ".join(field.said for field in self.fields if field.said)

    @property
    def is_open(self) -> bool:
        with_errors = any(field.errors for field in self.fields)
        return bool(self.said) or with_errors or self.opens

    @property
    def is_alone(self) -> bool:
        """One question under the same title needs no legend of its own to be seen."""
        return len(self.fields) == 1 and self.fields[0].legend == self.title

    @property
    def are_sizes(self) -> bool:
        return self.fields[0].kind == "size"


def lexicon_groups(*, of_finding: bool, values: Typed, errors: Errors) -> tuple[LexiconGroup, ...]:
    """The groups of a form with what is chosen in it."""
    plan = OF_A_FINDING if of_finding else OF_THE_CASE
    return tuple(
        LexiconGroup(
            key=title.lower().replace(" ", "-"),
            title=gettext(title),
            opens=title in OPEN_FROM_THE_START,
            fields=tuple(_field(name, values.get(name), errors.get(name, ())) for name in names),
        )
        for title, names in plan
    )


def lexicon_values(reading: Reading) -> dict[str, Any]:
    """What a draft holds, as the fields of its form."""
    descriptors: Descriptors = descriptors_of(reading)
    values: dict[str, Any] = {}
    for name, value in descriptors.columns().items():
        is_size = name in SIZES and value is not None
        values[name] = f"{value.normalize():f}" if is_size else value or ""
    return values


def _field(name: str, value: Any, errors: Sequence[str]) -> LexiconField:
    if name in SIZES:
        return LexiconField(name, LEGENDS[name], "size", (), str(value or ""), errors)
    several = name in SEVERAL
    chosen = set(value or ()) if several and not isinstance(value, str) else {value or ""}
    options = [
        Option(word.value, _option_words(name, word.value, words), word.value in chosen)
        for word, words in WORDS[name].items()
    ]
    if not several:
        assert name in SINGLE or name == COMPOSITION
        # So that a choice can be taken back; nothing is chosen for anybody.
        options.insert(0, Option("", gettext(NOT_SAID), not any(o.chosen for o in options)))
    kind = "some" if several else "one"
    return LexiconField(name, LEGENDS[name], kind, tuple(options), "", errors)


def _option_words(name: str, value: str, words: str) -> str:
    if name == "margin" and value != Margin.CIRCUMSCRIBED:
        return gettext(NOT_CIRCUMSCRIBED) + within(words)
    return words


def typed_fields(post: Any) -> dict[str, Any]:
    """A form as it was sent (a ``QueryDict``): a list under the names that take several words."""
    return {**post.dict(), **{name: post.getlist(name) for name in SEVERAL}}
