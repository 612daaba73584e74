"""Figures of training runs and evaluations as SVG: readable in print and by colour-blind people."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from ml.figures_scores import confusion, score_figures
from ml.figures_training import History, epochs_csv, training_figures
from ml.metrics import confusion_matrix
from ml.plotting import STYLE, to_svg
from ml.registry import Card, write_atomic
from ml.scored import Scored

TABLE_FILE = "epochs.csv"
_MEASURED = ("held_out", "out_of_fold")


def write_figures(
    folder: Path,
    history: History,
    card: Card,
    scored: Scored,
    train_scored: Scored | None = None,
) -> list[Path]:
    """Draw all figures of a run into ``folder``, beside ``epochs.csv``; returns the figures' files.

    ``history`` is the per-epoch table; ``scored`` the pictures that the card's figures
    (``metrics``: ``held_out``, else ``out_of_fold``) were measured on; ``train_scored`` pictures
    of the training part, for their confusion matrix. Raises ``KeyError`` for a card without
    figures.
    """
    metrics = card["metrics"]
    result = metrics[next((part for part in _MEASURED if part in metrics), "held_out")]
    with mpl.rc_context(STYLE):
        figures = {**training_figures(history), **score_figures(scored, result)}
        if train_scored is not None:
            figures["confusion-train"] = _training_confusion(train_scored)
    written = _write(folder, figures, result)
    if history:
        write_atomic(folder / TABLE_FILE, epochs_csv(history).encode())
    return written


def write_evaluation_figures(folder: Path, scored: Scored, result: Mapping[str, Any]) -> list[Path]:
    """Draw the figures of an evaluation (its JSON is ``result``); returns the files written."""
    with mpl.rc_context(STYLE):
        figures = score_figures(scored, result)
    return _write(folder, figures, result)


def _training_confusion(scored: Scored) -> Figure:
    counts = confusion_matrix(scored.targets, scored.scores.argmax(axis=1)).tolist()
    return confusion(counts, "Class with the largest score, training part")


def _write(folder: Path, figures: Mapping[str, Figure], result: Mapping[str, Any]) -> list[Path]:
    """Each by atomic rename. The rule of the groups travels inside every file."""
    description = (
        f"{result['n']} pictures in {result['n_groups']} groups; {result['grouping_rule']}"
    )
    written = []
    for name, figure in figures.items():
        path = folder / f"{name}.svg"
        write_atomic(path, to_svg(figure, title=name.replace("-", " "), description=description))
        written.append(path)
    return written
