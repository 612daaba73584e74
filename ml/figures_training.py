"""Figures of a training run: curves over epochs, and the table of the epochs."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ml.plotting import COLOURS, DASHES, MARKERS, new_axes

History = Sequence[dict[str, float]]

TABLE = (
    ("val_accuracy", "Accuracy"),
    ("val_precision", "Precision"),
    ("val_recall", "Recall"),
    ("val_f1", "F1"),
    ("val_auc_malignant", "AUC"),
    ("train_accuracy", "Train accuracy"),
    ("train_loss", "Train loss"),
    ("val_loss", "Validation loss"),
)
"""Columns of the table of epochs (Table 4 of the paper): history key and heading."""
_SHOWN = 5  # of the columns above, in the drawn table
_ROW = 0.27  # height of a row, inches


def training_figures(history: History) -> dict[str, Figure]:
    """Curves of loss, accuracy, and precision, recall and F1, and the table; empty without epochs.

    ``history`` has one dict an epoch, as ``history.csv``: losses, and figures of the validation
    part in 0..1. Epochs and columns without a value are left out; the log loss of training is only
    drawn where the row also has ``train_objective``.
    """
    if not history:
        return {}
    return {
        "loss": _curves(_comparable(history), ("train_loss", "val_loss"), "Log loss"),
        "accuracy": _curves(history, ("train_accuracy", "val_accuracy"), "Accuracy"),
        "precision-recall-f1": _curves(
            history, ("val_precision", "val_recall", "val_f1"), "Macro average"
        ),
        "epoch-table": _table(history),
    }


def _comparable(history: History) -> History:
    """Without the training losses of earlier rows, which were weighted and smoothed objectives.

    Only rows that tell the objective apart have as ``train_loss`` what ``val_loss`` is.
    """
    return [
        row if "train_objective" in row else {k: v for k, v in row.items() if k != "train_loss"}
        for row in history
    ]


def epochs_csv(history: History) -> str:
    """The table of epochs: columns epoch and those of :data:`TABLE`; empty where unknown."""
    buffer = io.StringIO()
    table = csv.writer(buffer, lineterminator="\n")
    table.writerow(["epoch", *(heading.lower().replace(" ", "_") for _, heading in TABLE)])
    for row in history:
        table.writerow([int(row["epoch"]), *(_cell(row, key, 6) for key, _ in TABLE)])
    return buffer.getvalue()


def _cell(row: dict[str, float], key: str, digits: int) -> str:
    value = row.get(key, math.nan)
    return "" if math.isnan(value) else f"{value:.{digits}f}"


def _curves(history: History, keys: Sequence[str], title: str) -> Figure:
    figure, axes = new_axes("Epoch", title)
    drawn = 0
    for index, key in enumerate(keys):
        # Epochs at smaller inputs have no validation figures.
        points = [(r["epoch"], r[key]) for r in history if not math.isnan(r.get(key, math.nan))]
        if not points:
            continue
        epochs, values = zip(*points, strict=True)
        axes.plot(
            epochs,
            values,
            DASHES[index],
            color=COLOURS[index],
            marker=MARKERS[index],
            markevery=max(1, len(points) // 12),
            label=key.replace("val_", "validation ")
            .replace("train_", "training ")
            .replace("_", " "),
        )
        drawn += 1
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if drawn:
        axes.legend(frameon=False)
    else:
        axes.text(0.5, 0.5, "no validation part", ha="center", transform=axes.transAxes)
    return figure


def _table(history: History) -> Figure:
    """The epochs as a table of text, one row an epoch, figures of the validation part."""
    columns = TABLE[:_SHOWN]
    rows = len(history) + 1
    figure = Figure(figsize=(5.6, _ROW * (rows + 1.6)))
    axes = figure.add_axes((0.02, 0.0, 0.96, 1.0))
    axes.set_axis_off()
    axes.set_xlim(0, len(columns) + 1)
    axes.set_ylim(rows + 1.1, -0.5)
    for number, heading in enumerate(["Epoch", *(h for _, h in columns)]):
        axes.text(number + 0.9, 0.5, heading, ha="right", va="center", weight="bold", size=10)
    axes.axhline(1.0, color="0.2", linewidth=1.0)
    for line, row in enumerate(history):
        cells = [f"{row['epoch']:.0f}", *(_cell(row, key, 3) or "–" for key, _ in columns)]
        for number, text in enumerate(cells):
            axes.text(number + 0.9, line + 1.5, text, ha="right", va="center", size=10)
    axes.axhline(rows, color="0.2", linewidth=1.0)
    note = "Validation part; precision, recall and F1 are means over the classes."
    axes.text(0.1, rows + 0.55, note, va="center", size=9)
    return figure
