"""Images per hour as a drawing. Pure functions: numbers in, SVG text out; no styles inside."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from django.utils.translation import gettext, ngettext

from cases.reports.card.values import thousands

WIDTH, HEIGHT = 640, 222
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 632, 32, 176


@dataclass(frozen=True)
class HourBar:
    """One hour: its name on the axis, how many images were answered, how many failed."""

    label: str
    done: int
    failed: int


def hours_title(bars: Sequence[HourBar]) -> str:
    """What the bars show, in a sentence."""
    done, failed = sum(bar.done for bar in bars), sum(bar.failed for bar in bars)
    if not done and not failed:
        return gettext("No image was read in these hours")
    best = max(bars, key=lambda bar: bar.done + bar.failed)
    words = ngettext(
        "%(done)s image read, %(failed)s failed; most from %(hour)s on (%(most)s)",
        "%(done)s images read, %(failed)s failed; most from %(hour)s on (%(most)s)",
        done,
    )
    return words % {
        "done": thousands(done),
        "failed": thousands(failed),
        "hour": best.label,
        "most": thousands(best.done + best.failed),
    }


def hours_svg(bars: Sequence[HourBar]) -> str:
    """A bar for each hour, what failed on top of it; "" where nothing ended.

    The two parts differ by place, by a gap and by a cap, not by colour alone.
    """
    most = max((bar.done + bar.failed for bar in bars), default=0)
    if not most:
        return ""
    step = _nice(most / 3)
    top = step * math.ceil(most / step)
    # What the numbers count stands over them.
    parts = [
        f'<text class="hours-text" x="{_LEFT - 8}" y="{_TOP - 18}" text-anchor="end" '
        f'fill="#535d67">{escape(gettext("images"))}</text>'
    ]
    parts += [_grid(value, top) for value in range(0, top + 1, step)]
    width = (_RIGHT - _LEFT) / len(bars)
    for number, bar in enumerate(bars):
        x = _LEFT + number * width
        parts += _bar(x, width, bar, top)
        # Every fourth, back from the last: the gaps are even.
        if (len(bars) - 1 - number) % 4 == 0:
            parts.append(
                f'<text class="hours-text" x="{x + width / 2:.1f}" y="{_BOTTOM + 20}" '
                f'text-anchor="middle" fill="#535d67">{escape(bar.label)}</text>'
            )
    middle, axis = (_LEFT + _RIGHT) / 2, gettext("hour that begins at")
    parts.append(
        f'<text class="hours-text" x="{middle:.0f}" y="{_BOTTOM + 38}" text-anchor="middle" '
        f'fill="#535d67">{escape(axis)}</text>'
    )
    return (
        f'<svg class="hours" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(hours_title(bars))}" font-size="12" '
        f'fill="none">{"".join(parts)}</svg>'
    )


def _bar(x: float, width: float, bar: HourBar, top: int) -> list[str]:
    inner, parts = max(width - 4, 2), []
    foot = _y(bar.done, top)
    if bar.done:
        parts.append(_rect("bar", x + 2, foot, inner, _BOTTOM - foot, "#6d8196"))
    if bar.failed:
        head = _y(bar.done + bar.failed, top)
        parts.append(_rect("failed", x + 2, head, inner, max(foot - head - 2, 2), "#98201c"))
        parts.append(
            f'<text class="hours-text" x="{x + width / 2:.1f}" y="{head - 4:.1f}" '
            f'text-anchor="middle" fill="#535d67">{thousands(bar.failed)}×</text>'
        )
    return parts


def _rect(name: str, x: float, y: float, width: float, height: float, colour: str) -> str:
    return (
        f'<rect class="hours-{name}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" '
        f'height="{height:.1f}" fill="{colour}"/>'
    )


def _grid(value: int, top: int) -> str:
    y = _y(value, top)
    return (
        f'<path class="hours-grid" d="M{_LEFT} {y:.1f}H{_RIGHT}" stroke="#77828d" opacity="0.4"/>'
        f'<text class="hours-text" x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end" '
        f'fill="#535d67">{thousands(value)}</text>'
    )


def _y(value: int, top: int) -> float:
    return _BOTTOM - (_BOTTOM - _TOP) * value / top


def _nice(step: float) -> int:
    """The next of 1, 2 and 5 times a power of ten."""
    power = 1
    while True:
        for n in (1, 2, 5):
            if power * n >= step:
                return power * n
        power *= 10
