"""What was said of an image, in the words of the page's language."""

from __future__ import annotations

from django import template
from django.utils.translation import gettext, gettext_noop

from cases.access import SYSTEM
from cases.told import told

register = template.Library()

_SAID: dict[str, str] = {
    "benign": gettext_noop("Benign"),
    "malignant": gettext_noop("Malignant"),
    "normal": gettext_noop("Normal"),
    "abstained": gettext_noop("Abstained"),
    "refused": gettext_noop("Refused"),
}
_INSIDE: dict[str, str] = {
    "benign": gettext_noop("benign"),
    "malignant": gettext_noop("malignant"),
    "normal": gettext_noop("normal"),
    "abstained": gettext_noop("abstained"),
    "refused": gettext_noop("refused"),
    # What became of a candidate.
    "PENDING": gettext_noop("pending"),
    "ACCEPTED": gettext_noop("accepted"),
    "REJECTED": gettext_noop("rejected"),
    "LAPSED": gettext_noop("lapsed"),
}


# Why the service itself moved a model, as its life keeps it (`services.learning`).
_REASONS: dict[str, str] = {
    "ships with the project": gettext_noop("came with the service"),
    "newer shipped model": gettext_noop("a newer model came with the service"),
}


@register.filter
def reason_said(words: str) -> str:
    """The reason of an act: that of the service in plain words, a person's as it was typed."""
    return gettext(_REASONS[words]) if words in _REASONS else words


@register.filter
def who_said(name: str) -> str:
    """Who moved a model or a switch: a user name, or the service itself."""
    return gettext("the service") if name == SYSTEM.label else name


@register.filter
def said(value: str) -> str:
    """A label, or the outcome where no label was shown, as it begins a line or fills a cell."""
    return gettext(_SAID[value]) if value in _SAID else f"{value[:1].upper()}{value[1:]}"


@register.filter
def said_inside(value: str) -> str:
    """The same within a sentence."""
    return gettext(_INSIDE[value]) if value in _INSIDE else value


@register.filter
def sentence(words: str) -> str:
    """What a service or worker wrote, where the page's language has it; else as it stands."""
    return told(words)
