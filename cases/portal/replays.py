"""What became of computing an answer again, in sentences that show no more than the answer does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cases.models import Job, Result
from cases.states import JOB, JobState
from cases.vocabulary import Outcome

STANDS = "The stored answer stands; tell whoever runs the service."
# Where there is no answer its scores are not shown: they would be taken for one.
HIDDEN = "The scores behind it came out otherwise"
NAMES = {
    "outcome": "Outcome",
    "label": "Label",
    "score_benign": "Score for benign",
    "score_malignant": "Score for malignant",
    "score_normal": "Score for normal",
    "reason_code": "Reason",
    "preprocessing": "Preprocessing",
    "threshold": "Threshold",
    "sensitivity": "Sensitivity",
    "temperature": "Temperature",
    "minimum_score": "Smallest score for an answer",
    "picture": "Size of the picture",
    "content": "Part of the picture",
    "fit": "Fit",
    "size": "Size of the input",
    "heatmap": "Heatmap",
    "heatmap_box": "Area of the heatmap",
    "heatmap_shape": "Size of the heatmap",
}
# Sizes are told as "500 × 470", edges with commas.
_SIZES = ("picture", "heatmap_shape")
_NEWS = {
    JobState.FAILED: "could not be computed again",
    JobState.CANCELLED: "not computed again, cancelled",
}


@dataclass(frozen=True)
class ReplayWords:
    """The newest replay of an answer. ``found`` (equal, different) is "" before its end, and
    ``words`` say where it stands or what differs."""

    job: Job
    found: str
    words: str

    @property
    def is_active(self) -> bool:
        return JobState(self.job.state) in JOB.active

    @property
    def at(self) -> datetime | None:
        return self.job.finished_at if self.found else None

    @property
    def news(self) -> str:
        """Its end in a line that is read aloud."""
        return f"computed again, {self.found}" if self.found else _NEWS[JobState(self.job.state)]


def replay_words(job: Job, result: Result) -> ReplayWords:
    """How ``job``, a replay of ``result``, stands on its answer's card."""
    state = JobState(job.state)
    if state is JobState.SUCCEEDED:
        replay = job.replay
        if replay.equal:
            return ReplayWords(job, "equal", "")
        told = "; ".join(_sentences(result, replay.differences))
        return ReplayWords(job, "different", f"{told}. {STANDS}")
    words = {
        JobState.PENDING: "waiting for a worker",
        JobState.RUNNING: "being computed now",
        JobState.CANCELLED: "cancelled",
    }
    return ReplayWords(job, "", words.get(state) or f"not possible: {job.error_detail}")


def _sentences(result: Result, differences: list[dict[str, Any]]) -> Iterator[str]:
    """ "Threshold: stored 0.400, now 0.410", one for each difference that may be shown."""
    # Without a difference the outcome is the stored one.
    outcomes = {result.outcome}
    outcomes |= {found["now"] for found in differences if found["what"] == "outcome"}
    hidden = False
    for found in differences:
        what = str(found["what"])
        if outcomes != {Outcome.ANSWERED.value} and _is_answer(what):
            hidden = True
            continue
        yield _sentence(what, found)
    if hidden and len(outcomes) == 1:
        yield HIDDEN


def _is_answer(what: str) -> bool:
    return what in ("label", "heatmap") or what.startswith("score_")


def _sentence(what: str, found: Mapping[str, Any]) -> str:
    stored, now = found["stored"], found["now"]
    for digits in range(3, 10):
        then, here = _value(what, stored, digits), _value(what, now, digits)
        # Three digits, unless they would say that nothing differs.
        if then != here:
            break
    name = NAMES.get(what, what.replace("_", " ").capitalize())
    return f"{name}: stored {then}, now {here}"


def _value(what: str, value: object, digits: int) -> str:
    if value is None or value in ("", []):
        return "none"
    if isinstance(value, float):
        return f"{value:.{digits}f}"
    if isinstance(value, list):
        between = " × " if what in _SIZES else ", "
        return between.join(_value(what, item, digits) for item in value)
    return str(value)
