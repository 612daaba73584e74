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


def log_loss(scores: Floats, targets: Indices) -> float:
    """Mean negative log of the true class's score; scores N x K, targets N."""
    own = scores[np.arange(len(targets)), targets]
    return float(-np.log(np.maximum(own, 1e-12)).mean())


def fit_temperature(logits: Floats, targets: Indices) -> float:
    """The temperature in 0.1..10 with the smallest log loss on these logits (Guo et al. 2017)."""

    def loss(log_temperature: float) -> float:
        return log_loss(softmax(logits, math.exp(log_temperature)), targets)

    found = minimize_scalar(loss, bounds=(math.log(0.1), math.log(10)), method="bounded")
    return float(math.exp(found.x))


def fit_threshold(scores: Floats, targets: Indices, sensitivity: float) -> float:
    """The highest threshold at which malignant sensitivity reaches the target on these scores.

    ``scores`` are calibrated, N x 3. The threshold lies half way between the lowest malignant
    score that must be caught and the next score below it, so that it does not rest on one
    picture's last digits. Raises ``ValueError`` when no target is malignant.
    """
    own = scores[:, MALIGNANT]
    positive = np.sort(own[targets == MALIGNANT])[::-1]
    if len(positive) == 0:
        raise ValueError("no malignant picture to choose a threshold from")
    caught = positive[math.ceil(sensitivity * len(positive) - 1e-9) - 1]
    below = own[own < caught]
    return float((caught + (below.max() if len(below) else 0.0)) / 2)
