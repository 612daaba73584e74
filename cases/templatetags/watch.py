"""Filters of the page of what is watched."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django import template
from django.utils.html import format_html
from django.utils.translation import gettext, gettext_noop

from cases.measures import Share
from cases.reports.card.values import thousands
from cases.watching import NO_DEVICE, Mix
from cases.words import local

register = template.Library()


@register.filter
def share_words(share: Share) -> str:
    """ "34 % (28–41) 12 of 35", or only the counts where they are too few for a figure."""
    if share.value is None or share.low is None or share.high is None:
        if not share.n:
            return gettext("none")
        return _count_words(share)
    return format_html(
        '<span class="share">{} % ({}–{})</span> <span class="share-of">{}</span>',
        _digits(share.value),
        _digits(share.low),
        _digits(share.high),
        _count_words(share),
    )


def _count_words(share: Share) -> str:
    told = {"count": thousands(share.count), "n": thousands(share.n)}
    return gettext("%(count)s of %(n)s") % told


def _digits(share: float) -> str:
    percent = 100 * share
    # Near the ends of the scale a rounded figure would claim 0 % or 100 %.
    return local(f"{percent:.1f}") if 0 < percent < 10 or 90 < percent < 100 else f"{percent:.0f}"


@register.filter
def limit_figure(value: float) -> str:
    """A limit with the digits it was set with: "0.25"."""
    return local(f"{value:.3g}")


@register.filter
def label_share(mix: Mix, label: str) -> str:
    """The share of images that got the answer ``label``."""
    return share_words(mix.share(mix.answered.get(label, 0)))


# A device is called by its own name; these two are words of ours.
_DEVICES = {"all": gettext_noop("all"), NO_DEVICE: gettext_noop("not stated")}


@register.filter
def device_words(name: str) -> str:
    return gettext(_DEVICES[name]) if name in _DEVICES else name


@register.filter
def entry(values: Mapping[str, Any], key: str) -> Any:
    """What stands under ``key``; the key itself where nothing does."""
    return values.get(key, key)
