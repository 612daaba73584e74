"""Two models beside each other on a locked set, as numbers: figures, confusion matrices, curves.

What `ml.gate` writes into its report beside the verdict. The verdict is about the limits of the
plan alone; this is about every figure, so that a person sees what the limits did not ask.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from ml.calibrate import Floats, Indices
from ml.config import CLASSES, MALIGNANT
from ml.limits import METRICS, Answers, GatePlan, LockedSet, drawn_weights, value_with_interval
from ml.metrics import BINS, Bools, Ranking, bin_of
from ml.scored import Scored

CANDIDATE: Final = "candidate"
ACTIVE: Final = "active"
WITHOUT_LABEL: Final = ("abstained", "refused")
COLUMNS: Final = (*CLASSES, *WITHOUT_LABEL)
"""What a picture can be answered with, in the order of the confusion matrices' columns."""
SENSITIVITIES: Final = (0.8, 0.85, 0.9, 0.95, 0.98, 1.0)
THRESHOLDS: Final = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)


def compare(
    plan: GatePlan, locked: LockedSet, answers: Mapping[str, Answers], said: Mapping[str, Scored]
) -> dict[str, Any]:
    """``answers`` and ``said`` of the candidate and, where there is one, the active model.

    JSON-ready: ``parts`` (all pictures, then each source where there are several) with every
    metric, its 95 % interval and the paired interval of the difference; ``confusions`` of the
    answers people see; and the numbers beside each curve. Figures of a part that has no malignant
    picture, or nothing else, are None where they need both.
    """
    names = sorted(set(locked.sources))
    sources: list[str | None] = [None, *(names if len(names) > 1 else [])]
    return {
        "columns": list(COLUMNS),
        "parts": [_part(plan, locked, answers, source) for source in sources],
        "confusions": {who: confusion(scored) for who, scored in said.items()},
        "curves": _curves(locked.targets, answers),
    }


def _part(
    plan: GatePlan, locked: LockedSet, answers: Mapping[str, Answers], source: str | None
) -> dict[str, Any]:
    chosen = locked.of(source)
    weights = drawn_weights(plan, locked, chosen)
    rounds = {who: one.figures(locked, chosen, weights) for who, one in answers.items()}
    patients, targets = locked.patients[chosen], locked.targets[chosen]
    rows = []
    for metric in METRICS:
        row: dict[str, Any] = {"metric": metric}
        for who, found in rounds.items():
            row[who] = _stated(found[metric])
        if ACTIVE in rounds:
            row["difference"] = _stated(rounds[CANDIDATE][metric] - rounds[ACTIVE][metric])
        rows.append(row)
    return {
        "source": source,
        "n": len(targets),
        "patients": len(np.unique(patients)),
        "malignant_patients": len(np.unique(patients[targets == MALIGNANT])),
        "figures": rows,
    }


def _stated(rounds: Floats) -> dict[str, Any]:
    value, interval = value_with_interval(rounds)
    return {"value": value, "interval": interval}


def confusion(scored: Scored) -> list[list[int]]:
    """Counts of the answers people see: rows truth by class, columns ``COLUMNS``."""
    counts = np.zeros((len(CLASSES), len(COLUMNS)), dtype=np.int64)
    rows = zip(scored.targets.tolist(), scored.outcomes, scored.labels, strict=True)
    for target, outcome, label in rows:
        column = outcome if outcome in WITHOUT_LABEL else label
        assert column is not None
        counts[target, COLUMNS.index(column)] += 1
    table: list[list[int]] = counts.tolist()
    return table


def _curves(targets: Indices, answers: Mapping[str, Answers]) -> dict[str, Any]:
    """The numbers beside the curves, for each model. Every picture counts by its score."""
    positive: Bools = targets == MALIGNANT
    found: dict[str, Any] = {
        "share_malignant": float(positive.mean()),
        "reliability": {who: _bins(positive, _score(one)) for who, one in answers.items()},
    }
    if positive.any() and not positive.all():
        found["at_sensitivity"] = {
            who: _at_sensitivities(positive, _score(one)) for who, one in answers.items()
        }
        found["at_threshold"] = {
            who: _at_thresholds(positive, _score(one), one.threshold)
            for who, one in answers.items()
        }
    return found


def _score(answers: Answers) -> Floats:
    return np.asarray(answers.scores[:, MALIGNANT])


def _at_sensitivities(positive: Bools, score: Floats) -> list[dict[str, float]]:
    """What a model does at the highest threshold that reaches each sensitivity."""
    ranking = Ranking(positive, score)
    caught, alarms = ranking.caught[0], ranking.alarms[0]
    rows = []
    for wanted in SENSITIVITIES:
        at = int(ranking.position(wanted)[0])
        rows.append(
            {
                "wanted": wanted,
                "sensitivity": float(caught[at] / caught[-1]),
                "specificity": float(1 - alarms[at] / alarms[-1]),
                "precision": float(caught[at] / (caught[at] + alarms[at])),
                "threshold": float(ranking.values[at]),
            }
        )
    return rows


def _at_thresholds(positive: Bools, score: Floats, own: float) -> list[dict[str, Any]]:
    """Sensitivity and specificity at round thresholds and at the model's operating point."""
    rows = []
    for threshold in sorted({*THRESHOLDS, own}):
        called = score >= threshold
        rows.append(
            {
                "threshold": threshold,
                "own": threshold == own,
                "sensitivity": float(called[positive].mean()),
                "specificity": float((~called[~positive]).mean()),
            }
        )
    return rows


def _bins(positive: Bools, score: Floats) -> list[dict[str, Any]]:
    """The calibration bins that hold pictures: from, to, pictures, mean score, malignant share."""
    bins = bin_of(score)
    rows = []
    for number in range(BINS):
        own = bins == number
        if own.any():
            rows.append(
                {
                    "from": number / BINS,
                    "to": (number + 1) / BINS,
                    "n": int(own.sum()),
                    "score": float(score[own].mean()),
                    "malignant": float(positive[own].mean()),
                }
            )
    return rows
