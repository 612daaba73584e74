"""Figures of merit from true classes and scores, with intervals by resampling groups."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from ml.calibrate import Floats, Indices
from ml.config import CLASSES, MALIGNANT

BINS = 15
BOOTSTRAPS = 1000
Metrics = dict[str, Any]


def answers(scores: Floats, threshold: float | Floats) -> Indices:
    """Classes answered at the operating point: scores N x 3 -> int64 N.

    Malignant from ``threshold`` on (one for all, or N), else the larger of the others.
    """
    others = scores.copy()
    others[:, MALIGNANT] = -1.0
    largest = others.argmax(axis=1)
    return np.where(scores[:, MALIGNANT] >= threshold, MALIGNANT, largest).astype(np.int64)


def auc(positive: npt.NDArray[np.bool_], score: Floats) -> float | None:
    """Area under the ROC curve, ties counted half; None without both kinds."""
    ones = int(positive.sum())
    zeros = len(positive) - ones
    if ones == 0 or zeros == 0:
        return None
    rank_sum = float(rankdata(score)[positive].sum())
    return (rank_sum - ones * (ones + 1) / 2) / (ones * zeros)


def specificity_at(positive: npt.NDArray[np.bool_], score: Floats, wanted: float) -> float | None:
    """Best specificity at a sensitivity of at least ``wanted``; None without both kinds."""
    own = np.sort(score[positive])[::-1]
    rest = score[~positive]
    if len(own) == 0 or len(rest) == 0:
        return None
    threshold = own[int(np.ceil(wanted * len(own) - 1e-9)) - 1]
    return float((rest < threshold).mean())


def expected_calibration_error(positive: npt.NDArray[np.bool_], score: Floats) -> float:
    """Mean gap between score and frequency over 15 equal-width bins, weighted by their size."""
    bins = np.minimum((score * BINS).astype(int), BINS - 1)
    gap = np.bincount(bins, weights=score - positive, minlength=BINS)
    return float(np.abs(gap).sum() / len(score))


def confusion_matrix(targets: Indices, answered: Indices) -> Indices:
    """Counts, rows truth, columns answer: int64 K x K in the order of ``ml.config.CLASSES``."""
    size = len(CLASSES)
    return np.bincount(targets * size + answered, minlength=size * size).reshape(size, size)


def measure(targets: Indices, scores: Floats, threshold: float | Floats) -> Metrics:
    """All figures of the contract's evaluation JSON that come from scores alone.

    ``targets`` int64 N, ``scores`` calibrated float64 N x 3, ``threshold`` one for all or N (each
    picture's model has its own in cross-validation). ``accuracy``, ``macro_f1``, ``precision``,
    ``recall``, ``f1`` and ``confusion`` take the class with the largest score, as published
    figures do; ``sensitivity``, ``specificity`` and all of ``at_operating_point`` are of the
    labels that users see. Macro figures are over the classes present in the truth. A figure
    without cases (no malignant picture) is None.
    """
    answered = answers(scores, threshold)
    present = np.bincount(targets, minlength=len(CLASSES)) > 0
    positive, score = targets == MALIGNANT, scores[:, MALIGNANT]
    called = answered == MALIGNANT
    one_hot = np.eye(len(CLASSES))[targets]
    areas = [auc(targets == k, scores[:, k]) for k in range(len(CLASSES)) if present[k]]
    known = [a for a in areas if a is not None]
    return {
        **class_figures(targets, scores.argmax(axis=1)),
        "auc_malignant": auc(positive, score),
        "auc_macro": float(np.mean(known)) if known else None,
        "sensitivity": float(called[positive].mean()) if positive.any() else None,
        "specificity": float((~called[~positive]).mean()) if not positive.all() else None,
        "specificity_at_95_sensitivity": specificity_at(positive, score, 0.95),
        "brier": float(((scores - one_hot) ** 2).sum(axis=1).mean()),
        "ece": expected_calibration_error(positive, score),
        "malignant_called_normal": int((positive & (answered == CLASSES.index("normal"))).sum()),
        "at_operating_point": class_figures(targets, answered),
    }


def class_figures(targets: Indices, answered: Indices) -> Metrics:
    """Accuracy, precision, recall, F1 and confusion of answered classes, int64 N each."""
    confusion = confusion_matrix(targets, answered)
    truth, given, right = confusion.sum(axis=1), confusion.sum(axis=0), np.diag(confusion)
    f1 = 2 * right / np.maximum(truth + given, 1)
    present = truth > 0
    return {
        "accuracy": float(right.sum() / len(targets)),
        "macro_f1": float(f1[present].mean()),
        "precision": _by_class(right / np.maximum(given, 1), present),
        "recall": _by_class(right / np.maximum(truth, 1), present),
        "f1": _by_class(f1, present),
        "confusion": confusion.tolist(),
    }


def _by_class(values: npt.NDArray[Any], present: npt.NDArray[Any]) -> dict[str, float | None]:
    return {
        name: float(value) if there else None
        for name, value, there in zip(CLASSES, values, present, strict=True)
    }


def bootstrap(
    targets: Indices,
    scores: Floats,
    groups: Indices,
    threshold: float | Floats,
    *,
    rounds: int = BOOTSTRAPS,
    seed: int = 0,
) -> dict[str, Any]:
    """95 % intervals by drawing whole groups with replacement: same keys -> [low, high].

    A round in which a figure is undefined does not count for that figure.
    """
    rng = np.random.default_rng(seed)
    thresholds = np.broadcast_to(np.asarray(threshold, dtype=np.float64), len(targets))
    members = [np.flatnonzero(groups == g) for g in np.unique(groups)]
    collected: dict[tuple[str, ...], list[float]] = {}
    for _ in range(rounds):
        drawn = rng.integers(0, len(members), len(members))
        chosen = np.concatenate([members[i] for i in drawn])
        for key, value in _flat(measure(targets[chosen], scores[chosen], thresholds[chosen])):
            collected.setdefault(key, []).append(value)
    result: dict[str, Any] = {}
    for key, values in collected.items():
        low, high = np.percentile(values, [2.5, 97.5])
        inner = result
        for part in key[:-1]:
            inner = inner.setdefault(part, {})
        inner[key[-1]] = [float(low), float(high)]
    return result


def _flat(metrics: Metrics, above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], float]]:
    """The numbers among nested figures, each with its path; counts and matrices have none."""
    for key, value in metrics.items():
        if isinstance(value, dict):
            yield from _flat(value, (*above, key))
        elif isinstance(value, float):
            yield (*above, key), value
