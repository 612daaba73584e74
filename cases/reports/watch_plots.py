"""What is watched, as drawings. Pure functions: numbers in, SVG text out.

No styles inside: classes for the page's stylesheet, presentation attributes for the file alone.
Each has a sentence that says what it shows, and stands beside the table of its numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from django.utils.formats import date_format
from django.utils.translation import gettext, gettext_noop

from cases.measures import FEWEST, Calibration, Drift, Share
from cases.watching import WatchWeek
from cases.words import local

WIDTH, HEIGHT = 560, 280
_LEFT, _RIGHT, _TOP, _BOTTOM = 66, 440, 20, 228
MOST_WEEKS = 26
# Lines differ in mark and dash as well as in colour.
_SERIES = (
    ("malignant", gettext_noop("above"), "#b86e00", "square", ""),
    ("abstained", gettext_noop("no answer"), "#1d5a92", "circle", "5 4"),
    ("refused", gettext_noop("refused"), "#6d8196", "diamond", "2 3"),
)


def _percent(value: float) -> str:
    digits = 0 if value >= 0.1 or value == 0 else 1
    return local(f"{100 * value:.{digits}f} %")


def _svg(title: str, parts: Sequence[str], *, name: str) -> str:
    return (
        f'<svg class="plot plot-{name}" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(title)}" font-size="12" fill="none">'
        f"{''.join(parts)}</svg>"
    )


def _text(x: float, y: float, words: str, *, anchor: str = "middle", name: str = "text") -> str:
    return (
        f'<text class="plot-{name}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" '
        f'fill="#535d67">{escape(words)}</text>'
    )


def _path(d: str, name: str, *, stroke: str = "#77828d", more: str = "") -> str:
    return f'<path class="plot-{name}" d="{d}" stroke="{stroke}" {more}/>'


def _y(share: float, top: float) -> float:
    return _BOTTOM - (_BOTTOM - _TOP) * min(max(share / top, 0.0), 1.0)


def _top(values: Sequence[float]) -> float:
    """The end of an axis of shares: the next of these."""
    most = max(values, default=0.0)
    return next((t for t in (0.05, 0.1, 0.2, 0.4, 0.6, 0.8) if most <= t), 1.0)


def _axes(top: float, x_words: str, y_words: str) -> list[str]:
    parts = []
    for quarter in range(5):
        share = top * quarter / 4
        y = _y(share, top)
        parts.append(_path(f"M{_LEFT} {y:.1f}H{_RIGHT}", "grid", more='opacity="0.4"'))
        parts.append(_text(_LEFT - 8, y + 4, _percent(share), anchor="end"))
    parts.append(_text((_LEFT + _RIGHT) / 2, _BOTTOM + 40, x_words))
    middle = (_TOP + _BOTTOM) / 2
    parts.append(
        f'<text class="plot-text" x="12" y="{middle:.0f}" text-anchor="middle" '
        f'transform="rotate(-90 12 {middle:.0f})" fill="#535d67">{escape(y_words)}</text>'
    )
    return parts


def _mark(x: float, y: float, kind: str, name: str, colour: str) -> str:
    shapes = {
        "circle": f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5"',
        "square": f'<rect x="{x - 3.5:.1f}" y="{y - 3.5:.1f}" width="7" height="7"',
        "diamond": f'<path d="M{x:.1f} {y - 5:.1f}l5 5l-5 5l-5 -5z"',
    }
    return f'{shapes[kind]} class="plot-{name}-mark" fill="{colour}"/>'


# Weeks


def weeks_title(weeks: Sequence[WatchWeek]) -> str:
    """What the lines show, in a sentence; "" without a week of enough images."""
    told = [week for week in weeks[-MOST_WEEKS:] if week.mix.images >= FEWEST]
    if not told:
        return ""
    last = told[-1]
    mix = last.mix
    figures = {
        "day": date_format(last.week, "j M Y"),
        "malignant": _percent(_of(last, "malignant").count / mix.images),
        "abstained": _percent(mix.abstained / mix.images),
        "refused": _percent(mix.all_refused / mix.images),
    }
    words = gettext(
        "Week of %(day)s: %(malignant)s above the threshold, %(abstained)s without an answer, "
        "%(refused)s refused"
    )
    return words % figures


def _of(week: WatchWeek, series: str) -> Share:
    mix = week.mix
    if series == "abstained":
        return mix.abstained_share
    return mix.refused_share if series == "refused" else mix.share(mix.answered.get(series, 0))


def weeks_svg(weeks: Sequence[WatchWeek]) -> str:
    """The shares of images above the threshold, without an answer, and of refusals, week by week.

    Weeks of fewer than FEWEST images are left out; "" where none is left.
    """
    weeks = [week for week in weeks[-MOST_WEEKS:] if week.mix.images >= FEWEST]
    if not weeks:
        return ""
    first, last = weeks[0].week.toordinal(), weeks[-1].week.toordinal()
    span = max(last - first, 7)
    shares = {
        name: [_of(week, name).count / week.mix.images for week in weeks] for name, *_ in _SERIES
    }
    top = _top([share for own in shares.values() for share in own])
    xs = [_LEFT + 8 + (_RIGHT - _LEFT - 16) * (w.week.toordinal() - first) / span for w in weeks]
    parts = _axes(top, gettext("week that begins on"), gettext("share of images"))
    every = max(1, -(-len(weeks) // 6))
    for number in range(0, len(weeks), every):
        parts.append(_text(xs[number], _BOTTOM + 18, date_format(weeks[number].week, "j M")))
    ends: list[tuple[float, str, str, str]] = []
    for name, words, colour, kind, dash in _SERIES:
        ys = [_y(share, top) for share in shares[name]]
        line = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in zip(xs, ys, strict=True))
        dashes = f'stroke-dasharray="{dash}" ' if dash else ""
        parts.append(_path(line, name, stroke=colour, more=f'stroke-width="2" {dashes}'))
        parts += [_mark(x, y, kind, name, colour) for x, y in zip(xs, ys, strict=True)]
        ends.append((ys[-1], name, gettext(words), colour))
    parts += _names(ends)
    return _svg(weeks_title(weeks), parts, name="weeks")


def _names(ends: list[tuple[float, str, str, str]]) -> list[str]:
    """The lines' names at their ends, moved apart where they would touch."""
    parts, least = [], float(_TOP)
    room = _BOTTOM - 16.0 * (len(ends) - 1)
    for y, name, words, colour in sorted(ends):
        y = max(min(y, room), least)
        least, room = y + 16, room + 16
        parts.append(
            f'<text class="plot-{name}-name" x="{_RIGHT + 12}" y="{y + 4:.1f}" '
            f'fill="{colour}">{escape(words)}</text>'
        )
    return parts


# Calibration


def calibration_title(calibration: Calibration) -> str:
    error = calibration.error
    if error is None:
        words = gettext("Too few images with a known outcome (%(n)d) for a calibration error")
        return words % {"n": calibration.n}
    words = gettext("Scores are off by %(error)s on average, %(n)d images")
    return words % {"error": local(f"{error:.3f}"), "n": calibration.n}


def calibration_svg(calibration: Calibration) -> str:
    """How many were malignant against the mean score, with 95 % intervals, and the diagonal.

    Bins of fewer than FEWEST images are left out; "" where none is left.
    """
    bins = [one for one in calibration.bins if one.n >= FEWEST]
    if not bins:
        return ""
    parts = _axes(1.0, gettext("mean malignant score"), gettext("turned out malignant"))

    def across(score: float) -> float:
        return _LEFT + (_RIGHT - _LEFT) * score

    parts += [_text(across(q / 4), _BOTTOM + 18, local(f"{q / 4:.2f}")) for q in range(5)]
    diagonal = f"M{_LEFT} {_BOTTOM}L{_RIGHT} {_TOP}"
    parts.append(_path(diagonal, "expected", more='stroke-dasharray="4 4"'))
    for one in bins:
        x, share = across(one.mean_score), one.share
        assert share.value is not None and share.low is not None and share.high is not None
        low, high = _y(share.low, 1), _y(share.high, 1)
        parts.append(_path(f"M{x:.1f} {low:.1f}V{high:.1f}", "interval", stroke="#1d5a92"))
        parts.append(_mark(x, _y(share.value, 1), "circle", "value", "#1d5a92"))
        parts.append(_text(x, high - 6, f"n {one.n}"))
    parts.append(_text(_RIGHT + 8, _TOP + 4, gettext("well calibrated"), anchor="start"))
    return _svg(calibration_title(calibration), parts, name="calibration")


# Drift


def drift_title(drift: Drift) -> str:
    if drift.psi is None:
        return gettext("Too few recent images (%(n)d) to tell a drift") % {"n": drift.n}
    far = drift.far.count / drift.n
    words = gettext("Stability index %(index)s; %(share)s lie beyond the 95th percentile")
    return words % {"index": local(f"{drift.psi:.2f}"), "share": _percent(far)}


def drift_svg(drift: Drift) -> str:
    """The shares of recent images in the tenths of the reference; 10 % are expected in each."""
    if not drift.n:
        return ""
    shares = [count / drift.n for count in drift.counts]
    top = _top([*shares, 0.2])
    across = gettext("tenth of the reference's distances, near to far")
    parts = _axes(top, across, gettext("share of recent images"))
    step = (_RIGHT - _LEFT) / len(shares)
    for number, share in enumerate(shares):
        x, y = _LEFT + step * number + 3, _y(share, top)
        parts.append(
            f'<rect class="plot-bar" x="{x:.1f}" y="{y:.1f}" width="{step - 6:.1f}" '
            f'height="{_BOTTOM - y:.1f}" fill="#6d8196"/>'
        )
        parts.append(_text(x + step / 2 - 3, _BOTTOM + 18, str(number + 1)))
    expected = _y(0.1, top)
    parts.append(_path(f"M{_LEFT} {expected:.1f}H{_RIGHT}", "expected", more='stroke-width="2"'))
    parts.append(_text(_RIGHT + 8, expected + 4, gettext("no change"), anchor="start"))
    return _svg(drift_title(drift), parts, name="drift")
