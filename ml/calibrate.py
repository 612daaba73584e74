"""Temperature and operating threshold, both chosen on validation data."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar

from ml.config import MALIGNANT

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]


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
