"""Curves of two models in one plot, for the page that compares them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ml.calibrate import Floats, Indices
from ml.config import MALIGNANT
from ml.intervals import wilson
from ml.limits import Answers
from ml.metrics import BINS, Bools, Ranking, bin_of
from ml.plotting import COLOURS, DASHES, GUIDE, MARKERS, STYLE, new_axes, to_svg

_NAME_CHARACTERS = 36


@dataclass(frozen=True)
class _Line:
    """One model: its name, malignant scores float64 N, threshold, and how it is drawn."""

    name: str
    score: Floats
    threshold: float
    colour: str
    dash: str
    marker: str


def comparison_figures(
    targets: Indices, answers: Mapping[str, Answers], names: Mapping[str, str]
) -> dict[str, str]:
    """SVG texts by name: ``roc``, ``precision-recall``, ``thresholds``, ``reliability``.

    ``answers`` to the pictures with the true classes ``targets`` (int64 N), by who gave them, and
    ``names`` for their lines. The first three are left out where the pictures are all malignant
    or none is.
    """
    lines = [
        _Line(
            _short(names[who]),
            np.asarray(one.scores[:, MALIGNANT]),
            one.threshold,
            COLOURS[place],
            DASHES[place],
            MARKERS[place],
        )
        for place, (who, one) in enumerate(answers.items())
    ]
    positive: Bools = targets == MALIGNANT
    with mpl.rc_context(STYLE):
        figures = {"reliability": _reliability(positive, lines)}
        if positive.any() and not positive.all():
            figures["roc"] = _roc(positive, lines)
            figures["precision-recall"] = _precision_recall(positive, lines)
            figures["thresholds"] = _thresholds(positive, lines)
    described = f"{len(targets)} pictures, {int(positive.sum())} of them malignant"
    return {
        name: to_svg(figure, title=name.replace("-", " "), description=described).decode()
        for name, figure in figures.items()
    }


def _short(name: str) -> str:
    """A name that fits, with its end: two versions mostly differ there."""
    half = _NAME_CHARACTERS // 2
    return name if len(name) <= _NAME_CHARACTERS else f"{name[:half]}…{name[-half + 1 :]}"


def _unit(axes: Axes) -> None:
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)


def _roc(positive: Bools, lines: list[_Line]) -> Figure:
    figure, axes = new_axes("1 − specificity", "Sensitivity")
    axes.plot([0, 1], [0, 1], color=GUIDE, linewidth=0.8)
    for line in lines:
        ranking = Ranking(positive, line.score)
        alarms = ranking.alarms[0] / (~positive).sum()
        caught = ranking.caught[0] / positive.sum()
        label = f"{line.name}: AUC {ranking.auc()[0]:.3f}"
        axes.plot(np.r_[0.0, alarms], np.r_[0.0, caught], line.dash, color=line.colour, label=label)
        called = line.score >= line.threshold
        axes.plot(
            called[~positive].mean(),
            called[positive].mean(),
            line.marker,
            color=line.colour,
            markersize=8,
            markeredgecolor="white",
        )
    axes.set_title("marks: the operating points")
    _unit(axes)
    axes.legend(frameon=False, loc="lower right")
    return figure


def _precision_recall(positive: Bools, lines: list[_Line]) -> Figure:
    figure, axes = new_axes("Recall (sensitivity)", "Precision")
    for line in lines:
        ranking = Ranking(positive, line.score)
        caught, alarms = ranking.caught[0], ranking.alarms[0]
        axes.plot(
            np.r_[0.0, caught / positive.sum()],
            np.r_[caught[0] / (caught[0] + alarms[0]), caught / (caught + alarms)],
            line.dash,
            color=line.colour,
            drawstyle="steps-pre",
            label=f"{line.name}: {ranking.average_precision()[0]:.3f}",
        )
    share = float(positive.mean())
    axes.axhline(share, color=GUIDE, linewidth=1.0, linestyle=":")
    axes.set_title(f"dotted: share of malignant here, {share:.2f}")
    _unit(axes)
    axes.legend(frameon=False, loc="lower left", title="Average precision")
    return figure


def _thresholds(positive: Bools, lines: list[_Line]) -> Figure:
    figure, axes = new_axes("Threshold on the malignant score", "Rate", size=(5.2, 4.9))
    for line in lines:
        ranking = Ranking(positive, line.score)
        # A picture is called malignant from its own score on: each rate holds up to that score.
        rates = {
            "sensitivity": (0.0, ranking.caught[0] / positive.sum()),
            "specificity": (1.0, 1 - ranking.alarms[0] / (~positive).sum()),
        }
        for width, (kind, (after, rate)) in zip((2.4, 1.2), rates.items(), strict=True):
            axes.plot(
                np.r_[1.0, ranking.values, 0.0],
                np.r_[after, rate, rate[-1]],
                line.dash,
                color=line.colour,
                linewidth=width,
                drawstyle="steps-post",
                label=f"{line.name}: {kind}",
            )
        axes.axvline(line.threshold, color=line.colour, linewidth=1.0, linestyle=":")
    axes.set_title("thick: sensitivity; thin: specificity; dotted: the operating points")
    _unit(axes)
    # Beside four lines that cross the whole plot there is no room inside.
    figure.legend(frameon=False, loc="outside lower center")
    return figure


def _reliability(positive: Bools, lines: list[_Line]) -> Figure:
    figure, axes = new_axes("Malignant score (bars: 95 %, Wilson)", "Share that is malignant")
    axes.plot([0, 1], [0, 1], color=GUIDE, linewidth=0.8)
    for line in lines:
        bins = bin_of(line.score)
        points = []
        for number in range(BINS):
            own = bins == number
            size, caught = int(own.sum()), int(positive[own].sum())
            bounds = wilson(caught, size)
            if bounds is None:
                continue
            mean = float(line.score[own].mean())
            axes.plot([mean, mean], bounds, color=line.colour, linewidth=1.0, linestyle=line.dash)
            points.append((mean, caught / size))
        axes.plot(*zip(*points, strict=True), line.marker, color=line.colour, label=line.name)
    _unit(axes)
    axes.legend(frameon=False, loc="upper left")
    return figure
