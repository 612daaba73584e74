"""Limits declared before a training, and whether the candidate that came of it meets them.

A predetermined plan (FDA, "Predetermined Change Control Plans for machine learning-enabled medical
devices: guiding principles", 2023) names the metrics, the bounds and the least evidence. Here it
is judged on the answers of the candidate, and where a limit asks for it of the active model, to
the same locked pictures. Whole patients are drawn, the same ones for both models, so that the
interval of a difference is a paired one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

import numpy as np
import numpy.typing as npt

from ml.calibrate import Floats, Indices
from ml.config import MALIGNANT
from ml.errors import GatePlanError
from ml.intervals import group_weights_of_draws
from ml.metrics import Bools, Rounds, Sample, ratio

Verdict = Literal["passed", "failed", "insufficient_evidence"]
Against = Literal["absolute", "active"]
By = Literal["interval", "value"]

BETTER_BELOW: Final = frozenset({"brier", "ece"})
"""Metrics of which less is better; of all others more is."""
METRICS: Final = (
    "accuracy",
    "macro_f1",
    "auc_malignant",
    "auc_macro",
    "specificity_at_95_sensitivity",
    "brier",
    "ece",
    "sensitivity",
    "specificity",
    "coverage",
)
"""What a limit can be about. ``coverage`` is the share of pictures that were answered.
``sensitivity`` and ``specificity`` are those of the labels people see, or with abstained and
refused pictures counted as called malignant, whichever is lower: abstaining can buy neither."""
ROUNDS: Final = 2000
_PERCENTILES: Final = (2.5, 97.5)


@dataclass(frozen=True)
class Limit:
    """One bound on one metric.

    ``against`` "absolute": the candidate's figure is held to ``bound`` (0 to 1). "active": the
    difference, candidate less active model, is (-1 to 1; -0.02 allows a loss of 0.02). ``by``
    "interval" holds the unfavourable end of the 95 % interval to it, "value" the figure itself.
    ``source`` looks at the pictures of one source only.
    """

    metric: str
    bound: float
    against: Against = "absolute"
    by: By = "interval"
    source: str | None = None

    @classmethod
    def from_dict(cls, data: object) -> Limit:
        """Check and read one limit of a plan. Raises ``GatePlanError``."""
        if not isinstance(data, Mapping):
            raise GatePlanError("a limit is an object with metric and bound")
        known = {"metric", "bound", "against", "by", "source"}
        if unknown := sorted(set(data) - known):
            raise GatePlanError(f"a limit has no {unknown[0]!r}")
        metric, bound = data.get("metric"), data.get("bound")
        against, by = data.get("against", "absolute"), data.get("by", "interval")
        source = data.get("source")
        if metric not in METRICS:
            raise GatePlanError(f"unknown metric {metric!r}; known: {', '.join(METRICS)}")
        if against not in get_args(Against) or by not in get_args(By):
            raise GatePlanError("against is absolute or active, by is interval or value")
        lowest = -1.0 if against == "active" else 0.0
        if (
            isinstance(bound, bool)
            or not isinstance(bound, int | float)
            or not lowest <= float(bound) <= 1.0
        ):
            raise GatePlanError(f"the bound of {metric} is a number from {lowest:g} to 1")
        if source is not None and (not isinstance(source, str) or not source):
            raise GatePlanError("source is a name, or left out")
        return cls(str(metric), float(bound), against, by, source)

    def to_dict(self) -> dict[str, Any]:
        return {
            "metric": self.metric,
            "bound": self.bound,
            "against": self.against,
            "by": self.by,
            "source": self.source,
        }


@dataclass(frozen=True)
class GatePlan:
    """What was declared before the run: limits, the least evidence, and how it is judged.

    ``minimum_malignant_patients`` (groups with a malignant picture) below which nothing is judged;
    ``rounds`` and ``seed`` of the bootstrap are part of the plan, so the verdict can be repeated.
    """

    limits: tuple[Limit, ...]
    minimum_malignant_patients: int
    rounds: int = ROUNDS
    seed: int = 0

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> GatePlan:
        """Check and read a plan's own keys; others (who may approve) are not the gate's.

        Raises ``GatePlanError``.
        """
        limits = data.get("limits")
        if not isinstance(limits, Sequence) or isinstance(limits, str) or not limits:
            raise GatePlanError("a plan needs at least one limit")
        numbers = {
            "minimum_malignant_patients": data.get("minimum_malignant_patients"),
            "rounds": data.get("rounds", ROUNDS),
            "seed": data.get("seed", 0),
        }
        for name, value in numbers.items():
            least = 0 if name == "seed" else 1
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise GatePlanError(f"{name} is a whole number of at least {least}")
        return cls(tuple(Limit.from_dict(one) for one in limits), **numbers)

    def to_dict(self) -> dict[str, Any]:
        return {
            "limits": [limit.to_dict() for limit in self.limits],
            "minimum_malignant_patients": self.minimum_malignant_patients,
            "rounds": self.rounds,
            "seed": self.seed,
        }


def plan_sha256(plan: Mapping[str, Any]) -> str:
    """Hash of a whole plan document: of its JSON with sorted keys and no blanks."""
    text = json.dumps(plan, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class LockedSet:
    """Pictures nobody trained on: classes int64 N, patients int64 N, sources by name, N."""

    targets: Indices
    patients: Indices
    sources: tuple[str, ...]

    @property
    def malignant_patients(self) -> int:
        """Patients (or groups of alike pictures) with a malignant picture."""
        return len(np.unique(self.patients[self.targets == MALIGNANT]))

    def of(self, source: str | None) -> Bools:
        """Which pictures are of a source; all where None: bool N."""
        if source is None:
            return np.ones(len(self.targets), dtype=np.bool_)
        return np.array([name == source for name in self.sources], dtype=np.bool_)


@dataclass(frozen=True)
class Answers:
    """One model's answers to a locked set, in its order.

    ``scores`` calibrated float64 N x 3, ``threshold`` of the operating point, ``answered`` bool N
    (false: abstained or refused).
    """

    scores: Floats
    threshold: float
    answered: Bools

    def figures(self, locked: LockedSet, chosen: Bools, weights: Floats) -> Rounds:
        """Each of ``METRICS`` once for each row of ``weights`` (R x M, of the ``chosen`` M)."""
        targets, scores = locked.targets[chosen], self.scores[chosen]
        threshold = np.full(len(targets), self.threshold)
        sample = Sample(targets, scores, threshold)
        found = sample.figures(weights)
        answered = self.answered[chosen].astype(np.float64)
        called = np.where(self.answered[chosen], sample.answered == MALIGNANT, True)
        malignant = sample.malignant
        found["coverage"] = _share(weights, answered)
        caught = _share(weights[:, malignant], called[malignant])
        let_go = _share(weights[:, ~malignant], ~called[~malignant])
        found["sensitivity"] = np.fmin(found["sensitivity"], caught)
        found["specificity"] = np.fmin(found["specificity"], let_go)
        return {name: found[name] for name in METRICS}


def _share(weights: Floats, true: npt.NDArray[Any]) -> Floats:
    """Weighted share of ``true`` (M) for each row of weights R x M; NaN without weight."""
    return ratio(weights @ true, weights.sum(axis=1))


def drawn_weights(plan: GatePlan, locked: LockedSet, chosen: Bools) -> Floats:
    """How often each of the ``chosen`` (bool N, M of them) counts: float64 (rounds + 1) x M.

    The first row weighs every picture once: its figure is the figure itself. The others draw whole
    patients, by the plan's seed: always the same ones, so that intervals of differences are paired.
    """
    rng = np.random.default_rng(plan.seed)
    drawn = group_weights_of_draws(locked.patients[chosen], plan.rounds, rng)
    return np.vstack([np.ones((1, drawn.shape[1])), drawn])


def judge(
    plan: GatePlan, locked: LockedSet, candidate: Answers, active: Answers | None = None
) -> dict[str, Any]:
    """The verdict on a candidate, JSON-ready: its ``state``, and each limit with its figures.

    ``passed`` when every limit holds; ``insufficient_evidence`` when the locked set has fewer
    malignant patients than declared, or a limit cannot be measured (no pictures of its source, no
    active model to compare with), whatever the others say; else ``failed``. Raises
    ``GatePlanError`` for an empty locked set.
    """
    if len(locked.targets) == 0:
        raise GatePlanError("the locked set is empty")
    rows: list[dict[str, Any]] = []
    measured: dict[str | None, tuple[Rounds, Rounds | None]] = {}
    for limit in plan.limits:
        chosen = locked.of(limit.source)
        if not chosen.any():
            rows.append(_unmeasured(limit, f"no picture of the locked set is from {limit.source}"))
            continue
        if limit.source not in measured:
            weights = drawn_weights(plan, locked, chosen)
            measured[limit.source] = (
                candidate.figures(locked, chosen, weights),
                active.figures(locked, chosen, weights) if active else None,
            )
        rows.append(_row(limit, *measured[limit.source]))
    patients = locked.malignant_patients
    enough = patients >= plan.minimum_malignant_patients
    state: Verdict = "passed" if all(row["passed"] for row in rows) else "failed"
    if not enough or any(row["value"] is None for row in rows):
        state = "insufficient_evidence"
    return {
        "state": state,
        "n": len(locked.targets),
        "patients": len(np.unique(locked.patients)),
        "malignant_patients": patients,
        "minimum_malignant_patients": plan.minimum_malignant_patients,
        "limits": rows,
    }


def _row(limit: Limit, ours: Rounds, theirs: Rounds | None) -> dict[str, Any]:
    """One limit with what was measured: figures R + 1 long, the first the figure itself."""
    value, interval = value_with_interval(ours[limit.metric])
    row = {**_unmeasured(limit, ""), "value": value, "interval": interval}
    if value is None or interval is None:
        return _unmeasured(limit, f"{limit.metric} is not defined on these pictures")
    judged, spread = value, interval
    if limit.against == "active":
        if theirs is None:
            return _unmeasured(limit, "there was no active model to compare with")
        row["active_value"] = value_with_interval(theirs[limit.metric])[0]
        difference, paired = value_with_interval(ours[limit.metric] - theirs[limit.metric])
        if difference is None or paired is None:
            return _unmeasured(limit, f"{limit.metric} is not defined for the active model")
        row |= {"difference": difference, "difference_interval": paired}
        judged, spread = difference, paired
    below = limit.metric in BETTER_BELOW
    end = spread[1 if below else 0] if limit.by == "interval" else judged
    row["judged"] = end
    row["passed"] = bool(end <= limit.bound if below else end >= limit.bound)
    return row


def _unmeasured(limit: Limit, why: str) -> dict[str, Any]:
    names = ("value", "interval", "active_value", "difference", "difference_interval", "judged")
    return {"limit": limit.to_dict(), **dict.fromkeys(names), "passed": False, "why": why}


def value_with_interval(rounds: Floats) -> tuple[float | None, list[float] | None]:
    """Of R + 1 figures the first one, and the 95 % percentile interval of the others.

    Draws in which it is undefined do not count.
    """
    drawn = rounds[1:][~np.isnan(rounds[1:])]
    if np.isnan(rounds[0]) or not len(drawn):
        return None, None
    return float(rounds[0]), [float(v) for v in np.percentile(drawn, _PERCENTILES)]
