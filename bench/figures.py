"""What a benchmark found: figures beside their baselines and goals, for people and as JSON."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Figure:
    """One thing that was measured, and what it is to be held against.

    ``baseline``: the same measure of something simpler in the same run; ``baseline_is`` says of
    what. ``at_least`` or ``at_most``: the goal on two idle cores; it fails nothing here.
    """

    what: str
    value: float
    unit: str
    baseline: float | None = None
    baseline_is: str = ""
    at_least: float | None = None
    at_most: float | None = None

    @property
    def ratio(self) -> float | None:
        return self.value / self.baseline if self.baseline else None

    @property
    def reached(self) -> bool | None:
        """Whether the goal was reached; None where there is none."""
        if self.at_least is not None:
            return self.value >= self.at_least
        return None if self.at_most is None else self.value <= self.at_most

    @property
    def goal(self) -> str:
        if self.at_least is not None:
            return f">= {number(self.at_least)}"
        return "" if self.at_most is None else f"<= {number(self.at_most)}"

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"ratio": self.ratio, "reached": self.reached}


@dataclass
class Section:
    """The figures of one part, how they were got, and what else is worth keeping."""

    name: str
    title: str
    figures: list[Figure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"figures": [figure.as_json() for figure in self.figures]}


def section_of(told: dict[str, Any]) -> Section:
    """A section as `Section.as_json` wrote it."""
    names = Figure.__dataclass_fields__
    figures = [
        Figure(**{key: value for key, value in figure.items() if key in names})
        for figure in told["figures"]
    ]
    return Section(**(told | {"figures": figures}))


def number(value: float) -> str:
    """Three digits that count, or all of those before the point."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:.{min(digits, 4)}f}"


def table(section: Section) -> str:
    """The section for people."""
    heads = ("", "measured", "unit", "baseline", "ratio", "goal", "")
    rows = [heads]
    for figure in section.figures:
        reached = {True: "ok", False: "short", None: ""}[figure.reached]
        rows.append(
            (
                figure.what,
                number(figure.value),
                figure.unit,
                "" if figure.baseline is None else number(figure.baseline),
                "" if figure.ratio is None else f"{figure.ratio:.2f}x",
                figure.goal,
                reached,
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(heads))]
    lines = [f"{section.name}: {section.title}"]
    for row in rows:
        cells = [row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]
        lines.append("  " + "  ".join(cells).rstrip())
    told = {f.baseline_is for f in section.figures if f.baseline_is}
    lines += [f"  baseline: {words}" for words in sorted(told)]
    return "\n".join([*lines, *(f"  {note}" for note in section.notes)])


def percentile(values: Sequence[float], per_cent: int) -> float:
    """By nearest rank: something that was measured. ``ValueError`` without any."""
    if not values:
        raise ValueError("nothing was measured")
    return sorted(values)[max(1, math.ceil(per_cent / 100 * len(values))) - 1]


def spread(values: Sequence[float]) -> dict[str, float]:
    """p50, p95, the mean and the largest, in the unit of ``values``; and how many."""
    return {
        "n": len(values),
        "p50": percentile(values, 50),
        "p95": percentile(values, 95),
        "mean": statistics.fmean(values),
        "max": max(values),
    }
