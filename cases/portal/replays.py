"""What became of computing an answer again, in sentences that show no more than the answer does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils.translation import gettext
from django.utils.translation import gettext_noop as _

from cases.models import Job, Result
from cases.states import JOB, JobState
from cases.told import told
from cases.vocabulary import Outcome
from cases.words import Words, local

STANDS = _("The stored answer stands; tell whoever runs the service.")
# Where there is no answer its scores are not shown: they would be taken for one.
HIDDEN = _("The scores behind it came out otherwise")
NAMES = Words(
    {
        "outcome": _("Outcome"),
        "label": _("Label"),
        "score_benign": _("Score for benign"),
        "score_malignant": _("Score for malignant"),
        "score_normal": _("Score for normal"),
        "reason_code": _("Reason"),
        "preprocessing": _("Preprocessing"),
        "threshold": _("Threshold"),
        "sensitivity": _("Sensitivity"),
        "temperature": _("Temperature"),
        "minimum_score": _("Smallest score for an answer"),
        "picture": _("Size of the image"),
        "content": _("Part of the image"),
        "fit": _("Fit"),
        "size": _("Size of the input"),
        "heatmap": _("Heatmap"),
        "heatmap_box": _("Area of the heatmap"),
        "heatmap_shape": _("Size of the heatmap"),
    }
)
# Sizes are told as "500 × 470", edges with commas.
_SIZES = ("picture", "heatmap_shape")
_NEWS = Words(
    {
        JobState.FAILED: _("could not be computed again"),
        JobState.CANCELLED: _("not computed again, cancelled"),
    }
)


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
        return (
            gettext("computed again, {found}").format(found=self.found)
            if self.found
            else _NEWS[JobState(self.job.state)]
        )


def replay_words(job: Job, result: Result) -> ReplayWords:
    """How ``job``, a replay of ``result``, stands on its answer's card."""
    state = JobState(job.state)
    if state is JobState.SUCCEEDED:
        replay = job.replay
        if replay.equal:
            return ReplayWords(job, gettext("equal"), "")
        differences = "; ".join(_sentences(result, replay.differences))
        return ReplayWords(job, gettext("different"), f"{differences}. {gettext(STANDS)}")
    words = {
        JobState.PENDING: gettext("waiting for a worker"),
        JobState.RUNNING: gettext("being computed now"),
        JobState.CANCELLED: gettext("cancelled"),
    }
    return ReplayWords(
        job,
        "",
        words.get(state)
        or gettext("not possible: {error_detail}").format(error_detail=told(job.error_detail)),
    )


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
        yield gettext(HIDDEN)


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
    return gettext("{name}: stored {then}, now {here}").format(name=name, then=then, here=here)


def _value(what: str, value: object, digits: int) -> str:
    if value is None or value in ("", []):
        return gettext("none")
    if isinstance(value, float):
        return local(f"{value:.{digits}f}")
    if isinstance(value, list):
        between = " × " if what in _SIZES else ", "
        return between.join(_value(what, item, digits) for item in value)
    return str(value)
