"""The images of a case as its page shows them: each with its answer, its place in the queue, and
a token that changes whenever it would look different."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from django.utils.translation import gettext

from cases.access import Actor, Capability
from cases.models import Image, Job, Result, ResultWithdrawal
from cases.portal.replays import ReplayWords, replay_words
from cases.portal.stage import Stage
from cases.portal.wording import LATERALITY, STATES, StateWords, frame_words
from cases.reports.answers import (
    CaseSummary,
    ImageAnswer,
    above_threshold,
    headline,
    why_none,
    withdrawal_of,
)
from cases.reports.evidence import MEANING, Flag, Measured, case_flags, image_flags, measured_of
from cases.selectors.evidence import cards_of, stated_of
from cases.selectors.health import services_alive
from cases.selectors.portal import queue_positions
from cases.selectors.replays import replays_last
from cases.states import JobState
from cases.vocabulary import Laterality, Outcome


@dataclass(frozen=True)
class FrameAnswer:
    """The answer for one frame of an image."""

    result: Result
    headline: str
    frame: str
    # What became of computing this result again, if anybody asked.
    replay: ReplayWords | None = None
    # What its model was measured to do, where the card says.
    measured: Measured | None = None

    @property
    def is_answered(self) -> bool:
        return self.result.outcome == Outcome.ANSWERED

    @property
    def withdrawal(self) -> ResultWithdrawal | None:
        return withdrawal_of(self.result)

    @property
    def largest_score(self) -> float | None:
        """What an abstention rests on."""
        return max((self.result.probabilities or {}).values(), default=None)

    @property
    def is_replaying(self) -> bool:
        return self.replay is not None and self.replay.is_active


@dataclass(frozen=True)
class ImagePanel:
    """One image of the case page. ``frame`` is the shown one, 0-based."""

    answer: ImageAnswer
    number: int
    of: int
    name: str
    frame: int
    ahead: int | None
    nobody_reads: bool
    same_as: int | None
    can_act: bool
    # Why the form was kept over the header of this image's delivery; "" where hidden.
    override_reason: str = ""
    can_withdraw: bool = False
    # The newest replays of the answers, by result.
    replays: Mapping[UUID, Job] = field(default_factory=dict)
    # Why the image lies outside what the models were tested on.
    flags: tuple[Flag, ...] = ()
    # What the models of the answers were measured to do, by version.
    measured: Mapping[UUID, Measured] = field(default_factory=dict)
    # Tells the ids of two cases on one page apart.
    prefix: str = ""

    @property
    def flags_meaning(self) -> str:
        return gettext(MEANING)

    @property
    def key(self) -> str:
        """What ids on the page are told apart by."""
        return f"{self.prefix}{self.number}"

    @property
    def image(self) -> Image:
        return self.answer.image

    @property
    def job(self) -> Job | None:
        return self.answer.job

    @property
    def state(self) -> StateWords:
        return STATES[self.answer.key]

    @property
    def words(self) -> str:
        if self.answer.key != "waiting" or self.ahead is None:
            return self.answer.words
        return (
            gettext("Waiting (next in line)")
            if self.ahead == 0
            else gettext("Waiting ({ahead} ahead)").format(ahead=self.ahead)
        )

    @property
    def is_final(self) -> bool:
        return self.answer.is_final

    @property
    def answers(self) -> list[FrameAnswer]:
        """In the order in which they decide the state of the image: above the threshold, without
        an answer, below; the highest score first. What was withdrawn comes last."""

        def rank(result: Result) -> tuple[int, float, int]:
            answered = result.outcome == Outcome.ANSWERED
            if withdrawal_of(result) is not None:
                return (3, 0.0, result.frame)
            group = 1 if not answered else 0 if above_threshold(result) else 2
            return (group, -(result.score_malignant or 0.0), result.frame)

        return [
            FrameAnswer(
                result,
                headline(result) if result.outcome == Outcome.ANSWERED else why_none(result),
                frame_words(self.image, result.frame),
                replay_words(self.replays[result.pk], result)
                if result.pk in self.replays
                else None,
                self.measured.get(result.model_version_id),
            )
            for result in sorted(self.answer.results, key=rank)
        ]

    @property
    def is_replaying(self) -> bool:
        return any(answer.is_replaying for answer in self.answers)

    @property
    def failure(self) -> Job | None:
        """The newest job, where it ended without an answer: also beside earlier answers."""
        job = self.job
        if job is not None and job.state in (JobState.FAILED, JobState.CANCELLED):
            return job
        return None

    @property
    def withheld(self) -> bool:
        """Its answer is there, and opens with the reading of the case."""
        return self.answer.key == "withheld"

    @property
    def failed(self) -> bool:
        return self.job is not None and self.job.state == JobState.FAILED

    @property
    def stage(self) -> Stage:
        """What the picture needs beside its pixels."""
        return Stage(self.image, self.answer, self.frame)

    @property
    def frame_words(self) -> str:
        return frame_words(self.image, self.frame)

    @property
    def job_frame_words(self) -> str:
        job = self.job
        return frame_words(self.image, job.frame) if job and job.frame is not None else ""

    @property
    def replay_news(self) -> str:
        """The end of the last replay, for the ear; "" while one is under way."""
        ended = [answer.replay for answer in self.answers if answer.replay is not None]
        if not ended or self.is_replaying:
            return ""
        return max(ended, key=lambda replay: str(replay.job.finished_at)).news

    @property
    def token(self) -> str:
        """Two parts, so that what changed can be told: the answer, and its replays if any."""
        replays = [
            (str(replay.job.pk), replay.job.state)
            for answer in self.answers
            if (replay := answer.replay) is not None
        ]
        return f"{self.answer_token}-{_hash(replays)}" if replays else self.answer_token

    def news_since(self, token: str) -> str:
        """What a listener must hear of this image, seen last as ``token``; "" for nothing."""
        if not self.is_final:
            return ""
        if token.partition("-")[0] != self.answer_token:
            return self.words
        return self.replay_news

    @property
    def answer_token(self) -> str:
        job = self.job
        seen = (
            (str(job.pk), job.state, job.attempt, job.error_detail) if job else (),
            self.ahead,
            self.nobody_reads,
            [(str(r.pk), withdrawal_of(r) is None) for r in self.answer.results],
        )
        return _hash(seen)


def _hash(seen: object) -> str:
    return hashlib.sha256(repr(seen).encode()).hexdigest()[:8]


def panels_of(
    summary: CaseSummary,
    *,
    actor: Actor,
    shown: Mapping[UUID, int] | None = None,
    reasons: Mapping[UUID, str] | None = None,
) -> list[ImagePanel]:
    """All images of a case. ``shown`` names frames to look at, by image; else the best one.

    ``reasons``: why the form was kept over a DICOM header, by submission.
    """
    answers = summary.answers
    waiting = [a.job for a in answers if a.job is not None and a.job.state == JobState.PENDING]
    ahead = queue_positions(waiting)
    nobody = bool(waiting) and not services_alive().get("inference")
    numbers = {answer.image.pk: n for n, answer in enumerate(answers, start=1)}
    with_identity = actor.can(Capability.VIEW_IDENTITY)
    can_act = actor.can(Capability.SUBMIT) or actor.can(Capability.OPERATE)
    results = [result for answer in answers for result in answer.results]
    replays = replays_last(result.pk for result in results)
    cards = cards_of({result.model_version_id for result in results})
    measured = {pk: found for pk, card in cards.items() if (found := measured_of(card))}
    flags = case_flags(summary.case, stated_of(case_id=summary.case.pk), with_identity)

    def panel(number: int, answer: ImageAnswer) -> ImagePanel:
        image, job = answer.image, answer.job
        # A file name may hold a patient's name; the reason is free text about a patient.
        name = image.file_name if with_identity else gettext("Image {number}").format(number=number)
        reason = (reasons or {}).get(image.submission_id, "") if with_identity else ""
        return ImagePanel(
            answer=answer,
            number=number,
            of=len(answers),
            name=name,
            frame=_frame_to_show(answer, shown or {}),
            ahead=ahead.get(job.pk) if job else None,
            nobody_reads=nobody and job in waiting,
            same_as=numbers.get(image.duplicate_of_id) if image.duplicate_of_id else None,
            can_act=can_act,
            can_withdraw=actor.can(Capability.OPERATE),
            override_reason=reason,
            replays=replays,
            flags=(*flags, *image_flags(image)),
            measured=measured,
        )

    return [panel(number, answer) for number, answer in enumerate(answers, start=1)]


def _frame_to_show(answer: ImageAnswer, shown: Mapping[UUID, int]) -> int:
    image = answer.image
    if image.pk in shown and 0 <= shown[image.pk] < image.frames:
        return shown[image.pk]
    if answer.top is not None:
        return answer.top.frame
    if answer.job is not None and answer.job.frame is not None:
        return answer.job.frame
    return image.frame


def side_of(panels: Sequence[ImagePanel]) -> str:
    """Of which breast the images are, in a word; "" where nobody said."""
    sides = {Laterality(panel.image.laterality) for panel in panels} - {Laterality.UNKNOWN}
    if not sides:
        return ""
    return LATERALITY[sides.pop() if len(sides) == 1 else Laterality.BOTH]


def tokens_of(panels: Sequence[ImagePanel]) -> str:
    return ".".join(panel.token for panel in panels)
