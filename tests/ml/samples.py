"""Scores without pictures, for the tests of figures of merit."""

from __future__ import annotations

from typing import Any

import numpy as np

from ml.calibrate import Floats, Indices, softmax
from ml.config import CLASSES
from ml.metrics import answers
from ml.scored import Scored
from tests.ml.helpers import record

KEYS = {
    "n", "n_refused", "n_abstained", "accuracy", "macro_f1", "precision", "recall", "f1",
    "auc_malignant", "auc_macro", "sensitivity", "specificity", "specificity_at_95_sensitivity",
    "brier", "ece", "confusion", "ci95", "per_source", "classes",
}  # fmt: skip
"""What the contract promises in an evaluation JSON."""


def made(seed: int = 0, count: int = 300, *, ties: bool = False) -> tuple[Indices, Floats]:
    """True classes (50 %, 30 %, 20 %) and scores of a fair classifier; ``ties``: in tenths."""
    rng = np.random.default_rng(seed)
    targets = rng.choice(3, count, p=[0.5, 0.3, 0.2])
    logits = rng.normal(size=(count, 3)) + 1.5 * np.eye(3)[targets]
    scores = softmax(logits)
    if ties:
        scores = np.round(scores, 1)
        scores /= scores.sum(axis=1, keepdims=True)
    return targets, scores


def scored(
    targets: Indices, scores: Floats, threshold: float = 0.4, outcomes: Any = None, **columns: Any
) -> Scored:
    """Records with these classes and scores; ``columns`` give record fields a value a picture."""
    records = tuple(
        record(i, CLASSES[k], **{name: values[i] for name, values in columns.items()})
        for i, k in enumerate(targets.tolist())
    )
    labels = tuple(CLASSES[k] for k in answers(scores, threshold).tolist())
    given = tuple(outcomes) if outcomes is not None else ("answered",) * len(records)
    return Scored(records, scores, given, labels)
