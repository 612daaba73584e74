"""Figures of a training run as SVG: readable in print and by colour-blind people."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ml.calibrate import Floats, Indices
from ml.config import CLASSES, MALIGNANT
from ml.evaluate import Scored
from ml.metrics import BINS
from ml.registry import Card, write_atomic

# Okabe and Ito's colours, told apart by people with any colour vision; lines differ in dash too.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")
_DASHES = ("-", "--", ":", "-.")
_STYLE: dict[Any, Any] = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "svg.hashsalt": "bcweb",
}


def write_figures(
    folder: Path, history: Sequence[dict[str, float]], card: Card, scored: Scored
) -> list[Path]:
    """Draw all figures of a run into ``folder``; returns the files written.

    ``history`` is the per-epoch table, ``scored`` the held-out pictures of the card's model.
    """
    targets, scores = scored.targets, scored.scores
    held_out = card["metrics"]["held_out"]
    threshold = float(card["operating_point"]["threshold"])
    with mpl.rc_context(_STYLE):
        figures = {
            "loss": _curves(history, ("train_loss", "val_loss"), "Log loss"),
            "accuracy": _curves(history, ("train_accuracy", "val_accuracy"), "Accuracy"),
            "precision-recall-f1": _curves(
                history, ("val_precision", "val_recall", "val_f1"), "Macro average, validation"
            ),
            "confusion": _confusion(held_out["confusion"], "Class with the largest score"),
            "confusion-operating-point": _confusion(
                held_out["at_operating_point"]["confusion"], "Answer at the operating point"
            ),
            "roc": _roc(targets, scores),
            "reliability": _reliability(targets, scores),
            "operating-point": _operating_point(targets, scores, threshold),
        }
        written = []
        for name, figure in figures.items():
            path = folder / f"{name}.svg"
            buffer = io.BytesIO()
            figure.savefig(buffer, format="svg", metadata={"Date": None})
            write_atomic(path, buffer.getvalue())
            written.append(path)
    return written


def _axes(x: str, y: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(5, 3.8), layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    return figure, axes


def _curves(history: Sequence[dict[str, float]], keys: Sequence[str], title: str) -> Figure:
    figure, axes = _axes("Epoch", title)
    for key, colour, dash in zip(keys, _COLOURS, _DASHES, strict=False):
        # Epochs at smaller inputs have no validation figures.
        points = [(row["epoch"], row[key]) for row in history if key in row]
        if not points:
            continue
        label = key.replace("val_", "validation ").replace("_", " ")
        mark = "o" if len(points) == 1 else None
        epochs, values = zip(*points, strict=True)
        axes.plot(epochs, values, dash, color=colour, label=label, marker=mark)
    axes.legend(frameon=False)
    return figure


def _confusion(counts: Sequence[Sequence[int]], columns: str) -> Figure:
    figure, axes = _axes(columns, "Truth")
    table = np.array(counts)
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(CLASSES)), CLASSES)
    axes.set_yticks(range(len(CLASSES)), CLASSES)
    axes.grid(visible=False)
    for (row, column), count in np.ndenumerate(table):
        ink = "white" if shares[row, column] > 0.5 else "black"
        text = f"{count}\n{100 * shares[row, column]:.0f} %"
        axes.text(column, row, text, ha="center", va="center", color=ink)
    return figure


def _rates(positive: Any, score: Floats) -> tuple[Floats, Floats, Floats]:
    """Sensitivity and false positive rate at every threshold, falling thresholds first."""
    thresholds = np.concatenate(([np.inf], np.unique(score)[::-1]))
    called = score[None, :] >= thresholds[:, None]
    sensitivity = (called & positive).sum(axis=1) / max(1, positive.sum())
    false_rate = (called & ~positive).sum(axis=1) / max(1, (~positive).sum())
    return thresholds, sensitivity, false_rate


def _roc(targets: Indices, scores: Floats) -> Figure:
    figure, axes = _axes("1 - specificity", "Sensitivity")
    for index, name in enumerate(CLASSES):
        positive = targets == index
        if positive.any() and not positive.all():
            _, sensitivity, false_rate = _rates(positive, scores[:, index])
            axes.plot(
                false_rate,
                sensitivity,
                _DASHES[index],
                color=_COLOURS[index],
                label=f"{name} against the rest",
                drawstyle="steps-post",
            )
    axes.plot([0, 1], [0, 1], color="0.6", linewidth=0.8)
    axes.legend(frameon=False, loc="lower right")
    return figure


def _reliability(targets: Indices, scores: Floats) -> Figure:
    figure, axes = _axes("Malignant score", "Share that is malignant")
    score = scores[:, MALIGNANT]
    bins = np.minimum((score * BINS).astype(int), BINS - 1)
    size = np.bincount(bins, minlength=BINS)
    used = size > 0
    mean = np.bincount(bins, weights=score, minlength=BINS)[used] / size[used]
    share = np.bincount(bins, weights=targets == MALIGNANT, minlength=BINS)[used] / size[used]
    axes.plot([0, 1], [0, 1], color="0.6", linewidth=0.8)
    axes.scatter(mean, share, s=10 + 4 * size[used], color=_COLOURS[0], alpha=0.8)
    axes.set_title("area of a dot: pictures in its bin", fontsize=9)
    return figure


def _operating_point(targets: Indices, scores: Floats, threshold: float) -> Figure:
    figure, axes = _axes("Threshold on the malignant score", "Rate")
    values, sensitivity, false_rate = _rates(targets == MALIGNANT, scores[:, MALIGNANT])
    axes.plot(values[1:], sensitivity[1:], "-", color=_COLOURS[0], label="sensitivity")
    axes.plot(values[1:], 1 - false_rate[1:], "--", color=_COLOURS[1], label="specificity")
    axes.axvline(threshold, color="0.4", linewidth=0.8)
    axes.set_title(f"vertical line: the operating point, {threshold:.3f}", fontsize=9)
    axes.legend(frameon=False)
    return figure
