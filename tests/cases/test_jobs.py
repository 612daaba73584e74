"""The life of a job through its services: claimed, fenced, released, cancelled, swept."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models import Value
from django.db.models.functions import Now
from django.utils import timezone

from cases.access import SYSTEM
from cases.errors import NotFound, PermissionDenied, StateConflict
from cases.models import Job, JobEvent, Result
from cases.services import leases
from cases.services.jobs import inference_jobs_create, job_cancel, job_rerun
from cases.services.leases import (
    engine_jobs_claim,
    job_fail,
    jobs_heartbeat,
    jobs_release,
    jobs_sweep,
)
from cases.services.moves import jobs_move
from cases.services.results import result_store
from cases.states import JOB, JobState
from cases.vocabulary import PriorityRank
from tests import factories
from tests.factories import WORKER, answer, at_once, make_actor, submit

pytestmark = pytest.mark.django_db


def waiting_job(**kwargs: object) -> Job:
    return submit(**kwargs).jobs.get()


def in_state(state: JobState) -> Job:
    """A job brought to `state` by legal moves."""
    job = waiting_job()
    if state is not JobState.PENDING:
        if state is JobState.CANCELLED:
            jobs_move([job.pk], to=state, sources=frozenset({JobState.PENDING}), actor=SYSTEM)
        else:
            claim()
            if state is not JobState.RUNNING:
                sources = frozenset({JobState.RUNNING})
                jobs_move([job.pk], to=state, sources=sources, actor=SYSTEM)
    job.refresh_from_db()
    assert job.state == state
    return job


def claim(limit: int = 1):
    return engine_jobs_claim(actor=WORKER, limit=limit)


def let_leases_run_out() -> None:
    Job.objects.filter(state=JobState.RUNNING).update(
        lease_expires_at=Now() - Value(timedelta(seconds=1))
    )


def skip_pauses() -> None:
    Job.objects.filter(state=JobState.PENDING).update(
        available_at=Now() - Value(timedelta(minutes=1))
    )


@pytest.mark.parametrize("source", list(JobState))
@pytest.mark.parametrize("target", list(JobState))
def test_a_move_is_made_where_it_is_legal_and_refused_where_not(
    source: JobState, target: JobState
) -> None:
    job = in_state(source)
    before = JobEvent.objects.filter(job=job).count()
    changes = {}
    if target is JobState.RUNNING:
        changes["lease_expires_at"] = Now() + Value(timedelta(seconds=20))
    if JOB.allows(source, target):
        moved = jobs_move([job.pk], to=target, sources=frozenset({source}), actor=SYSTEM, **changes)
        assert [row.state for row in moved] == [target]
        assert JobEvent.objects.filter(job=job).count() == before + 1
    else:
        with pytest.raises(ValueError, match="not a legal move"):
            jobs_move([job.pk], to=target, sources=frozenset({source}), actor=SYSTEM, **changes)
        job.refresh_from_db()
        assert job.state == source
        assert JobEvent.objects.filter(job=job).count() == before


@pytest.mark.parametrize(
    "change",
    [
        {"state": "DONE"},
        {"state": JobState.SUCCEEDED},  # final without finished_at
        {"finished_at": timezone.now()},  # finished_at without a final state
        {"state": JobState.RUNNING},  # running without a lease
        {"lease_expires_at": timezone.now()},  # a lease without running
        {"attempt": 99},
        {"image": None},
    ],
)
def test_the_database_itself_refuses_a_crooked_job(change: dict[str, object]) -> None:
    job = waiting_job()
    with pytest.raises(IntegrityError), transaction.atomic():
        Job.objects.filter(pk=job.pk).update(**change)


def test_a_claim_takes_the_job_once() -> None:
    job = waiting_job()
    first = claim()
    assert [c.job_id for c in first] == [job.pk]
    assert first[0].attempt == 1
    assert claim() == []


def test_a_claim_takes_as_many_as_asked_and_no_more() -> None:
    jobs = {waiting_job().pk for _ in range(3)}
    taken = {c.job_id for c in claim(limit=2)}
    assert len(taken) == 2
    assert taken < jobs


def test_stat_overtakes_routine_but_an_old_routine_job_comes_first() -> None:
    old = waiting_job()
    Job.objects.filter(pk=old.pk).update(due_at=Now() - Value(timedelta(minutes=5)))
    routine = waiting_job()
    urgent = waiting_job(priority="urgent")
    stat = waiting_job(priority="stat")
    order = [c.job_id for c in claim(limit=9)]
    assert order == [old.pk, stat.pk, urgent.pk, routine.pk]


def test_a_job_has_one_result_and_ends() -> None:
    job = waiting_job()
    held = claim()[0]
    result = result_store(actor=WORKER, job_id=job.pk, attempt=held.attempt, answer=answer(0.9))
    job.refresh_from_db()
    assert result is not None
    assert (job.state, job.result.label) == (JobState.SUCCEEDED, "malignant")
    assert job.finished_at is not None
    again = result_store(actor=WORKER, job_id=job.pk, attempt=held.attempt, answer=answer())
    assert again is None
    assert Result.objects.filter(job=job).count() == 1


def test_the_hash_of_an_uploaded_image_is_kept_as_a_signed_bigint() -> None:
    job = waiting_job()
    factories.stored_result(job)
    job.image.refresh_from_db()
    assert job.image.phash == 0xF00DF00DF00DF00D - (1 << 64)


def test_an_attempt_that_lost_its_lease_is_fenced_out() -> None:
    job = waiting_job()
    slow = claim()[0]
    let_leases_run_out()
    assert jobs_sweep(actor=SYSTEM)["requeued"] == 1
    skip_pauses()
    quick = claim()[0]
    assert quick.attempt == 2
    assert (
        result_store(actor=WORKER, job_id=job.pk, attempt=slow.attempt, answer=answer(0.1)) is None
    )
    assert jobs_heartbeat(claims=[slow]) == frozenset()
    fenced = job_fail(
        actor=WORKER, job_id=job.pk, attempt=1, code="x", detail="late", transient=False
    )
    assert fenced is None
    stored = result_store(actor=WORKER, job_id=job.pk, attempt=quick.attempt, answer=answer(0.9))
    assert stored is not None
    assert stored.attempt == 2
    assert Result.objects.filter(job=job).count() == 1


def test_a_heartbeat_keeps_the_sweeper_away() -> None:
    waiting_job()
    held = claim()
    let_leases_run_out()
    assert jobs_heartbeat(claims=held) == {held[0].job_id}
    assert jobs_sweep(actor=SYSTEM) == {"requeued": 0, "failed": 0, "rung": 0}


def test_a_job_whose_worker_dies_each_time_fails_with_its_reason() -> None:
    job = waiting_job()
    for _ in range(job.max_attempts):
        skip_pauses()
        assert claim()
        let_leases_run_out()
        jobs_sweep(actor=SYSTEM)
    job.refresh_from_db()
    assert (job.state, job.error_code) == (JobState.FAILED, "worker_lost")
    assert claim() == []


def test_a_transient_fault_waits_before_it_is_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # However slow this test runs, the pause is not over.
    monkeypatch.setattr(leases, "RETRY_PAUSE", timedelta(hours=1))
    job = waiting_job()
    held = claim()[0]
    state = job_fail(
        actor=WORKER, job_id=job.pk, attempt=held.attempt, code="x", detail="y", transient=True
    )
    assert state == JobState.PENDING
    assert claim() == []
    skip_pauses()
    assert claim()[0].attempt == 2


def test_a_lasting_fault_fails_at_once() -> None:
    job = waiting_job()
    held = claim()[0]
    state = job_fail(
        actor=WORKER, job_id=job.pk, attempt=held.attempt, code="c", detail="d", transient=False
    )
    job.refresh_from_db()
    assert (state, job.error_code, job.error_detail) == (JobState.FAILED, "c", "d")


def test_a_released_job_gets_its_attempt_back_under_a_new_number() -> None:
    job = waiting_job()
    allowed = job.max_attempts
    first = claim()[0]
    jobs_release(actor=WORKER, claims=[first], reason="the worker is stopping")
    job.refresh_from_db()
    assert (job.state, job.max_attempts) == (JobState.PENDING, allowed + 1)
    # The number is never used again, so the one who gave the job back stays fenced out.
    assert claim()[0].attempt == first.attempt + 1
    assert result_store(actor=WORKER, job_id=job.pk, attempt=1, answer=answer()) is None


@pytest.mark.django_db(transaction=True)
def test_workers_claiming_at_once_share_the_jobs_and_take_none_twice() -> None:
    jobs = {waiting_job().pk for _ in range(12)}
    taken = at_once(4, lambda: [c.job_id for c in claim(limit=3)])
    flat = [job_id for one in taken for job_id in one]
    assert len(flat) == len(set(flat)) == 12
    assert set(flat) == jobs


def test_cancel_ends_a_waiting_or_running_job_and_fences_its_worker_out() -> None:
    actor = make_actor()
    job = waiting_job(actor=actor)
    held = claim()[0]
    assert job_cancel(actor=actor, job_id=job.pk).state == JobState.CANCELLED
    assert job_cancel(actor=actor, job_id=job.pk).state == JobState.CANCELLED  # twice is once
    late = result_store(actor=WORKER, job_id=job.pk, attempt=held.attempt, answer=answer())
    assert late is None
    assert not Result.objects.filter(job=job).exists()


def test_cancel_refuses_an_ended_job() -> None:
    actor = make_actor()
    job = waiting_job(actor=actor)
    factories.stored_result(job)
    with pytest.raises(StateConflict):
        job_cancel(actor=actor, job_id=job.pk)


def test_nobody_cancels_at_another_site_or_without_the_role() -> None:
    job = waiting_job()
    with pytest.raises(NotFound):
        job_cancel(actor=make_actor(), job_id=job.pk)
    with pytest.raises(PermissionDenied):
        job_cancel(actor=make_actor(roles=["auditor"]), job_id=job.pk)


def test_a_rerun_is_a_new_job_beside_the_old_one() -> None:
    actor = make_actor()
    job = waiting_job(actor=actor)
    with pytest.raises(StateConflict):
        job_rerun(actor=actor, job_id=job.pk)
    first = factories.stored_result(job, 0.9)
    again = job_rerun(actor=actor, job_id=job.pk)
    assert again.pk != job.pk
    assert (again.state, again.rerun_of_id) == (JobState.PENDING, job.pk)
    with pytest.raises(StateConflict):
        job_rerun(actor=actor, job_id=job.pk)  # the new one is waiting
    factories.stored_result(again, 0.2)
    first.refresh_from_db()
    assert first.score_malignant == 0.9


def test_one_active_job_per_image_frame_and_model() -> None:
    job = waiting_job()
    with pytest.raises(StateConflict):
        inference_jobs_create(
            actor=SYSTEM, images=[job.image], priority=PriorityRank.STAT, submission=None
        )
    assert Job.objects.filter(image=job.image).count() == 1


def test_a_stored_result_is_never_changed_by_the_database() -> None:
    result = factories.stored_result(waiting_job())
    with pytest.raises(Exception, match="append-only"), transaction.atomic():
        Result.objects.filter(pk=result.pk).update(score_malignant=0.0)


def test_claiming_takes_a_constant_number_of_queries(django_assert_max_num_queries) -> None:
    for _ in range(6):
        waiting_job()
    # One of them asks for webhooks to tell.
    with django_assert_max_num_queries(17):
        assert len(claim(limit=6)) == 6


def test_the_claim_uses_the_queue_index() -> None:
    with connection.cursor() as cursor:
        # On a nearly empty table the planner would rather sort.
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute("SET LOCAL enable_sort = off")
        query = Job.objects.filter(kind="inference", state="PENDING").order_by("due_at", "id")
        assert "job_queue" in query.explain()
