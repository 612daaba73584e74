"""Gate plans and verdicts in words: limits, figures with intervals, passed or why not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.utils.translation import gettext

from cases.models import GateVerdict, LockedSetUse
from cases.portal.lazily import lazy as _
from cases.portal.lazily import pgettext_lazy
from cases.portal.wording import StateWords
from cases.templatetags.said import said_inside
from cases.vocabulary import BETTER_BELOW, GateMetric, LimitAgainst, LimitBy
from cases.words import local

METRICS: dict[str, str] = {
    GateMetric.ACCURACY: _("Accuracy"),
    GateMetric.MACRO_F1: _("Macro F1"),
    GateMetric.AUC_MALIGNANT: _("AUC, malignant against others"),
    GateMetric.AUC_MACRO: _("AUC, mean of the classes"),
    # xgettext:no-python-format
    GateMetric.SPECIFICITY_AT_95_SENSITIVITY: _("Specificity at 95 % sensitivity"),
    GateMetric.BRIER: _("Brier score"),
    GateMetric.ECE: _("Expected calibration error"),
    GateMetric.SENSITIVITY: _("Sensitivity"),
    GateMetric.SPECIFICITY: _("Specificity"),
    GateMetric.COVERAGE: _("Coverage (share answered)"),
}
VERDICTS: dict[str, StateWords] = {
    "passed": StateWords("done", "good", _("Every limit of the plan holds."), ""),
    "failed": StateWords(
        "alert", "alert", _("A limit of the plan does not hold. The model cannot be promoted."), ""
    ),
    "insufficient_evidence": StateWords(
        "question",
        "caution",
        _("The locked set shows too little to judge by. The model cannot be promoted."),
        "",
    ),
}
VERDICT_LABELS = {
    "passed": _("Passed"),
    "failed": pgettext_lazy("gate", "Failed"),
    "insufficient_evidence": _("Insufficient evidence"),
}
# By whether it is a difference to the live model, whether an end of the interval is judged, and
# whether less is better.
_DEMANDS = {
    (False, False, False): _("Figure: at least %(bound)s"),
    (False, False, True): _("Figure: at most %(bound)s"),
    (True, False, False): _("Difference to the live model: at least %(bound)s"),
    (True, False, True): _("Difference to the live model: at most %(bound)s"),
    (False, True, False): _("Lower end of the 95 %% interval of the figure: at least %(bound)s"),
    (False, True, True): _("Upper end of the 95 %% interval of the figure: at most %(bound)s"),
    (True, True, False): _(
        "Lower end of the 95 %% interval of the difference to the live model: at least %(bound)s"
    ),
    (True, True, True): _(
        "Upper end of the 95 %% interval of the difference to the live model: at most %(bound)s"
    ),
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
    return local(f"{value:.3f}".replace("-", "\N{MINUS SIGN}"))


def bound_text(value: float) -> str:
    return local(f"{value:.4f}".rstrip("0").rstrip(".").replace("-", "\N{MINUS SIGN}"))


def limit_words(limit: Mapping[str, Any]) -> LimitWords:
    """ "Lower end of the 95 % interval at least 0.9"."""
    below = limit["metric"] in BETTER_BELOW
    bound = float(limit["bound"])
    return LimitWords(
        METRICS.get(limit["metric"], limit["metric"]),
        limit["source"] or "",
        _DEMANDS[limit["against"] == LimitAgainst.ACTIVE, limit["by"] == LimitBy.INTERVAL, below]
        % {"bound": bound_text(bound)},
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
        why = gettext(str(row.get("why") or "It could not be measured"))
        return JudgedLimit(
            words, "", "", "", UNMEASURED, gettext("Not measured"), f"{why[:1].upper()}{why[1:]}."
        )
    holds = bool(row["passed"])
    difference = theirs = ""
    if row.get("difference") is not None:
        difference = _with_interval(row["difference"], row["difference_interval"])
        theirs = "" if row.get("active_value") is None else number(row["active_value"])
    judged = "" if holds else gettext("%(figure)s was judged.") % {"figure": number(row["judged"])}
    return JudgedLimit(
        words,
        _with_interval(row["value"], row["interval"]),
        difference,
        theirs,
        HOLDS if holds else MISSED,
        gettext("Holds") if holds else gettext("Does not hold"),
        judged,
    )


def _with_interval(value: float, interval: Sequence[float]) -> str:
    ends = {"low": number(interval[0]), "high": number(interval[1])}
    return f"{number(value)} ({gettext('%(low)s to %(high)s') % ends})"


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
    word, icon = gettext("changed"), "next"
    if now == truth:
        word, icon = gettext("now right"), "done"
    elif before == truth:
        word, icon = gettext("now wrong"), "alert"
    return ChangedAnswer(
        row["sha256"], said_inside(truth), said_inside(before), _malignant(row["active"]),
        said_inside(now), _malignant(row["candidate"]), word, icon, str(row.get("source") or ""),
    )  # fmt: skip


def _malignant(said: Mapping[str, Any]) -> str:
    score = (said.get("scores") or {}).get("malignant")
    return "" if score is None else local(f"{score:.3f}")
