"""What a page and a list say of answers: never more, and never less worrying, than they are."""

from __future__ import annotations

import pytest

from cases.access import SYSTEM
from cases.models import Case, Job
from cases.reports.answers import case_summary, headline
from cases.selectors.cases import with_answers
from cases.services.jobs import job_cancel, job_rerun
from cases.services.leases import engine_jobs_claim, job_fail
from tests.factories import make_actor, phantom_jpeg, stored_result, submit
from tests.phantoms import dicom_bytes

pytestmark = pytest.mark.django_db


def summary(case: Case):
    return case_summary(with_answers(Case.objects.filter(pk=case.pk), actor=SYSTEM).get())


def answered(*malignant: float, **kwargs: object) -> Case:
    """A case with one answered image per score."""
    submission = submit(files=[phantom_jpeg() for _ in malignant])
    jobs = list(submission.jobs.order_by("due_at", "id"))
    for job, score in zip(jobs, malignant, strict=True):
        stored_result(job, score, **kwargs)
    return submission.case


def test_a_case_shows_its_highest_score_and_never_an_average() -> None:
    told = summary(answered(0.1, 0.9, 0.2))
    assert told.top is not None
    assert told.top.score_malignant == 0.9
    assert (told.key, told.coverage) == ("above", "in 3 of 3 images answered")


def test_the_headline_follows_the_operating_point_not_the_largest_score() -> None:
    case = answered(0.45, threshold=0.4)  # benign is the larger score
    top = summary(case).top
    assert top is not None
    assert "above its malignant threshold" in headline(top)


@pytest.mark.parametrize("outcome", ["abstained", "refused"])
def test_an_image_without_an_answer_keeps_the_case_from_reading_as_negative(outcome: str) -> None:
    submission = submit(files=[phantom_jpeg(), phantom_jpeg()])
    first, second = submission.jobs.order_by("due_at", "id")
    stored_result(first, 0.05)
    stored_result(second, 0.05, outcome=outcome, reason="too uncertain")
    told = summary(submission.case)
    assert told.key == outcome
    assert told.words == "No answer for 1 of 2 images"
    assert told.coverage == "in 1 of 2 images answered"


@pytest.mark.parametrize(
    ("outcomes", "words"),
    [
        (["refused", "refused"], "No answer: the image was refused"),
        (["abstained"], "No answer: too uncertain"),
        (["refused", "abstained"], "No answer for 2 of 2 images"),
        (["refused", "answered", "abstained"], "No answer for 2 of 3 images"),
    ],
)
def test_words_for_a_case_say_no_reason_that_holds_for_some_of_its_images_only(
    outcomes: list[str], words: str
) -> None:
    submission = submit(files=[phantom_jpeg() for _ in outcomes])
    for job, outcome in zip(submission.jobs.order_by("due_at", "id"), outcomes, strict=True):
        stored_result(job, 0.05, outcome=outcome, reason="" if outcome == "answered" else "No.")
    assert summary(submission.case).words == words


def test_a_cancelled_image_keeps_the_case_from_reading_as_negative() -> None:
    submission = submit(files=[phantom_jpeg(), phantom_jpeg()])
    first, second = submission.jobs.order_by("due_at", "id")
    stored_result(first, 0.05)
    job_cancel(actor=SYSTEM, job_id=second.pk)
    assert summary(submission.case).key == "cancelled"


def test_an_answer_above_its_threshold_is_told_while_other_images_wait() -> None:
    submission = submit(files=[phantom_jpeg(), phantom_jpeg()])
    stored_result(submission.jobs.order_by("due_at", "id")[0], 0.95)
    told = summary(submission.case)
    assert (told.key, told.is_final) == ("above", False)


def test_a_frame_that_failed_keeps_the_image_from_reading_as_negative() -> None:
    actor = make_actor()
    cine = dicom_bytes(patient_id="P1", frames=9)
    submission = submit(actor=actor, files=[cine], patient_id="P1")
    job = Job.objects.get(submission=submission)
    stored_result(job, 0.05)
    assert summary(submission.case).key == "below"
    again = job_rerun(actor=actor, job_id=job.pk, frame=6)
    held = engine_jobs_claim(actor=SYSTEM, limit=1)[0]
    job_fail(
        actor=SYSTEM, job_id=again.pk, attempt=held.attempt, code="x", detail="y", transient=False
    )
    assert summary(submission.case).key == "failed"
    stored_result(job_rerun(actor=actor, job_id=again.pk), 0.05)
    assert summary(submission.case).key == "below"


def cine_with(*frames: tuple[int, float, float]) -> Case:
    """A cine answered at frames: (frame, malignant score, threshold)."""
    actor = make_actor()
    submission = submit(
        actor=actor, files=[dicom_bytes(patient_id="P1", frames=9)], patient_id="P1"
    )
    job = Job.objects.get(submission=submission)
    stored_result(job, frames[0][1], threshold=frames[0][2])
    for frame, score, threshold in frames[1:]:
        again = job_rerun(actor=actor, job_id=job.pk, frame=frame)
        stored_result(again, score, threshold=threshold)
    return submission.case


def test_each_frame_is_judged_by_the_threshold_of_its_own_model() -> None:
    told = summary(cine_with((0, 0.55, 0.6), (5, 0.5, 0.3)))
    assert told.key == "above"


def test_a_newer_answer_for_a_frame_stands_for_it() -> None:
    actor = make_actor()
    submission = submit(actor=actor)
    job = submission.jobs.get()
    stored_result(job, 0.9)
    stored_result(job_rerun(actor=actor, job_id=job.pk), 0.1)
    told = summary(submission.case)
    assert told.top is not None
    assert (told.key, told.top.score_malignant) == ("below", 0.1)
