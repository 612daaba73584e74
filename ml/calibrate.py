"""Temperature, operating threshold and abstention, all chosen on pictures not trained on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar

from ml.config import MALIGNANT

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]


ABSTENTION_ERROR = 0.10
"""Wanted share of wrong answers (by the largest score) among the pictures that get an answer."""
MIN_COVERAGE = 0.80
"""Abstention never leaves out more than the rest, whatever error remains."""


@dataclass(frozen=True)
class Calibration:
    """What turns logits into an answer.

    Scores are the softmax of logits over ``temperature``; malignant from ``threshold`` on, chosen
    for ``sensitivity``; no answer when the largest score is below ``minimum_score``. ``error`` and
    ``coverage`` are what that rule left and kept on the pictures it was chosen on.
    """

    temperature: float
    threshold: float
    sensitivity: float
    minimum_score: float
    error: float
    coverage: float


def fit_calibration(
    logits: Floats, targets: Indices, weights: Floats, sensitivity: float
) -> Calibration:
    """All of it from logits N x 3 of pictures that the network was not trained on.

    ``weights`` N say how much each picture counts. Raises ``ValueError`` without malignant ones.
    """
    temperature = fit_temperature(logits, targets, weights)
    scores = softmax(logits, temperature)
    threshold = fit_threshold(scores, targets, sensitivity, weights)
    minimum, error, coverage = fit_abstention(scores, targets, weights)
    return Calibration(temperature, threshold, sensitivity, minimum, error, coverage)


def fit_abstention(scores: Floats, targets: Indices, weights: Floats) -> tuple[float, float, float]:
    """The least largest score that is good enough for an answer (Chow 1970).

    Takes the greatest coverage at which the error among answered pictures is at most
    :data:`ABSTENTION_ERROR`, but no coverage below :data:`MIN_COVERAGE`: where the error stays
    higher, that coverage. Returns (minimum score, error, coverage), weighted.
    """
    top = scores.max(axis=1)
    order = np.argsort(-top, kind="stable")
    counted = np.cumsum(weights[order])
    wrong = np.cumsum(weights[order] * (scores.argmax(axis=1) != targets)[order])
    error, coverage = wrong / counted, counted / counted[-1]
    enough = np.flatnonzero(coverage >= MIN_COVERAGE - 1e-12)
    good = enough[error[enough] <= ABSTENTION_ERROR]
    last = int(good[-1]) if len(good) else int(enough[0])
    if last == len(order) - 1:
        return 0.0, float(error[-1]), 1.0
    # Half way to the next picture, so that the rule does not rest on one picture's last digits.
    minimum = float((top[order[last]] + top[order[last + 1]]) / 2)
    return minimum, float(error[last]), float(coverage[last])


def softmax(logits: npt.NDArray[np.floating[Any]], temperature: float = 1.0) -> Floats:
    """Rows of logits N x K over a temperature -> float64 rows that sum to 1."""
    scaled = np.asarray(logits, dtype=np.float64) / temperature
    scaled -= scaled.max(axis=1, keepdims=True)
    powers = np.exp(scaled)
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def group_weights(groups: Indices) -> Floats:
    """One over the size of each picture's group: near-duplicates of a lesion count once.

    Groups int64 N -> float64 N.
    """
    _, inverse, counts = np.unique(groups, return_inverse=True, return_counts=True)
    return np.asarray(1.0 / counts[inverse.reshape(-1)])


def log_loss(scores: Floats, targets: Indices, weights: Floats | None = None) -> float:
    """Mean negative log of the true class's score; scores N x K, targets and weights N."""
    own = scores[np.arange(len(targets)), targets]
    return float(np.average(-np.log(np.maximum(own, 1e-12)), weights=weights))


def fit_temperature(logits: Floats, targets: Indices, weights: Floats | None = None) -> float:
    """The temperature in 0.1..10 with the smallest log loss on these logits (Guo et al. 2017)."""

    def loss(log_temperature: float) -> float:
        return log_loss(softmax(logits, math.exp(log_temperature)), targets, weights)

    found = minimize_scalar(loss, bounds=(math.log(0.1), math.log(10)), method="bounded")
    return float(math.exp(found.x))


def fit_threshold(
    scores: Floats, targets: Indices, sensitivity: float, weights: Floats | None = None
) -> float:
    """The highest threshold at which malignant sensitivity reaches the target on these scores.

    ``scores`` are calibrated, N x 3; ``weights`` N say how much each picture counts. The
    threshold lies half way between the lowest malignant score that must be caught and the next
    score below it, so that it does not rest on one picture's last digits. Raises ``ValueError``
    when no target is malignant.
    """
    own = scores[:, MALIGNANT]
    positive = np.flatnonzero(targets == MALIGNANT)
    if len(positive) == 0:
        raise ValueError("no malignant picture to choose a threshold from")
    order = positive[np.argsort(-own[positive], kind="stable")]
    counted = np.cumsum(np.ones(len(order)) if weights is None else weights[order])
    last = int(np.searchsorted(counted, sensitivity * counted[-1] - 1e-9))
    caught = own[order[last]]
    below = own[own < caught]
    return float((caught + (below.max() if len(below) else 0.0)) / 2)
