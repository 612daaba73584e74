"""Template words and marks of the portal: icons, scores, bars, names."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django import template
from django.utils.formats import date_format
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext
from django.utils.translation import gettext_noop as _

from cases.counted import counted
from cases.models import Case, Finding, Image, Result
from cases.portal import wording
from cases.portal.script_words import script_words_url
from cases.reports.card import values
from cases.told import told
from cases.vocabulary import Indication, Laterality, Sex
from cases.words import Words, local, within

register = template.Library()

# Longer words in brackets are no interval.
_LONGEST_INTERVAL = 24
_NUMBER_AND_WORD = re.compile(r"(?<=\d) (?=[\w%])")

# Drawn on 16 x 16 with a stroke of 1.5; the colour is that of the text beside them.
_ICONS: dict[str, str] = {
    "list": '<path d="M2.5 4h11M2.5 8h11M2.5 12h7"/>',
    "upload": '<path d="M8 10.5V2.5M4.8 5.7 8 2.5l3.2 3.2M2.5 10.5v3h11v-3"/>',
    "model": (
        '<circle cx="3.5" cy="4" r="1.5"/><circle cx="3.5" cy="12" r="1.5"/>'
        '<circle cx="12.5" cy="8" r="1.5"/><path d="M5 4.7 11 7.3M5 11.3 11 8.7"/>'
    ),
    "audit": '<path d="M4 1.8h5.5L12.5 5v9.2H4zM9.3 1.8V5h3.2M6.2 8.2h4M6.2 11h4"/>',
    "hook": '<circle cx="3.7" cy="8" r="1.7"/><path d="M5.4 8h7.8M10.2 5l3 3-3 3"/>',
    "key": '<circle cx="5" cy="11" r="2.7"/><path d="m7 9 6.2-6.2M11 5l2 2M9 7l1.4 1.4"/>',
    "people": (
        '<circle cx="6" cy="5.2" r="2.4"/><path d="M1.8 13.2c.3-3 2-4.4 4.2-4.4s3.9 1.4 4.2 4.4"/>'
        '<path d="M10.3 3.1a2.3 2.3 0 0 1 0 4.2M11.6 9.1c1.6.5 2.5 1.9 2.7 4.1"/>'
    ),
    "pulse": '<path d="M1.8 8.4h2.9l1.8-5 3 9.2 1.8-4.2h2.9"/>',
    "clock": '<circle cx="8" cy="8" r="5.8"/><path d="M8 4.8V8l2.2 1.6"/>',
    "scan": (
        '<path d="M2.5 5.2V2.5h2.7M10.8 2.5h2.7v2.7M13.5 10.8v2.7h-2.7M5.2 13.5H2.5v-2.7M4.5 8h7"/>'
    ),
    "caution": '<path d="M8 2.2 14.2 13.3H1.8zM8 6.4v3.2M8 11.4v.3"/>',
    "below": '<circle cx="8" cy="8" r="5.8"/><path d="M8 5v5.4M5.9 8.4 8 10.5l2.1-2.1"/>',
    "question": (
        '<circle cx="8" cy="8" r="5.8"/>'
        '<path d="M6.2 6.4c.2-2.2 3.6-2 3.5 0C9.6 7.8 8 7.7 8 9.2M8 11v.3"/>'
    ),
    "lock": '<path d="M3.5 7.2h9v6.3h-9zM5.3 7.2V5a2.7 2.7 0 0 1 5.4 0v2.2M8 9.8v1.3"/>',
    "slash": '<circle cx="8" cy="8" r="5.8"/><path d="m4 12 8-8"/>',
    "alert": ('<path d="M5.4 2.2h5.2L13.8 5.4v5.2l-3.2 3.2H5.4L2.2 10.6V5.4zM8 5v3.6M8 10.7v.3"/>'),
    "cross": '<circle cx="8" cy="8" r="5.8"/><path d="m5.9 5.9 4.2 4.2M10.1 5.9l-4.2 4.2"/>',
    "live": '<circle cx="8" cy="8" r="5.8"/><path d="m5.4 8.2 1.8 1.8 3.5-3.7"/>',
    "done": '<path d="m3 8.5 3.2 3.2L13 4.8"/>',
    "info": '<circle cx="8" cy="8" r="5.8"/><path d="M8 7.4v3.6M8 5v.3"/>',
    "next": '<path d="m6 3.5 4.5 4.5L6 12.5"/>',
    "previous": '<path d="M10 3.5 5.5 8l4.5 4.5"/>',
    "plus": '<path d="M8 3v10M3 8h10"/>',
    "minus": '<path d="M3 8h10"/>',
    "download": '<path d="M8 2.5v8M4.8 7.3 8 10.5l3.2-3.2M2.5 11v2.5h11V11"/>',
}


@register.simple_tag
def icon(name: str) -> SafeString:
    """A small drawing that always stands beside its word, so it is hidden from readers."""
    return format_html(
        '<svg class="icon" viewBox="0 0 16 16" width="16" height="16" fill="none" '
        'stroke="currentColor" stroke-width="1.5" stroke-linecap="round" stroke-linejoin="round" '
        'aria-hidden="true" focusable="false">{}</svg>',
        mark_safe(_ICONS[name]),  # noqa: S308 (our own drawings)
    )


@register.simple_tag
def icon_sheet(names: str) -> SafeString:
    """The drawings of these names once, for a page that repeats them: `icon_of` points there."""
    symbols = format_html_join(
        "",
        '<symbol id="icon-{}" viewBox="0 0 16 16" fill="none" stroke="currentColor" '
        'stroke-width="1.5" stroke-linecap="round" stroke-linejoin="round">{}</symbol>',
        ((name, mark_safe(_ICONS[name])) for name in names.split()),  # noqa: S308
    )
    return format_html('<svg hidden aria-hidden="true" focusable="false">{}</svg>', symbols)


@register.simple_tag
def icon_of(name: str) -> SafeString:
    """As `icon`, of the page's sheet: a third of a long list would be drawings."""
    return format_html('<svg class="icon" aria-hidden="true"><use href="#icon-{}"/></svg>', name)


# Beyond these scores and thresholds are the same to any reader.
_MOST_DIGITS = 9


@register.filter(name="threshold_text")
def threshold_words(threshold: float) -> str:
    """An operating point with two to four digits, the same wherever it stands."""
    return local(_threshold_text(threshold))


def _threshold_text(threshold: float) -> str:
    """More digits only where four would say zero or one."""
    exact = next((d for d in (2, 3, 4) if abs(round(threshold, d) - threshold) < 1e-9), 4)
    for digits in range(exact, _MOST_DIGITS):
        text = f"{threshold:.{digits}f}"
        if 0 < float(text) < 1:
            return text
    return f"{threshold:.{exact}f}"


def score_texts(value: float, threshold: float) -> tuple[str, str]:
    """As `_score_texts`, with the reader's decimal sign."""
    shown, mark = _score_texts(value, threshold)
    return local(shown), local(mark)


def _score_texts(value: float, threshold: float) -> tuple[str, str]:
    """A malignant score and its threshold, each with the digits that show which is larger.

    Never 0.00 or 1.00 for the score: no score says never or surely.
    """
    limit = _threshold_text(threshold)
    if value == threshold:
        return limit, limit
    # "< 0.01" and "> 0.99" say which is larger only where the threshold lies between.
    bounds_tell = 0.01 <= threshold <= 0.99
    exact = f"{threshold:.{_MOST_DIGITS}f}"
    for mark in (limit, exact):
        for digits in range(2, _MOST_DIGITS + 1):
            shown = f"{value:.{digits}f}"
            number = float(shown)
            tells = number > float(mark) if value > threshold else number < float(mark)
            if tells and (bounds_tell or 0 < number < 1):
                return _not_certain(shown, value), mark
    return _not_certain(f"{value:.{_MOST_DIGITS}f}", value), exact


def score_text(value: float) -> str:
    return local(_not_certain(f"{value:.2f}", value))


def _not_certain(text: str, value: float) -> str:
    if float(text) <= 0:
        return "< 0.01" if value < 0.01 else text
    return "> 0.99" if float(text) >= 1 else text


@register.filter
def score(value: float | None, threshold: float | None = None) -> str:
    if value is None:
        return ""
    return score_text(value) if threshold is None else score_texts(value, threshold)[0]


@register.filter
def threshold_of(result: Result) -> str:
    """The operating point of an answer, as it stands beside its score."""
    if result.score_malignant is None:
        return threshold_words(result.threshold)
    return score_texts(result.score_malignant, result.threshold)[1]


@dataclass(frozen=True)
class Bar:
    label: str
    key: str
    value: float
    text: str

    @property
    def width(self) -> str:
        return _percent_of_axis(self.value)


# Malignant first: it is the one the operating point is about.
_SCORE_LABELS = Words(
    {"malignant": _("Malignant"), "benign": _("Benign"), "normal": _("No lesion")}
)


def _percent_of_axis(value: float) -> str:
    return f"{100 * min(max(value, 0.0), 1.0):.1f}%"


def score_bars(result: Result) -> list[Bar]:
    """The scores of a result as bars, malignant first."""
    given = result.probabilities or {}
    malignant, _ = score_texts(given.get("malignant", 0.0), result.threshold)
    return [
        Bar(label, key, given[key], malignant if key == "malignant" else score_text(given[key]))
        for key, label in _SCORE_LABELS.items()
        if key in given
    ]


@register.inclusion_tag("cases/partials/scores.html")
def scores(result: Result) -> dict[str, Any]:
    """The three scores as numbers and bars on one axis, the operating point marked."""
    _, threshold = score_texts(result.score_malignant or 0.0, result.threshold)
    return {
        "bars": score_bars(result),
        "threshold": threshold,
        "threshold_at": _percent_of_axis(result.threshold),
        # Near an end of the axis the label is drawn inwards.
        "anchor": _anchor(result.threshold),
    }


def _anchor(position: float) -> str:
    if position < 0.2:
        return "start"
    return "end" if position > 0.8 else "middle"


@register.filter
def percent(value: float | None) -> str:
    """A share as people write it: "95 %", never broken before the sign."""
    return "" if value is None else local(f"{100 * value:.3g}\u00a0%")


@register.filter
def thousands(number: int) -> str:
    """A count with its thousands set apart: "20,000"."""
    return values.thousands(number)


@register.filter
def figure(value: float | None) -> str:
    """A metric with three digits after the point."""
    return "" if value is None else local(f"{value:.3f}")


@register.filter
def kept_together(cell: str) -> SafeString | str:
    """A cell of which the interval in brackets goes to the next line as a whole, if at all."""
    shown, _, bounds = cell.partition(" (")
    if not bounds.endswith(")") or len(bounds) > _LONGEST_INTERVAL:
        return cell
    return format_html('{} <span class="nowrap">({}</span>', shown, bounds)


@register.filter
def numbers_kept(words: str) -> str:
    """Words in which no number is parted from its unit, or from what it counts."""
    return _NUMBER_AND_WORD.sub("\u00a0", str(words))


@register.filter
def person_name(value: str) -> str:
    return wording.person_name(value)


@register.filter
def sex_words(value: str) -> str:
    return wording.SEX[Sex(value)] if value else ""


@register.filter
def indication_words(value: str) -> str:
    return wording.INDICATION[Indication(value)] if value else ""


@register.filter
def side_words(value: str) -> str:
    return wording.LATERALITY[Laterality(value)]


@register.filter
def place_of(finding: Finding) -> str:
    return wording.place_of(finding)


@register.filter
def spacing(image: Image) -> str:
    """Distance of pixels where the device calibrated it."""
    if image.spacing_row_mm is None or image.spacing_col_mm is None:
        return ""
    down = local(f"{image.spacing_row_mm:.3g}")
    if abs(image.spacing_row_mm - image.spacing_col_mm) < 1e-6:
        return gettext("{distance} mm per pixel").format(distance=down)
    across = local(f"{image.spacing_col_mm:.3g}")
    words = gettext("{down} mm down, {across} mm across, per pixel")
    return words.format(down=down, across=across)


@register.filter(expects_localtime=True)
def moment(value: datetime | None, form: str = "j M Y, H:i T") -> SafeString | str:
    """A moment in the portal's zone, for people and for programs; "" for none.

    ``form`` is what it looks like in English, as after ``date``: a language that writes it
    otherwise says so in its formats. A day is not parted at the end of a line.
    """
    if value is None:
        return ""
    iso, (day, comma, time) = value.isoformat(), date_format(value, form).partition(",")
    words = day.replace(" ", "\N{NO-BREAK SPACE}") + comma + time
    return format_html('<time datetime="{}">{}</time>', iso, words)


@register.filter(name="counted")
def counted_words(number: int, thing: str) -> str:
    return counted(number, thing)


@register.filter(name="told")
def told_words(words: Any) -> Any:
    """What a service said, or a list of it, in the language of the page."""
    return told(list(words) if isinstance(words, tuple) else words)


@register.simple_tag
def words_script() -> str:
    return script_words_url()


@register.filter
def lcfirst(words: str) -> str:
    return within(words)


@register.filter
def plus(value: int, more: int) -> int:
    return value + more


@register.filter
def case_name(case: Case) -> str:
    """What a page calls a case: its accession number, or else the first digits of its id."""
    return case.accession_number or short(case.pk)


@register.filter
def short(value: object) -> str:
    """The first digits of an id or hash; the whole goes into a title beside it."""
    return str(value)[:8]
