"""Results in the words people read and the JSON systems read. Pure functions.

Wording rules: "model score", never "probability of cancer"; "no lesion pattern in this image",
never "normal breast"; an abstained or refused image is never a negative answer; no score becomes
a BI-RADS category; a person decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_noop as _

from cases.models import Case, Image, Job, Result, ResultWithdrawal
from cases.states import JOB, JobState
from cases.told import told
from cases.vocabulary import Label, Outcome, Priority, PriorityRank
from cases.words import Words, within
from cases.worklisting import WorkAnswer, WorkState

RESEARCH_NOTE = _("Research software, not a medical device. The model advises; a person decides.")


def withdrawal_of(result: Result) -> ResultWithdrawal | None:
    """The withdrawal of an answer that must not be used; None for one that stands."""
    return getattr(result, "withdrawal", None)


def withdrawn_json(result: Result) -> dict[str, Any] | None:
    withdrawal = withdrawal_of(result)
    if withdrawal is None:
        return None
    return {"at": withdrawal.at, "reason": withdrawal.reason or None}


def result_json(result: Result, *, heatmap_url: str | None) -> dict[str, Any]:
    """The contract's `result` object."""
    model = result.model_version
    return {
        "id": str(result.pk),
        "outcome": result.outcome,
        "reason": result.reason or None,
        "label": result.label or None,
        "probabilities": result.probabilities,
        "operating_point": {"threshold": result.threshold, "sensitivity": result.sensitivity},
        "frame": result.frame,
        "heatmap_url": heatmap_url if result.heatmap else None,
        "model": {"id": str(model.pk), "version": model.version, "sha256": model.sha256},
        "engine": result.engine,
        "preprocessing": result.preprocessing,
        "duration_ms": result.duration_ms,
        "withdrawn": withdrawn_json(result),
        "research_use_only": True,
    }


def above_threshold(result: Result) -> bool:
    """Whether the malignant score reaches the operating point (whatever the outcome was)."""
    return result.score_malignant is not None and result.score_malignant >= result.threshold


def headline(result: Result) -> str:
    """The first sentence of an answer. It follows the operating point, not the largest score."""
    if result.outcome != Outcome.ANSWERED:
        return gettext("No answer: {why}").format(why=within(why_none(result)))
    if result.label == Label.MALIGNANT:
        return gettext("The model scores this image above its malignant threshold.")
    if result.label == Label.NORMAL:
        return gettext(
            "The model finds no lesion pattern in this image; its malignant score is below "
            "the threshold."
        )
    return gettext(
        "The model sees a benign lesion pattern in this image; its malignant score is below "
        "the threshold."
    )


def why_none(result: Result) -> str:
    """Why there is no answer: a sentence for places that say already that there is none."""
    refused = result.outcome == Outcome.REFUSED
    default = (
        gettext("The image was not read by the model.")
        if refused
        else gettext("The model is too uncertain.")
    )
    reason = result.reason.strip()
    return told(reason).rstrip(".") + "." if reason else default


# State of one image as people say it: (key for icon and colour, words).
ANSWER_WORDS = Words(
    {
        "waiting": _("Waiting"),
        "reading": _("Reading the image"),
        "above": _("Above the malignant threshold"),
        "below": _("Below the malignant threshold"),
        "no_lesion": _("No lesion pattern in this image"),
        "abstained": _("No answer: too uncertain"),
        "refused": _("No answer: the image was refused"),
        "failed": _("Failed"),
        "cancelled": _("Cancelled"),
        "withdrawn": _("Answer withdrawn"),
        "withheld": _("Answer withheld"),
    }
)


@dataclass(frozen=True)
class ImageAnswer:
    """What stands for one image now: its newest job, and its newest stored answers by frame."""

    image: Image
    job: Job | None
    results: tuple[Result, ...]
    # The newest job of each frame that ended without any answer for it.
    lost: tuple[Job, ...] = ()
    # There is an answer, and it is not for whoever asked yet: the selector left it out.
    withheld: bool = False

    @cached_property
    def key(self) -> str:
        if self.job is not None and JobState(self.job.state) in JOB.active:
            return "waiting" if self.job.state == JobState.PENDING else "reading"
        if self.withheld:
            return "withheld"
        if self.above is not None:
            return "above"
        # A frame without an answer keeps the image from reading as negative.
        unanswered = [r.outcome for r in self.standing if r.outcome != Outcome.ANSWERED]
        if unanswered:
            return unanswered[0]
        if self.lost:
            states = {job.state for job in self.lost}
            return "failed" if JobState.FAILED in states else "cancelled"
        # Nor does an answer that was taken back read as one.
        if self.withdrawn:
            return "withdrawn"
        return "failed" if self.top is None else _below(self.top)

    @property
    def work(self) -> WorkState:
        """How far the work on it has come, whatever the model said of any of its frames: this is
        shown, and lists are narrowed by it, where answers are withheld."""
        if self.job is not None and JobState(self.job.state) in JOB.active:
            return WorkState.WAITING if self.job.state == JobState.PENDING else WorkState.READING
        if self.lost:
            states = {job.state for job in self.lost}
            return WorkState.FAILED if JobState.FAILED in states else WorkState.CANCELLED
        return WorkState.DONE if self.results or self.withheld else WorkState.FAILED

    @property
    def words(self) -> str:
        return ANSWER_WORDS[self.key]

    @cached_property
    def standing(self) -> tuple[Result, ...]:
        """The results that were not withdrawn: only they say anything of the image."""
        return tuple(r for r in self.results if withdrawal_of(r) is None)

    @cached_property
    def withdrawn(self) -> tuple[Result, ...]:
        return tuple(r for r in self.results if withdrawal_of(r) is not None)

    @cached_property
    def answered(self) -> tuple[Result, ...]:
        return tuple(r for r in self.standing if r.outcome == Outcome.ANSWERED)

    @cached_property
    def top(self) -> Result | None:
        """The answered result with the highest malignant score among the frames."""
        return max(self.answered, key=lambda r: r.score_malignant or 0.0, default=None)

    @cached_property
    def above(self) -> Result | None:
        """The highest answer that reaches its own threshold (frames may have other models)."""
        reaching = [r for r in self.answered if above_threshold(r)]
        return max(reaching, key=lambda r: r.score_malignant or 0.0, default=None)

    @property
    def deciding(self) -> Result | None:
        """The result the state follows: above its threshold, else without answer, else the top."""
        unanswered = (r for r in self.standing if r.outcome != Outcome.ANSWERED)
        return self.above or next(unanswered, None) or self.top

    @property
    def is_final(self) -> bool:
        return self.job is None or JobState(self.job.state) in JOB.final


def _below(result: Result) -> str:
    return "no_lesion" if result.label == Label.NORMAL else "below"


def image_answer(image: Image, jobs: Iterable[Job] | None = None) -> ImageAnswer:
    """``image`` with its jobs, newest first (as the selectors load them)."""
    newest_first = list(image.jobs.all() if jobs is None else jobs)
    by_frame: dict[int, Result] = {}
    ended: dict[int | None, Job] = {}
    withheld: set[int | None] = set()
    for job in newest_first:
        if JobState(job.state) in JOB.final:
            ended.setdefault(job.frame, job)
        result = getattr(job, "result", None) if job.state == JobState.SUCCEEDED else None
        if result is not None:
            by_frame.setdefault(result.frame, result)
        elif job.state == JobState.SUCCEEDED:
            # A job that succeeded has its result: where it is not loaded, it is withheld.
            withheld.add(job.frame)
    told = by_frame.keys() | withheld
    return ImageAnswer(
        image=image,
        job=newest_first[0] if newest_first else None,
        results=tuple(by_frame.values()),
        lost=tuple(job for frame, job in ended.items() if frame not in told),
        withheld=bool(withheld),
    )


_CASE_ORDER = (
    "reading",
    "waiting",
    "failed",
    "withheld",
    "refused",
    "abstained",
    "cancelled",
    "withdrawn",
    "below",
    "no_lesion",
)
_NO_ANSWER = ("refused", "abstained")
# The least finished first.
_UNFINISHED = (WorkState.READING, WorkState.WAITING, WorkState.FAILED, WorkState.CANCELLED)
_SAID = frozenset(answer.value for answer in WorkAnswer) - {WorkAnswer.NONE.value}


@dataclass(frozen=True)
class CaseSummary:
    """A case in one line: its highest malignant score, in n of m images answered."""

    case: Case
    answers: tuple[ImageAnswer, ...]

    @property
    def images(self) -> int:
        return len(self.answers)

    @property
    def answered(self) -> int:
        return sum(answer.top is not None for answer in self.answers)

    @cached_property
    def top(self) -> Result | None:
        """The answer with the highest malignant score; never an average."""
        tops = [answer.top for answer in self.answers if answer.top is not None]
        return max(tops, key=lambda r: r.score_malignant or 0.0, default=None)

    @cached_property
    def withdrawn_top(self) -> Result | None:
        """Of the answers that were withdrawn, the one with the highest malignant score."""
        taken = [r for a in self.answers for r in a.withdrawn if r.outcome == Outcome.ANSWERED]
        return max(taken, key=lambda r: r.score_malignant or 0.0, default=None)

    @property
    def priority(self) -> Priority:
        """The most urgent that any of its images was sent or read with, as the worklist has it."""
        ranks = [job.priority for answer in self.answers for job in answer.image.jobs.all()]
        return Priority[PriorityRank(min(ranks, default=PriorityRank.ROUTINE)).name]

    @property
    def is_final(self) -> bool:
        return all(answer.is_final for answer in self.answers)

    @cached_property
    def key(self) -> str:
        """What the worklist says of the case: an answer above its threshold outranks all else.

        Then unfinished work, then images without an answer: one of them keeps the case from
        reading as negative.
        """
        if any(answer.above is not None for answer in self.answers):
            return "above"
        keys = [answer.key for answer in self.answers]
        return next((key for key in _CASE_ORDER if key in keys), "waiting")

    @property
    def work(self) -> WorkState:
        """How far the work on its images has come, whatever the model said of them."""
        states = {answer.work for answer in self.answers}
        unfinished = (state for state in _UNFINISHED if state in states)
        return next(unfinished, WorkState.DONE if states else WorkState.WAITING)

    @property
    def said(self) -> WorkAnswer:
        """What the model said of it; NONE as long as that does not stand for all its images."""
        return WorkAnswer(self.key) if self.key in _SAID else WorkAnswer.NONE

    @property
    def words(self) -> str:
        """Words that hold for the whole case: where only some images got no answer, how many."""
        if self.key not in _NO_ANSWER or all(answer.key == self.key for answer in self.answers):
            return ANSWER_WORDS[self.key]
        without = sum(answer.key in _NO_ANSWER or answer.top is None for answer in self.answers)
        return gettext("No answer for {without} of {images} images").format(
            without=without, images=self.images
        )

    @property
    def withheld(self) -> bool:
        return any(answer.withheld for answer in self.answers)

    @property
    def share(self) -> str:
        """How many of its images the model answered, where there is no score to tell of them."""
        return ngettext(
            "{answered} of {images} image answered",
            "{answered} of {images} images answered",
            self.images,
        ).format(answered=self.answered, images=self.images)

    @property
    def coverage(self) -> str:
        """Of how many images the highest score is."""
        if self.withheld:
            return gettext("withheld until the case is read")
        return gettext("in {answered} of {images} images answered").format(
            answered=self.answered, images=self.images
        )


def case_summary(case: Case) -> CaseSummary:
    """Summarise a case loaded by `selectors.cases.with_answers`."""
    return CaseSummary(case=case, answers=tuple(image_answer(i) for i in case.images.all()))


def case_summaries(cases: Sequence[Case]) -> list[CaseSummary]:
    return [case_summary(case) for case in cases]
