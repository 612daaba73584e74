"""The loss curves of a training as a drawing. Pure functions: numbers in, SVG text out.

No styles inside: classes for the page's stylesheet, presentation attributes for the file alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from django.utils.translation import gettext, ngettext

from cases.words import local

WIDTH, HEIGHT = 640, 280
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 540, 20, 236
MOST_TICKS = 8


@dataclass(frozen=True)
class CurvePoint:
    """One epoch's losses; None where one was not measured or is no number."""

    epoch: int
    train: float | None
    validation: float | None


def curve_title(points: Sequence[CurvePoint]) -> str:
    """What the curves show, in a sentence; "" without points."""
    if not points:
        return ""
    last = points[-1]
    measured = [p for p in points if p.validation is not None]
    after = ngettext("after %(n)d epoch", "after %(n)d epochs", last.epoch) % {"n": last.epoch}
    if not measured:
        told = gettext("not measured") if last.train is None else local(f"{last.train:.3f}")
        return gettext("Training loss %(loss)s %(after)s") % {"loss": told, "after": after}
    best = min(measured, key=lambda p: (p.validation, p.epoch))
    now = measured[-1]
    said = {"loss": local(f"{now.validation:.3f}"), "after": after}
    if best is now:
        return gettext("Validation loss %(loss)s %(after)s, the lowest so far") % said
    said |= {"best": local(f"{best.validation:.3f}"), "epoch": str(best.epoch)}
    return gettext("Validation loss %(loss)s %(after)s, lowest %(best)s at epoch %(epoch)s") % said


def loss_curve_svg(points: Sequence[CurvePoint], *, standalone: bool = False) -> str:
    """Training and validation loss over the epochs; "" without a single number to draw.

    Two lines that differ in mark and dash as well as in colour, named at their ends.
    ``standalone``: a file of its own, with its namespace.
    """
    values = [v for p in points for v in (p.train, p.validation) if v is not None]
    if not values:
        return ""
    scale = _Scale.over(points, values)
    parts = [_axes(scale)]
    for name, marks in (("train", "circle"), ("validation", "square")):
        line = [(p.epoch, v) for p in points if (v := getattr(p, name)) is not None]
        if line:
            parts.append(_line(scale, line, name, marks))
    parts.append(_labels(scale, points))
    title = escape(curve_title(points))
    if standalone:
        space = f'xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}"'
        about = escape(gettext("Loss over epochs."))
        told = f"<title>{title}</title><desc>{about}</desc>"
    else:
        # A page has one <title>, which is its own.
        space, told = f'aria-label="{title}"', ""
    # On a page its own type.
    font = 'font-family="sans-serif" ' if standalone else ""
    return (
        f'<svg {space} class="curve" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'{font}font-size="12" fill="none">{told}{"".join(parts)}</svg>'
    )


@dataclass(frozen=True)
class _Scale:
    first: int
    last: int
    top: float
    step: float

    @classmethod
    def over(cls, points: Sequence[CurvePoint], values: Sequence[float]) -> _Scale:
        step = _nice(max(max(values), 1e-6) / 4)
        top = step * math.ceil(max(values) / step + 1e-9)
        return cls(points[0].epoch, max(points[-1].epoch, points[0].epoch + 1), top, step)

    def x(self, epoch: int) -> float:
        return _LEFT + (_RIGHT - _LEFT) * (epoch - self.first) / (self.last - self.first)

    def y(self, value: float) -> float:
        return _BOTTOM - (_BOTTOM - _TOP) * min(max(value / self.top, 0.0), 1.0)


def _nice(step: float) -> float:
    """The next of 1, 2, 2.5 and 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(power * n for n in (1, 2, 2.5, 5, 10) if power * n >= step - 1e-12)


def _axes(scale: _Scale) -> str:
    grey = 'stroke="#77828d" stroke-width="1"'
    parts = []
    for number in range(round(scale.top / scale.step) + 1):
        value = number * scale.step
        y = scale.y(value)
        parts.append(
            f'<path class="curve-grid" d="M{_LEFT} {y:.1f}H{_RIGHT}" {grey} opacity="0.4"/>'
            f'<text class="curve-text" x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end" '
            f'fill="#535d67">{local(f"{value:.3g}")}</text>'
        )
    every = max(1, math.ceil((scale.last - scale.first + 1) / MOST_TICKS))
    for epoch in range(scale.first, scale.last + 1, every):
        parts.append(
            f'<text class="curve-text" x="{scale.x(epoch):.1f}" y="{_BOTTOM + 18}" '
            f'text-anchor="middle" fill="#535d67">{epoch}</text>'
        )
    # Not within the strings below: what collects the words to translate does not look in there.
    across, up = gettext("epoch"), gettext("log loss")
    middle = (_LEFT + _RIGHT) / 2
    parts.append(
        f'<text class="curve-text" x="{middle:.0f}" y="{_BOTTOM + 38}" text-anchor="middle" '
        f'fill="#535d67">{escape(across)}</text>'
        f'<text class="curve-text" x="14" y="{(_TOP + _BOTTOM) / 2:.0f}" text-anchor="middle" '
        f'transform="rotate(-90 14 {(_TOP + _BOTTOM) / 2:.0f})" fill="#535d67">'
        f"{escape(up)}</text>"
    )
    return "".join(parts)


_COLOURS = {"train": "#6d8196", "validation": "#1d5a92"}


def _line(scale: _Scale, line: Sequence[tuple[int, float]], name: str, marks: str) -> str:
    colour = _COLOURS[name]
    dash = ' stroke-dasharray="5 4"' if name == "train" else ""
    places = [(scale.x(epoch), scale.y(value)) for epoch, value in line]
    path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
    drawn = [f'<path class="curve-{name}" d="{path}" stroke="{colour}" stroke-width="2"{dash}/>']
    for x, y in places:
        drawn.append(
            f'<circle class="curve-{name}-mark" cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>'
            if marks == "circle"
            else f'<rect class="curve-{name}-mark" x="{x - 3:.1f}" y="{y - 3:.1f}" width="6" '
            f'height="6" fill="{colour}"/>'
        )
    return "".join(drawn)


def _labels(scale: _Scale, points: Sequence[CurvePoint]) -> str:
    """The lines' names at their ends, moved apart where they would touch."""
    ends: list[tuple[float, str, str]] = []
    for name, label in (("train", gettext("training")), ("validation", gettext("validation"))):
        told = [(p.epoch, v) for p in points if (v := getattr(p, name)) is not None]
        if told:
            ends.append((scale.y(told[-1][1]), name, label))
    ends.sort()
    if len(ends) == 2 and ends[1][0] - ends[0][0] < 16:
        middle = (ends[0][0] + ends[1][0]) / 2
        ends = [(middle - 8, *ends[0][1:]), (middle + 8, *ends[1][1:])]
    x = scale.x(points[-1].epoch) + 10
    return "".join(
        f'<text class="curve-{name}-name" x="{x:.1f}" y="{y + 4:.1f}" fill="{_COLOURS[name]}">'
        f"{escape(label)}</text>"
        for y, name, label in ends
    )
