"""Figures of scored pictures: confusion, curves over thresholds, reliability, coverage, bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ml.calibrate import Floats, Indices
from ml.config import CLASSES, MALIGNANT
from ml.intervals import wilson
from ml.metrics import BINS, Ranking, bin_of
from ml.plotting import COLOURS, DASHES, GUIDE, MARKERS, new_axes
from ml.scored import Scored

_BARS = (
    ("accuracy", "Accuracy"),
    ("macro_precision", "Precision, macro"),
    ("macro_recall", "Recall, macro"),
    ("macro_f1", "F1, macro"),
    ("auc_malignant", "AUC, malignant"),
    ("sensitivity", "Sensitivity"),
    ("specificity", "Specificity"),
    ("specificity_at_95_sensitivity", "Spec. at 95 % sens."),
)
_HATCHES = ("", "///", "...")
_DARK = 0.65  # share from which a cell of the blue scale needs white text


def score_figures(scored: Scored, result: Mapping[str, Any]) -> dict[str, Figure]:
    """All figures of an evaluation, by file name without ending.

    ``result`` is the evaluation JSON of these pictures. Curves that need malignant pictures and
    others are left out where one kind is missing.
    """
    targets, scores = scored.targets, scored.scores
    malignant = targets == MALIGNANT
    cancer = result["cancer_confusion"]
    figures = {
        "confusion": confusion(result["confusion"], "Class with the largest score"),
        "confusion-operating-point": confusion(
            result["at_operating_point"]["confusion"], "Answer at the operating point"
        ),
        "cancer-confusion": confusion(
            cancer["operating_point"], "Answer at the operating point", cancer["classes"]
        ),
        "reliability": _reliability(targets, scores, result),
        "coverage": _coverage(targets, scores, result),
        "metric-bars": _bars(result),
        "class-bars": _class_bars(result),
    }
    if malignant.any() and not malignant.all():
        figures["roc"] = _roc(targets, scores, result)
        figures["precision-recall"] = _precision_recall(targets, scores, result)
        figures["operating-point"] = _operating_point(
            targets, scores, result["operating_threshold"]
        )
    return figures


def confusion(
    counts: Sequence[Sequence[int]], columns: str, names: Sequence[str] = CLASSES
) -> Figure:
    """A confusion matrix, rows truth: counts, and shares of each row as shades."""
    figure, axes = new_axes(columns, "")
    axes.set_ylabel("Truth", labelpad=8)
    table = np.array(counts)
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(names)), names)
    axes.set_yticks(range(len(names)), names, rotation=90, va="center")
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    for (row, column), count in np.ndenumerate(table):
        ink = "white" if shares[row, column] > _DARK else "black"
        text = f"{count}\n{100 * shares[row, column]:.0f} %" if table[row].any() else "–"
        axes.text(column, row, text, ha="center", va="center", color=ink, size=13)
    return figure


def _unit(axes: Axes, *, x: bool = True) -> None:
    """Leave the whole range of shares in view, with room for lines at its ends."""
    if x:
        axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)


def _roc(targets: Indices, scores: Floats, result: Mapping[str, Any]) -> Figure:
    figure, axes = new_axes("1 − specificity", "Sensitivity")
    axes.plot([0, 1], [0, 1], color=GUIDE, linewidth=0.8)
    for index, name in enumerate(CLASSES):
        positive = targets == index
        if not positive.any() or positive.all():
            continue
        ranking = Ranking(positive, scores[:, index])
        rates = ranking.alarms[0] / (~positive).sum(), ranking.caught[0] / positive.sum()
        axes.plot(
            np.r_[0.0, rates[0]],
            np.r_[0.0, rates[1]],
            DASHES[index],
            color=COLOURS[index],
            label=f"{name}: AUC {_interval(result, 'auc_by_class', name)}",
        )
    _unit(axes)
    axes.legend(frameon=False, loc="lower right", title="One against the rest")
    return figure


def _interval(result: Mapping[str, Any], *path: str) -> str:
    """A figure with its interval, such as 0.95 [0.93, 0.97]."""
    value: Any = result
    bounds: Any = result["ci95"]
    for key in path:
        value, bounds = value[key], (bounds or {}).get(key)
    return f"{value:.3f}" if bounds is None else f"{value:.3f} [{bounds[0]:.2f}, {bounds[1]:.2f}]"


def _precision_recall(targets: Indices, scores: Floats, result: Mapping[str, Any]) -> Figure:
    figure, axes = new_axes("Recall (sensitivity)", "Precision")
    positive = targets == MALIGNANT
    ranking = Ranking(positive, scores[:, MALIGNANT])
    caught, alarms = ranking.caught[0], ranking.alarms[0]
    axes.plot(
        np.r_[0.0, caught / positive.sum()],
        np.r_[caught[0] / (caught[0] + alarms[0]), caught / (caught + alarms)],
        color=COLOURS[0],
        drawstyle="steps-pre",
    )
    share = float(positive.mean())
    axes.axhline(share, color=GUIDE, linewidth=1.0, linestyle="--")
    axes.text(0.0, share + 0.015, f"share of malignant here: {share:.2f}", size=10)
    axes.set_title(f"malignant: average precision {_interval(result, 'average_precision')}")
    _unit(axes)
    return figure


def _reliability(targets: Indices, scores: Floats, result: Mapping[str, Any]) -> Figure:
    what = "Malignant score\n(bars: 95 %, Wilson; numbers: pictures in the bin)"
    figure, axes = new_axes(what, "Share that is malignant")
    score, positive = scores[:, MALIGNANT], targets == MALIGNANT
    axes.plot([0, 1], [0, 1], color=GUIDE, linewidth=0.8)
    bins = bin_of(score)
    for number in range(BINS):
        own = bins == number
        size, caught = int(own.sum()), int(positive[own].sum())
        bounds = wilson(caught, size)
        if bounds is None:
            continue
        mean = float(score[own].mean())
        axes.plot([mean, mean], bounds, color=COLOURS[0], linewidth=1.0)
        axes.plot(mean, caught / size, MARKERS[0], color=COLOURS[0], markersize=6)
        axes.text(mean, -0.05, str(size), ha="center", va="center", size=9, color="0.2")
    axes.set_title(f"ECE {_interval(result, 'ece')}")
    _unit(axes)
    axes.set_ylim(-0.1, 1.02)
    return figure


def _operating_point(targets: Indices, scores: Floats, thresholds: Sequence[float]) -> Figure:
    figure, axes = new_axes("Threshold on the malignant score", "Rate")
    positive = targets == MALIGNANT
    ranking = Ranking(positive, scores[:, MALIGNANT])
    # A picture is called malignant from its own score on: each rate holds up to that score.
    rates = ranking.caught[0] / positive.sum(), 1 - ranking.alarms[0] / (~positive).sum()
    for index, (name, rate) in enumerate(zip(("sensitivity", "specificity"), rates, strict=True)):
        after = 0.0 if name == "sensitivity" else 1.0
        axes.plot(
            np.r_[1.0, ranking.values, 0.0],
            np.r_[after, rate, rate[-1]],
            DASHES[index],
            color=COLOURS[index],
            drawstyle="steps-post",
            label=name,
        )
    low, high = min(thresholds), max(thresholds)
    if low == high:
        axes.axvline(low, color=GUIDE, linewidth=1.2, linestyle=":")
        axes.set_title(f"dotted line: the operating point, {low:.3f}")
    else:
        axes.axvspan(low, high, color="0.85", linewidth=0)
        axes.set_title(f"grey band: the folds' operating points, {low:.3f} to {high:.3f}")
    _unit(axes)
    axes.legend(frameon=False, loc="lower center")
    return figure


def _coverage(targets: Indices, scores: Floats, result: Mapping[str, Any]) -> Figure:
    figure, axes = new_axes("Coverage: share of pictures answered", "Error among these")
    sure, wrong = scores.max(axis=1), scores.argmax(axis=1) != targets
    ranking = Ranking(wrong, sure)
    counted = ranking.caught[0] + ranking.alarms[0]
    share, error = counted / len(targets), ranking.caught[0] / counted
    # Below a twentieth of the pictures one error more or less is all there is to see.
    steady = share >= min(0.05, share[-1])
    axes.plot(share[steady], error[steady], color=COLOURS[0], label="surest pictures first")
    axes.axhline(error[-1], color=GUIDE, linewidth=1.0, linestyle="--")
    axes.set_title(f"error on all pictures: {error[-1]:.3f} (dashed)")
    answered = result["answered_only"]
    if answered is not None and answered["n"] < result["n"]:
        axes.plot(
            answered["n"] / result["n"],
            1 - answered["accuracy"],
            MARKERS[3],
            color=COLOURS[1],
            markersize=8,
            label="answered by the model's own rule",
        )
        axes.legend(frameon=False, loc="upper left")
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(0, max(0.1, 1.25 * float(error[steady].max())))
    return figure


def _bars(result: Mapping[str, Any]) -> Figure:
    """Main figures as bars with their intervals as whiskers and as text."""
    known = [(key, name) for key, name in _BARS if result[key] is not None]
    figure, axes = new_axes("", "", size=(6.4, 0.8 + 0.4 * len(known)))
    for line, (key, _) in enumerate(known):
        axes.barh(line, result[key], height=0.62, color="#56B4E9", edgecolor="0.2", linewidth=0.6)
        bounds = result["ci95"].get(key)
        if bounds is not None:
            axes.plot(bounds, [line, line], color="black", linewidth=1.4)
            axes.plot(bounds, [line, line], "|", color="black", markersize=8)
        axes.text(1.04, line, _interval(result, key), va="center", size=10)
    axes.set_yticks(range(len(known)), [name for _, name in known])
    axes.set_ylim(len(known) - 0.4, -0.6)
    axes.set_xlim(0, 1.48)
    axes.set_xticks(np.arange(0, 1.01, 0.2))
    axes.grid(visible=False, axis="y")
    axes.spines["bottom"].set_bounds(0, 1)
    return figure


def _class_bars(result: Mapping[str, Any]) -> Figure:
    """Precision, recall and F1 of each class, by the largest score."""
    figure, axes = new_axes("", "By the largest score", size=(6.4, 4.0))
    width = 0.26
    for index, (key, name) in enumerate(
        (("precision", "Precision"), ("recall", "Recall"), ("f1", "F1"))
    ):
        for place, label in enumerate(CLASSES):
            value = result[key][label]
            if value is None:
                continue
            x = place + (index - 1) * width
            shade = ("#56B4E9", "#E69F00", "#FFFFFF")[index]
            axes.bar(
                x,
                value,
                width=width - 0.03,
                color=shade,
                edgecolor="0.2",
                linewidth=0.8,
                hatch=_HATCHES[index],
                label=name if label == _first_known(result) else None,
            )
            axes.text(x, value + 0.015, f"{value:.2f}", ha="center", size=9)
    axes.set_xticks(range(len(CLASSES)), CLASSES)
    axes.set_ylim(0, 1.2)
    axes.set_yticks(np.arange(0, 1.01, 0.2))
    axes.grid(visible=False, axis="x")
    axes.legend(frameon=False, loc="upper center", ncols=3)
    return figure


def _first_known(result: Mapping[str, Any]) -> str:
    return next(label for label in CLASSES if result["recall"][label] is not None)
