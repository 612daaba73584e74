"""Gate plans and verdicts in words: limits, figures with intervals, passed or why not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from cases.models import GateVerdict, LockedSetUse
from cases.portal.wording import StateWords
from cases.vocabulary import BETTER_BELOW, GateMetric, LimitAgainst, LimitBy

METRICS: dict[str, str] = {
    GateMetric.ACCURACY: "Accuracy",
    GateMetric.MACRO_F1: "Macro F1",
    GateMetric.AUC_MALIGNANT: "AUC, malignant against others",
    GateMetric.AUC_MACRO: "AUC, mean of the classes",
    GateMetric.SPECIFICITY_AT_95_SENSITIVITY: "Specificity at 95 % sensitivity",
    GateMetric.BRIER: "Brier score",
    GateMetric.ECE: "Expected calibration error",
    GateMetric.SENSITIVITY: "Sensitivity",
    GateMetric.SPECIFICITY: "Specificity",
    GateMetric.COVERAGE: "Coverage (share answered)",
}
VERDICTS: dict[str, StateWords] = {
    "passed": StateWords("done", "good", "Every limit of the plan holds.", ""),
    "failed": StateWords(
        "alert", "alert", "A limit of the plan does not hold. The model cannot be promoted.", ""
    ),
    "insufficient_evidence": StateWords(
        "question",
        "caution",
        "The locked set shows too little to judge by. The model cannot be promoted.",
        "",
    ),
}
VERDICT_LABELS = {
    "passed": "Passed",
    "failed": "Failed",
    "insufficient_evidence": "Insufficient evidence",
}
HOLDS = StateWords("done", "good", "", "")
MISSED = StateWords("alert", "alert", "", "")
UNMEASURED = StateWords("question", "caution", "", "")


@dataclass(frozen=True)
class LimitWords:
    """A limit as people read it."""

    metric: str
    source: str
    demand: str


def number(value: float) -> str:
    """A figure with three digits, a minus that is one."""
    return f"{value:.3f}".replace("-", "\N{MINUS SIGN}")


def bound_text(value: float) -> str:
    return f"{value:.4f}".rstrip("0").rstrip(".").replace("-", "\N{MINUS SIGN}")


def limit_words(limit: Mapping[str, Any]) -> LimitWords:
    """ "Lower end of the 95 % interval at least 0.9"."""
    below = limit["metric"] in BETTER_BELOW
    bound = float(limit["bound"])
    what = "figure"
    if limit["against"] == LimitAgainst.ACTIVE:
        what = "difference to the live model"
    if limit["by"] == LimitBy.INTERVAL:
        end = "upper" if below else "lower"
        what = f"{end} end of the 95 % interval of the {what}"
    most = "at most" if below else "at least"
    return LimitWords(
        METRICS.get(limit["metric"], limit["metric"]),
        limit["source"] or "",
        f"{what[:1].upper()}{what[1:]}: {most} {bound_text(bound)}",
    )


@dataclass(frozen=True)
class JudgedLimit:
    """A limit with what was measured."""

    words: LimitWords
    figure: str
    difference: str
    # The live model's figure of then, where the limit is against it.
    theirs: str
    state: StateWords
    label: str
    why: str


def judged_limits(rows: Sequence[Mapping[str, Any]]) -> list[JudgedLimit]:
    """The rows of a verdict; none for a verdict that came with other rows than the gate's."""
    return [_judged(row) for row in rows if isinstance(row.get("limit"), Mapping)]


def _judged(row: Mapping[str, Any]) -> JudgedLimit:
    words = limit_words(row["limit"])
    if row.get("value") is None:
        why = str(row.get("why") or "It could not be measured")
        return JudgedLimit(
            words, "", "", "", UNMEASURED, "Not measured", f"{why[:1].upper()}{why[1:]}."
        )
    holds = bool(row["passed"])
    difference = theirs = ""
    if row.get("difference") is not None:
        difference = _with_interval(row["difference"], row["difference_interval"])
        theirs = "" if row.get("active_value") is None else number(row["active_value"])
    judged = "" if holds else f"{number(row['judged'])} was judged."
    return JudgedLimit(
        words,
        _with_interval(row["value"], row["interval"]),
        difference,
        theirs,
        HOLDS if holds else MISSED,
        "Holds" if holds else "Does not hold",
        judged,
    )


def _with_interval(value: float, interval: Sequence[float]) -> str:
    return f"{number(value)} ({number(interval[0])} to {number(interval[1])})"


@dataclass(frozen=True)
class VerdictView:
    """A verdict as pages show it."""

    state: StateWords
    label: str
    plan_sha256: str
    at: Any
    limits: list[JudgedLimit]
    # What other gates wrote, as it is.
    raw: list[Mapping[str, Any]]
    use: LockedSetUse | None
    approvers: tuple[str, ...]
    # Whether the plan is the reader's own site's, and its page opens for them.
    own_plan: bool

    @property
    def facts(self) -> Mapping[str, Any]:
        return self.use.facts if self.use else {}

    @property
    def compared_with(self) -> Mapping[str, Any] | None:
        """The model that was live then: version, and how many locked pictures it had seen."""
        active: Mapping[str, Any] | None = self.facts.get("models", {}).get("active")
        return active


def verdict_view(
    gate: GateVerdict | None, use: LockedSetUse | None, *, site_id: UUID | None
) -> VerdictView | None:
    """A verdict for a reader of the site; None where there is none."""
    if gate is None:
        return None
    limits = judged_limits(gate.limits)
    return VerdictView(
        VERDICTS[gate.state],
        VERDICT_LABELS[gate.state],
        gate.plan_sha256,
        gate.created_at,
        limits,
        [] if limits else gate.limits,
        use,
        tuple(use.plan.document["approvers"]) if use else (),
        use is not None and use.plan.site_id == site_id,
    )


@dataclass(frozen=True)
class ChangedAnswer:
    """A locked picture of which two models say different things."""

    sha256: str
    truth: str
    before: str
    before_score: str
    now: str
    now_score: str
    # Whether the change is towards the truth, away from it, or neither.
    word: str
    icon: str
    # "" in reports that did not note it yet.
    source: str = ""


def changed_answers(report: Mapping[str, Any]) -> list[ChangedAnswer]:
    """Where the candidate's answer is not that of the model that was live, in the set's order."""
    return [
        _changed(row)
        for row in report["pictures"]
        if "active" in row and _answer(row["active"]) != _answer(row["candidate"])
    ]


def _answer(said: Mapping[str, Any]) -> str:
    """The label, where one was shown; else why there was none."""
    return str(said["label"] if said["outcome"] == "answered" else said["outcome"])


def _changed(row: Mapping[str, Any]) -> ChangedAnswer:
    truth, before, now = row["truth"], _answer(row["active"]), _answer(row["candidate"])
    word, icon = "changed", "next"
    if now == truth:
        word, icon = "now right", "done"
    elif before == truth:
        word, icon = "now wrong", "alert"
    return ChangedAnswer(
        row["sha256"], truth, before, _malignant(row["active"]), now, _malignant(row["candidate"]),
        word, icon, str(row.get("source") or ""),
    )  # fmt: skip


def _malignant(said: Mapping[str, Any]) -> str:
    score = (said.get("scores") or {}).get("malignant")
    return "" if score is None else f"{score:.3f}"
