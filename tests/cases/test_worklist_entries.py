"""The entries of the worklist: what the database keeps of a case is what its page says of it."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from django.db import transaction

from cases.access import Actor
from cases.models import Case, Image, Job, Result, Site, WorklistChange, WorklistEntry
from cases.reports.answers import case_summary
from cases.selectors.cases import case_list, summaries_attach
from cases.services.jobs import job_cancel, job_rerun
from cases.services.leases import engine_jobs_claim, job_fail
from cases.services.people import actor_for_user
from cases.services.readings import Place, reading_content_parse, reading_draft_save, reading_sign
from cases.services.results import result_store
from cases.services.withdrawals import result_withdraw
from cases.services.worklist import worklist_fold
from cases.states import JOB, JobState
from cases.worklisting import NO_SCORE, RANK_ERASED, RANK_READ
from tests.cases.erasing import erase
from tests.factories import (
    WORKER,
    answer,
    at_once,
    make_actor,
    make_site,
    make_user,
    phantom_jpeg,
    stored_result,
    submit,
)
from tests.phantoms import bmode_phantom, dicom_bytes
from tests.portal.signing import sign

pytestmark = pytest.mark.django_db


def entry_of(case: Case) -> WorklistEntry:
    worklist_fold()
    return WorklistEntry.objects.get(case=case)


def agrees(case: Case, viewer: Actor) -> WorklistEntry:
    """The entry, after a look at whether it says what the case's summary says."""
    kept = entry_of(case)
    listed = case_list(actor=viewer).get(pk=case.pk)
    summaries_attach([listed], actor=viewer)
    summary = case_summary(listed)
    top = summary.top.score_malignant if summary.top else NO_SCORE
    assert (kept.state, kept.answer, kept.top_score) == (summary.work, summary.said, top)
    return kept


@pytest.mark.parametrize("seed", range(6))
def test_an_entry_says_what_the_summary_says_after_any_history(seed: int) -> None:
    """Random histories of three images: answers of each kind, failures, cancellations, reruns."""
    dice = random.Random(seed)
    site = make_site()
    admin = actor_for_user(make_user(roles=["admin"], site=site))
    submission = submit(
        actor=make_actor(roles=["sonographer"], site=site),
        files=[phantom_jpeg() for _ in range(3)],
        priority=dice.choice(["routine", "urgent", "stat"]),
    )
    case = submission.case
    agrees(case, admin)
    for _ in range(8):
        happen(dice, case, admin)
        agrees(case, admin)


def happen(dice: random.Random, case: Case, admin: Actor) -> None:
    job = dice.choice(list(Job.objects.filter(image__case=case).order_by("created_at", "pk")))
    if job.state == JobState.PENDING:
        if dice.random() < 0.2:
            job_cancel(actor=admin, job_id=job.pk)
            return
        for claim in engine_jobs_claim(actor=WORKER, limit=dice.choice([1, 2])):
            finish(dice, claim)
        return
    if JobState(job.state) in JOB.final:
        result = Result.objects.filter(job=job, withdrawal=None).first()
        if result is not None and dice.random() < 0.4:
            result_withdraw(actor=admin, result_id=result.pk, reason="Wrong patient.")
        elif not job.image.jobs.filter(state__in=list(JOB.active)).exists():
            job_rerun(actor=admin, job_id=job.pk)
        return
    if dice.random() < 0.5:
        job_cancel(actor=admin, job_id=job.pk)


def finish(dice: random.Random, claim: Any) -> None:
    fate = dice.random()
    told: dict[str, Any] = {"job_id": claim.job_id, "attempt": claim.attempt}
    if fate < 0.15:
        lasting = {"code": "engine_crashed", "detail": "It crashed.", "transient": False}
        job_fail(actor=WORKER, **told, **lasting)
    elif fate < 0.85:
        outcome = dice.choice(["answered", "answered", "answered", "abstained", "refused"])
        reason = "" if outcome == "answered" else "Not sure."
        result_store(
            actor=WORKER, **told, answer=answer(dice.random(), outcome=outcome, reason=reason)
        )


@pytest.mark.parametrize("score", [0.05, 0.95])
def test_how_far_the_work_is_tells_nothing_of_what_the_model_said(score: float) -> None:
    site = make_site()
    admin = actor_for_user(make_user(roles=["admin"], site=site))
    cine = dicom_bytes(np.stack([bmode_phantom(seed=n, size=(120, 150)) for n in range(3)]))
    submission = submit(actor=make_actor(site=site), files=[cine], patient_id="")
    job = submission.jobs.get()
    stored_result(job, score)
    assert agrees(submission.case, admin).state == "done"
    other = job_rerun(actor=admin, job_id=job.pk, frame=(job.frame or 0) + 1)
    job_cancel(actor=admin, job_id=other.pk)
    assert agrees(submission.case, admin).state == "cancelled"


def test_the_order_goes_by_signature_then_priority_then_age() -> None:
    site = make_site()
    reader = make_actor(site=site)
    old, stat, read = (
        submit(actor=reader, priority=priority).case for priority in ("routine", "stat", "stat")
    )
    sign(reader, read)
    ranks = {case.pk: entry_of(case) for case in (old, stat, read)}
    assert [ranks[c.pk].rank for c in (stat, old, read)] == [0, 2, RANK_READ]
    assert ranks[old.pk].place == int(old.created_at.timestamp() * 1_000_000)
    # Of what is read the newest comes first.
    assert ranks[read.pk].place < 0


def test_a_draft_leaves_a_case_unread_and_new_images_make_it_so_again() -> None:
    site = make_site()
    reader = make_actor(site=site)
    case = submit(actor=reader, accession_number="A-1", patient_id="P-1").case
    content = reading_content_parse({"category": "2"})
    draft = reading_draft_save(
        actor=reader, case_id=case.pk, place=Place(), content=content, version=0
    )
    assert entry_of(case).rank == 2
    reading_sign(
        actor=reader, case_id=case.pk, place=Place(), content=content, version=draft.version
    )
    assert entry_of(case).rank == RANK_READ
    again = submit(actor=reader, accession_number="A-1", patient_id="P-1")
    assert again.case == case
    # The clock of a test's transaction stands still: as if it had come an hour later.
    later = again.created_at + timedelta(hours=1)
    Image.objects.filter(submission=again).update(created_at=later)
    assert entry_of(case).rank == 2


def test_an_erased_case_keeps_nothing_of_its_answers() -> None:
    site = make_site()
    submission = submit(actor=make_actor(site=site))
    stored_result(submission.jobs.get(), 0.9)
    assert entry_of(submission.case).answer == "above"
    erase(actor_for_user(make_user(roles=["admin"], site=site)), submission.case)
    kept = entry_of(submission.case)
    assert (kept.state, kept.answer, kept.top_score) == ("erased", "none", NO_SCORE)
    assert kept.rank == RANK_ERASED


def test_folding_twice_is_once_and_a_kept_lease_is_no_change() -> None:
    job = submit().jobs.get()
    assert worklist_fold() > 0
    assert worklist_fold() == 0
    (claim,) = engine_jobs_claim(actor=WORKER, limit=1)
    assert worklist_fold() == 1
    Job.objects.filter(pk=job.pk).update(progress={"step": 1})
    assert not WorklistChange.objects.exists()
    number = WorklistEntry.objects.get().pk
    result_store(actor=WORKER, job_id=job.pk, attempt=claim.attempt, answer=answer())
    worklist_fold()
    assert WorklistEntry.objects.get().pk == number


def test_a_backlog_is_worked_off_in_stretches() -> None:
    site: Site = make_site()
    actor = make_actor(site=site)
    for _ in range(3):
        submit(actor=actor)
    while worklist_fold(limit=2):
        assert WorklistEntry.objects.count() <= 3
    assert WorklistEntry.objects.filter(site=site).count() == 3


@pytest.mark.django_db(transaction=True)
def test_many_who_look_at_once_make_one_list() -> None:
    actor = make_actor()
    cases = [submit(actor=actor).case for _ in range(4)]
    told = at_once(4, worklist_fold)
    assert all(isinstance(count, int) for count in told), told
    assert set(WorklistEntry.objects.values_list("case_id", flat=True)) == {c.pk for c in cases}
    assert not WorklistChange.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_what_is_rolled_back_is_in_no_list_and_numbers_rise_as_cases_come_in() -> None:
    actor = make_actor()
    first = submit(actor=actor).case
    worklist_fold()
    with pytest.raises(RuntimeError), transaction.atomic():
        submit(actor=actor)
        raise RuntimeError
    assert worklist_fold() == 0
    second = submit(actor=actor).case
    worklist_fold()
    numbers = dict(WorklistEntry.objects.values_list("case_id", "pk"))
    assert set(numbers) == {first.pk, second.pk}
    assert numbers[first.pk] < numbers[second.pk]
