"""Figures of merit from true classes and scores, for one sample or for many weightings of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from ml.calibrate import Floats, Indices
from ml.config import CLASSES, MALIGNANT

BINS = 15
SENSITIVITIES = (0.95, 0.98)
"""Sensitivities at which the specificity is stated."""

Bools = npt.NDArray[np.bool_]
Metrics = dict[str, Any]
Rounds = dict[str, Any]
"""Like :data:`Metrics`, but each figure is float64 R, one value a weighting, NaN if undefined."""

_SIZE = len(CLASSES)
_NORMAL = CLASSES.index("normal")


def answers(scores: Floats, threshold: float | Floats) -> Indices:
    """Classes answered at the operating point: scores N x 3 -> int64 N.

    Malignant from ``threshold`` on (one for all, or N), else the larger of the others.
    """
    others = scores.copy()
    others[:, MALIGNANT] = -1.0
    largest = others.argmax(axis=1)
    return np.where(scores[:, MALIGNANT] >= threshold, MALIGNANT, largest).astype(np.int64)


class Ranking:
    """Pictures by falling score, equal scores together: what curves and areas are made of.

    ``positive`` bool N, ``score`` float64 N; ``weights`` (R x N, 1 x N of ones by default) say
    how often each picture counts. ``caught`` and ``alarms`` are float64 R x T: the weight of
    positives and of negatives with at least the t-th of the T different scores, ``values``
    (float64 T, falling).
    """

    def __init__(self, positive: Bools, score: Floats, weights: Floats | None = None) -> None:
        order = np.argsort(-score, kind="stable")
        falling = score[order]
        starts = np.flatnonzero(np.r_[True, falling[1:] != falling[:-1]])
        sorted_weights = (np.ones((1, len(score))) if weights is None else weights)[:, order]
        self.values: Floats = falling[starts]
        right = np.add.reduceat(sorted_weights * positive[order], starts, axis=1)
        wrong = np.add.reduceat(sorted_weights * ~positive[order], starts, axis=1)
        self._right, self._wrong = right, wrong
        self.caught: Floats = np.cumsum(right, axis=1)
        self.alarms: Floats = np.cumsum(wrong, axis=1)

    def auc(self) -> Floats:
        """Area under the ROC curve, ties counted half: float64 R, NaN without both kinds."""
        ones, zeros = self.caught[:, -1], self.alarms[:, -1]
        below = zeros[:, None] - self.alarms + self._wrong / 2
        return ratio((self._right * below).sum(axis=1), ones * zeros)

    def average_precision(self) -> Floats:
        """Sum of precision times the step in recall: float64 R, NaN without positives."""
        precision = self.caught / np.maximum(self.caught + self.alarms, 1e-12)
        return ratio((self._right * precision).sum(axis=1), self.caught[:, -1])

    def position(self, sensitivity: float) -> Indices:
        """Index into ``values`` of the highest threshold that reaches a sensitivity: int64 R."""
        enough = self.caught >= sensitivity * self.caught[:, -1:] - 1e-9
        return np.asarray(enough.argmax(axis=1), dtype=np.int64)

    def specificity_at(self, sensitivity: float) -> Floats:
        """Best specificity at a sensitivity of at least that: float64 R, NaN without both."""
        at = self.alarms[np.arange(len(self.alarms)), self.position(sensitivity)]
        zeros = self.alarms[:, -1]
        return np.where(self.caught[:, -1] > 0, ratio(zeros - at, zeros), np.nan)


def auc(positive: Bools, score: Floats) -> float | None:
    """Area under the ROC curve, ties counted half; None without both kinds."""
    return _known(Ranking(positive, score).auc()[0])


def specificity_at(positive: Bools, score: Floats, wanted: float) -> float | None:
    """Best specificity at a sensitivity of at least ``wanted``; None without both kinds."""
    return _known(Ranking(positive, score).specificity_at(wanted)[0])


def expected_calibration_error(positive: Bools, score: Floats) -> float:
    """Mean gap between score and frequency over 15 equal-width bins, weighted by their size."""
    return float(_calibration_error(positive, score, np.ones((1, len(score))))[0])


def ece_floor(score: Floats, *, rounds: int = 500, seed: int = 0) -> float:
    """The calibration error that chance alone gives these scores: ``score`` float64 N in 0..1.

    The mean over drawn truths for which the scores are exactly right, each picture by itself. The
    error is a sum of absolute values, so it is above 0 for perfect scores, the more the fewer the
    pictures; pictures of one lesion are alike, so the true floor is somewhat higher.
    """
    rng = np.random.default_rng(seed)
    bins = np.eye(BINS)[bin_of(score)]
    block = max(1, 2_000_000 // len(score))
    sums = 0.0
    for start in range(0, rounds, block):
        drawn = rng.random((min(block, rounds - start), len(score))) < score
        sums += float(np.abs((score - drawn) @ bins).sum())
    return sums / (rounds * len(score))


def bin_of(score: Floats) -> Indices:
    """The calibration bin of each score in 0..1: int64 N in 0..14; a score of 1 is in the last."""
    return np.minimum((score * BINS).astype(np.int64), BINS - 1)


def _calibration_error(positive: Bools, score: Floats, weights: Floats) -> Floats:
    gaps = np.zeros((len(score), BINS))
    gaps[np.arange(len(score)), bin_of(score)] = score - positive
    return ratio(np.abs(weights @ gaps).sum(axis=1), weights.sum(axis=1))


def confusion_matrix(targets: Indices, answered: Indices) -> Indices:
    """Counts, rows truth, columns answer: int64 K x K in the order of ``ml.config.CLASSES``."""
    return np.bincount(targets * _SIZE + answered, minlength=_SIZE * _SIZE).reshape(_SIZE, _SIZE)


@dataclass(frozen=True)
class Sample:
    """Pictures to measure: true classes int64 N, scores float64 N x 3, thresholds float64 N."""

    targets: Indices
    scores: Floats
    thresholds: Floats

    @cached_property
    def largest(self) -> Indices:
        """Class with the largest score: int64 N."""
        return np.asarray(self.scores.argmax(axis=1), dtype=np.int64)

    @cached_property
    def answered(self) -> Indices:
        """Class at the operating point: int64 N."""
        return answers(self.scores, self.thresholds)

    @property
    def malignant(self) -> Bools:
        """Whether each picture's truth is malignant: bool N."""
        return np.asarray(self.targets == MALIGNANT)

    def figures(self, weights: Floats, prevalence: float | None = None) -> Rounds:
        """All figures, once for each row of ``weights``: float64 R x N, how often each counts."""
        areas = {
            name: Ranking(self.targets == k, self.scores[:, k], weights).auc()
            for k, name in enumerate(CLASSES)
        }
        ranking = Ranking(self.malignant, self.scores[:, MALIGNANT], weights)
        at_point = confusions(self.targets, self.answered, weights)
        right, wrong = at_point[:, MALIGNANT], np.delete(at_point, MALIGNANT, axis=1).sum(axis=1)
        sensitivity = ratio(right[:, MALIGNANT], right.sum(axis=1))
        specificity = ratio(wrong.sum(axis=1) - wrong[:, MALIGNANT], wrong.sum(axis=1))
        squares = ((self.scores - np.eye(_SIZE)[self.targets]) ** 2).sum(axis=1)
        found: Rounds = {
            **_by_class(confusions(self.targets, self.largest, weights)),
            "auc_malignant": areas[CLASSES[MALIGNANT]],
            "auc_macro": _mean_known(list(areas.values())),
            "auc_by_class": areas,
            "average_precision": ranking.average_precision(),
            "sensitivity": sensitivity,
            "specificity": specificity,
            **{
                f"specificity_at_{100 * wanted:.0f}_sensitivity": ranking.specificity_at(wanted)
                for wanted in SENSITIVITIES
            },
            "brier": ratio(weights @ squares, weights.sum(axis=1)),
            "ece": _calibration_error(self.malignant, self.scores[:, MALIGNANT], weights),
            "at_operating_point": _by_class(at_point),
        }
        if prevalence is not None:
            found["predictive_values"] = predictive_values(sensitivity, specificity, prevalence)
        return found


def confusions(targets: Indices, answered: Indices, weights: Floats) -> Floats:
    """Weighted confusion matrices: weights R x N -> float64 R x K x K, rows truth."""
    cells = np.zeros((len(targets), _SIZE * _SIZE))
    cells[np.arange(len(targets)), targets * _SIZE + answered] = 1.0
    return np.asarray((weights @ cells).reshape(-1, _SIZE, _SIZE))


def predictive_values(sensitivity: Floats, specificity: Floats, prevalence: float) -> Rounds:
    """PPV and NPV at a stated prevalence in 0..1, by Bayes' rule: float64 R each."""
    sick, well = prevalence, 1.0 - prevalence
    hits, misses = sensitivity * sick, (1 - sensitivity) * sick
    rejections, alarms = specificity * well, (1 - specificity) * well
    return {"ppv": ratio(hits, hits + alarms), "npv": ratio(rejections, rejections + misses)}


def _by_class(confusion: Floats) -> Rounds:
    """Accuracy, precision, recall and F1 of confusion matrices R x K x K.

    A class never answered has a precision of 0; one without truth has no figures and does not
    count in the macro means.
    """
    truth, given = confusion.sum(axis=2), confusion.sum(axis=1)
    right = np.einsum("rkk->rk", confusion)
    recall = ratio(right, truth)
    precision = np.where(truth > 0, np.nan_to_num(ratio(right, given)), np.nan)
    f1 = np.where(truth > 0, ratio(2 * right, truth + given), np.nan)
    macro = {
        f"macro_{name}": _mean_known(list(values.T))
        for name, values in (("precision", precision), ("recall", recall), ("f1", f1))
    }
    return {
        "accuracy": ratio(right.sum(axis=1), truth.sum(axis=1)),
        **macro,
        "precision": dict(zip(CLASSES, precision.T, strict=True)),
        "recall": dict(zip(CLASSES, recall.T, strict=True)),
        "f1": dict(zip(CLASSES, f1.T, strict=True)),
    }


def measure(
    targets: Indices,
    scores: Floats,
    threshold: float | Floats,
    *,
    prevalence: float | None = None,
) -> Metrics:
    """All figures of the contract's evaluation JSON that come from scores alone.

    ``targets`` int64 N, ``scores`` calibrated float64 N x 3, ``threshold`` one for all or N (each
    picture's model has its own in cross-validation). ``accuracy``, ``precision``, ``recall``,
    ``f1``, their macro means and ``confusion`` take the class with the largest score, as published
    figures do; ``sensitivity``, ``specificity`` and all of ``at_operating_point`` are of the
    labels that users see. Macro figures are over the classes present in the truth. A figure
    without cases (no malignant picture) is None. ``ece_floor`` is what ``ece`` would be by chance
    if the scores were exactly right. ``predictive_values`` only come with a stated
    ``prevalence``. Raises ``ValueError`` without pictures.
    """
    if len(targets) == 0:
        raise ValueError("no pictures to measure")
    thresholds = np.broadcast_to(np.asarray(threshold, dtype=np.float64), len(targets))
    sample = Sample(targets, scores, thresholds)
    found: Metrics = _first(sample.figures(np.ones((1, len(targets))), prevalence))
    found["confusion"] = confusion_matrix(targets, sample.largest).tolist()
    found["at_operating_point"]["confusion"] = confusion_matrix(targets, sample.answered).tolist()
    found["ece_floor"] = ece_floor(scores[:, MALIGNANT])
    missed = sample.malignant & (sample.answered == _NORMAL)
    found["malignant_called_normal"] = int(missed.sum())
    return found


def _first(rounds: Rounds) -> Metrics:
    """The figures of the first weighting as numbers, None where undefined."""
    return {
        key: _first(value) if isinstance(value, dict) else _known(value[0])
        for key, value in rounds.items()
    }


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def ratio(above: Floats, below: Floats) -> Floats:
    """Quotient of arrays of one shape, NaN where the divisor is 0."""
    filled = np.full(np.shape(below), np.nan)
    return np.asarray(np.divide(above, below, out=filled, where=below > 0))


def _mean_known(columns: list[Floats]) -> Floats:
    """Mean over the columns (R each) that are not NaN; NaN where all are."""
    stacked = np.stack(columns)
    known = ~np.isnan(stacked)
    total = np.where(known, stacked, 0.0).sum(axis=0)
    return ratio(total, known.sum(axis=0).astype(np.float64))
