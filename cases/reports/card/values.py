"""Reading cards that may hold anything, and writing numbers as people read them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from django.utils.dateparse import parse_datetime
from django.utils.formats import date_format, get_format
from django.utils.timezone import is_naive, localtime
from django.utils.translation import gettext

from cases.reports.card.standard import KEY_WORDS, sentence_shown
from cases.words import local

Fields = Mapping[str, Any]

# An interval narrower than this deserves a third digit.
_NARROW = 0.02
# Two digits would leave one to a figure below.
_SMALL = 0.1
_MOST_DIGITS = 4
# Keys whose numbers are counts: people read them with their thousands set apart.
_COUNTED = frozenset({"bytes", "groups", "images", "n", "patients", "refused", "seconds"})
# Public data sets by the names their makers gave them.
_SOURCES = {"busbra": "BUS-BRA", "busi": "BUSI"}
# No count on a card comes near it; a whole number beyond any float cannot be reckoned with.
_MOST = 10**15


def mapping(value: object) -> Fields:
    return value if isinstance(value, Mapping) else {}


def sequence(value: object) -> Sequence[Any]:
    return value if isinstance(value, Sequence) and not isinstance(value, str) else ()


def text(value: object) -> str:
    said = value.strip() if isinstance(value, str) else ""
    return sentence_shown(said, source) if said else ""


def texts(value: object) -> tuple[str, ...]:
    """A sentence or a list of them."""
    one = text(value)
    return (one,) if one else tuple(t for item in sequence(value) if (t := text(item)))


def number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, int) and abs(value) > _MOST:
        return None
    return float(value) if math.isfinite(value) else None


def count(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > _MOST:
        return None
    return value


def thousands(n: int) -> str:
    """A count with its thousands set apart as the reader's language does."""
    return f"{n:,}".replace(",", str(get_format("THOUSAND_SEPARATOR")))


def counted(value: object) -> str:
    """A count with its thousands set apart; empty where there is none."""
    n = count(value)
    return "" if n is None else thousands(n)


def interval(value: object) -> tuple[float, float] | None:
    bounds = [number(v) for v in sequence(value)]
    if len(bounds) != 2 or bounds[0] is None or bounds[1] is None:
        return None
    return bounds[0], bounds[1]


def figure(
    value: object, bounds: object = None, *, sign: bool = False, digits: int | None = None
) -> str:
    """A figure with its interval: "0.95 (0.93–0.97)"; a dash where there is none.

    Without ``digits`` two: three where the interval, or of a figure without one the figure
    itself, is small. More where fewer would say 1.00 or 0.00 of what is neither.
    """
    known, pair = number(value), interval(bounds)
    if known is None:
        return "–"
    if digits is None:
        digits = 3 if _is_small(known, pair) else 2
    while digits < _MOST_DIGITS and _says_too_much(known, digits):
        digits += 1
    shown = _signed(known, digits, plus=sign)
    if pair is None:
        return shown
    low, high = (_signed(bound, digits) for bound in pair)
    if pair[0] >= 0:
        return f"{shown} ({low}–{high})"
    return f"{shown} ({gettext('%(low)s to %(high)s') % {'low': low, 'high': high}})"


def _is_small(value: float, pair: tuple[float, float] | None) -> bool:
    if pair is None:
        return 0 < abs(value) < _SMALL
    return 0 < pair[1] - pair[0] < _NARROW


def _says_too_much(value: float, digits: int) -> bool:
    rounded = round(value, digits)
    return rounded in (0.0, 1.0, -1.0) and value != rounded


def _signed(value: float, digits: int, *, plus: bool = False) -> str:
    shown = f"{abs(value):.{digits}f}"
    is_zero = float(shown) == 0
    shown = local(shown)
    if value < 0 and not is_zero:
        return f"−{shown}"
    return f"+{shown}" if plus and value > 0 else shown


def percent(value: object) -> str:
    """A share in per cent: "2.1 %", never broken before the sign; a dash where there is none."""
    known = number(value)
    return "–" if known is None else local(f"{100 * known:.1f}\u00a0%")


def round_percent(value: object) -> str:
    """A share that somebody set: "95 %"; empty where there is none."""
    known = number(value)
    return "" if known is None else local(f"{100 * known:.3g}\u00a0%")


def words(key: object) -> str:
    """A key as people read it: "grouping_rule" says "grouping rule"."""
    return str(key).replace("_", " ").strip()


def title(key: object) -> str:
    shown = words(key)
    # What the portal knows a word for (`standard.KEYS`); else the key as it is.
    begun = shown[:1].upper() + shown[1:]
    return gettext(KEY_WORDS.get(begun, begun)) if begun else ""


def scalar(value: object) -> str:
    """Anything that is not nested, in words."""
    if value is None or value in ((), [], ""):
        return gettext("none")
    if isinstance(value, bool):
        return gettext("yes") if value else gettext("no")
    if isinstance(value, str):
        return _moment(value)
    return local(f"{value:.4g}") if isinstance(value, float) else str(value)


def _moment(value: str) -> str:
    """A point in time as people read it; any other string as it is."""
    try:
        at = parse_datetime(value)
        return value if at is None or is_naive(at) else date_format(localtime(at), "j M Y, H:i T")
    except (ValueError, OverflowError):
        return value


def under(key: object, value: object) -> str:
    """A scalar as it is written beside ``key``: counts with their thousands set apart."""
    return (counted(value) if str(key) in _COUNTED else "") or scalar(value)


def source(key: object) -> str:
    """A source of pictures, or what comes of one: "busbra/benign" says "BUS-BRA, benign"."""
    parts = str(key).split("/")
    named = (_SOURCES.get(part) or words(part) for part in parts)
    return ", ".join(gettext(name) for name in named if name)


def device(key: object) -> str:
    """A device as its maker's name and probe read: "@10-12MHz" says "@10–12 MHz"."""
    return re.sub(r"(\d+)-(\d+)\s?MHz", "\\1–\u2060\\2\u00a0MHz", title(key))
