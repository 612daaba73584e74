"""Pictures with their scores, as a model or out-of-fold models gave them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ml.calibrate import Floats, Indices, softmax
from ml.config import CLASSES, TrainConfig
from ml.dataset import Dataset, Record
from ml.errors import DatasetError
from ml.metrics import answers
from ml.oof import OutOfFold

TARGET_SENSITIVITY = TrainConfig().target_sensitivity


@dataclass(frozen=True)
class Scored:
    """Pictures with their calibrated scores (float64 N x 3), outcomes and labels.

    Without ``refusal_checked`` nobody looked whether the pictures would be refused.
    """

    records: tuple[Record, ...]
    scores: Floats
    outcomes: tuple[str, ...]
    labels: tuple[str | None, ...]
    refusal_checked: bool = True

    @property
    def targets(self) -> Indices:
        """True classes by index: int64 N."""
        return np.array([r.target for r in self.records], dtype=np.int64)


def cross_fitted(
    out_of_fold: OutOfFold, records: Sequence[Record], sensitivity: float = TARGET_SENSITIVITY
) -> tuple[Scored, Floats]:
    """Answers from out-of-fold logits: scores with outcomes and labels, and thresholds float64 N.

    Temperature, threshold (for that ``sensitivity``) and least answered score of each of the
    logits' ``parts`` (its folds) are fitted on the other ones. ``records`` are those of the
    logits, in order. Models of folds have no refusal check, so none took place.
    """
    scores = np.zeros_like(out_of_fold.logits)
    thresholds, minimum = np.zeros(len(scores)), np.zeros(len(scores))
    for part in np.unique(out_of_fold.parts).tolist():
        own = out_of_fold.parts == part
        fitted = out_of_fold.calibration(sensitivity, without=part)
        scores[own] = softmax(out_of_fold.logits[own], fitted.temperature)
        thresholds[own], minimum[own] = fitted.threshold, fitted.minimum_score
    outcomes = np.where(scores.max(axis=1) < minimum, "abstained", "answered")
    labels = tuple(CLASSES[k] for k in answers(scores, thresholds).tolist())
    given = tuple(outcomes.tolist())
    return Scored(tuple(records), scores, given, labels, refusal_checked=False), thresholds


def records_of(out_of_fold: OutOfFold, dataset: Dataset) -> tuple[Record, ...]:
    """The records that out-of-fold logits belong to, in their order.

    Raises :class:`DatasetError` when the data lacks one, has other labels, or one is there twice.
    """
    known = {(r.file, r.sha256): r for r in dataset.records}
    keys = list(zip(out_of_fold.files, out_of_fold.sha256, strict=True))
    missing = [file for file, digest in keys if (file, digest) not in known]
    if missing:
        raise DatasetError(
            f"{len(missing)} pictures with out-of-fold scores are not in {dataset.root}, "
            f"such as {missing[0]}"
        )
    if len(set(keys)) < len(keys):
        raise DatasetError("a picture has two out-of-fold scores")
    records = tuple(known[key] for key in keys)
    if [r.target for r in records] != out_of_fold.targets.tolist():
        raise DatasetError(f"the classes of the out-of-fold scores are not those of {dataset.root}")
    return records
