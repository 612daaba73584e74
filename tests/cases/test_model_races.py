"""Answers, claims and retries at the very moment at which a model moves or answers are suspended.

Each with two connections: one holds what moves models, and the other is seen to wait for it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.models import Value
from django.db.models.functions import Now

from cases.access import SYSTEM
from cases.models import Job, JobEvent, Result
from cases.services.jobs import inference_jobs_create
from cases.services.leases import Claim, engine_jobs_claim, job_fail, jobs_release, jobs_sweep
from cases.services.model_moves import model_life_lock
from cases.services.results import result_store
from cases.services.rollback import model_reject, model_roll_back
from cases.services.serving import serving_suspend
from cases.states import JobState, ModelState
from cases.vocabulary import PriorityRank
from tests.cases.governing import admin, approved, approver, asked, candidate, live_id, promoted
from tests.factories import WORKER, answer, live_model, stored_result, submit
from tests.live import wait_for

pytestmark = pytest.mark.django_db(transaction=True)


def is_held_up() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
        return cursor.fetchone() is not None


@contextmanager
def meanwhile(work: Callable[[], Any]) -> Iterator[list[Any]]:
    """``work`` on a connection of its own; what came of it is in the list at the end."""
    found: list[Any] = []

    def run() -> None:
        try:
            found.append(work())
        except Exception as error:
            found.append(error)
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield found
    finally:
        thread.join(300)


@contextmanager
def uncommitted(work: Callable[[], Any]) -> Iterator[Callable[[], None]]:
    """``work`` done on a connection of its own and not committed before what is given is called."""
    done, go = threading.Event(), threading.Event()

    def hold() -> None:
        with transaction.atomic():
            work()
            done.set()
            assert go.wait(300)

    with meanwhile(hold) as found:
        try:
            wait_for("the work to be done", lambda: done.is_set() or found)
            yield go.set
        finally:
            go.set()
    assert found == [None]


def claim() -> Claim:
    (taken,) = engine_jobs_claim(actor=WORKER, limit=1)
    return taken


def kept(taken: Claim) -> Result | None:
    return result_store(actor=WORKER, job_id=taken.job_id, attempt=taken.attempt, answer=answer())


def rolled_back(model: Any) -> None:
    model_roll_back(
        actor=approver(), model_id=model.pk, reason="Odd answers.", expected_active=live_id()
    )


# The model in shadow


def test_an_answer_that_comes_while_the_model_leaves_the_shadow_asks_it_nothing() -> None:
    live_model()
    model = promoted(candidate(), ModelState.SHADOW)
    request, decider = asked(model), approver()
    submit()
    taken = claim()
    reached = threading.Event()

    @transaction.atomic
    def promote() -> None:
        model_life_lock()
        reached.set()
        wait_for("the answer to wait", is_held_up)
        # It needs the row of the live model, which a stored result would keep from it: had the
        # answer locked anything before it waits, neither would end.
        approved(request, by=decider)

    with meanwhile(promote) as found:
        assert reached.wait(120)
        assert kept(taken)
    assert found == [None]
    assert live_id() == model.pk
    assert not Job.objects.filter(kind="shadow").exists()


def test_a_model_that_leaves_the_shadow_waits_for_an_answer_and_its_job_is_called_off() -> None:
    live_model()
    model = promoted(candidate(), ModelState.SHADOW)
    submit()
    taken, decider = claim(), approver()

    def reject() -> str:
        return model_reject(actor=decider, model_id=model.pk, reason="Worse.").state

    with uncommitted(lambda: kept(taken)) as commit, meanwhile(reject) as found:
        wait_for("the rejection to wait", is_held_up)
        commit()
    assert found == ["REJECTED"]
    assert Job.objects.get(kind="shadow").state == JobState.CANCELLED


# Suspension


@pytest.mark.parametrize("kind", ["inference", "shadow"])
def test_a_claim_at_the_moment_of_a_suspension_takes_nothing(kind: str) -> None:
    live_model()
    if kind == "shadow":
        promoted(candidate(), ModelState.SHADOW)
        stored_result(submit().jobs.get())
    else:
        submit()
    operator = admin()

    def suspend() -> None:
        serving_suspend(actor=operator, reason="Strange heatmaps.")

    def take() -> list[Claim]:
        return engine_jobs_claim(actor=WORKER, limit=1)

    with uncommitted(suspend) as commit, meanwhile(take) as found:
        wait_for("the claim to wait", is_held_up)
        commit()
    assert found == [[]]
    assert Job.objects.get(kind=kind).state == JobState.PENDING


# Rolled back from while an image is being read


def failed(taken: Claim) -> None:
    job_fail(
        actor=WORKER,
        job_id=taken.job_id,
        attempt=taken.attempt,
        code="engine_crashed",
        detail="The engine died.",
        transient=True,
    )


def released(taken: Claim) -> None:
    jobs_release(actor=WORKER, claims=[taken], reason="the worker is stopping")


def swept(taken: Claim) -> None:
    long_ago = Now() - Value(timedelta(minutes=1))
    Job.objects.filter(pk=taken.job_id).update(lease_expires_at=long_ago)
    assert jobs_sweep(actor=SYSTEM)["requeued"] == 1


BACK = pytest.mark.parametrize("give_back", [failed, released, swept])


def due_now(taken: Claim) -> None:
    Job.objects.filter(pk=taken.job_id).update(available_at=Now() - Value(timedelta(minutes=1)))


@BACK
def test_what_is_tried_again_after_a_rollback_is_answered_by_the_model_that_came_back(
    give_back: Callable[[Claim], None],
) -> None:
    old, new = live_model(), promoted(candidate())
    job = submit().jobs.get()
    taken = claim()
    assert taken.model_version_id == new.pk
    rolled_back(old)
    job.refresh_from_db()
    assert (job.state, job.model_version_id) == (JobState.RUNNING, new.pk)
    give_back(taken)
    job.refresh_from_db()
    assert (job.state, job.model_version_id) == (JobState.PENDING, old.pk)
    told = JobEvent.objects.filter(job=job).latest("id").reason
    assert "Rolled back" in told
    assert old.version in told
    due_now(taken)
    again = claim()
    assert (again.job_id, again.model_version_id) == (job.pk, old.pk)
    # The model rolled back from is fenced out.
    assert kept(taken) is None
    stored = kept(again)
    assert stored is not None
    assert stored.model_version_id == old.pk


@BACK
def test_what_is_tried_again_after_a_promotion_keeps_the_model_it_was_made_for(
    give_back: Callable[[Claim], None],
) -> None:
    old = live_model()
    job = submit().jobs.get()
    taken = claim()
    promoted(candidate())
    give_back(taken)
    job.refresh_from_db()
    assert (job.state, job.model_version_id) == (JobState.PENDING, old.pk)


def test_a_retry_after_a_rollback_whose_image_waits_already_is_called_off() -> None:
    old, new = live_model(), promoted(candidate())
    job = submit().jobs.get()
    taken = claim()
    rolled_back(old)
    assert job.image is not None
    (twin,) = inference_jobs_create(
        actor=SYSTEM,
        images=[job.image],
        priority=PriorityRank.ROUTINE,
        submission=None,
        frame=job.frame,
    )
    failed(taken)
    job.refresh_from_db()
    twin.refresh_from_db()
    assert (job.state, job.model_version_id) == (JobState.CANCELLED, new.pk)
    assert (twin.state, twin.model_version_id) == (JobState.PENDING, old.pk)


@BACK
def test_what_is_tried_again_at_the_moment_of_a_rollback_waits_for_it(
    give_back: Callable[[Claim], None],
) -> None:
    old = live_model()
    promoted(candidate())
    job = submit().jobs.get()
    taken = claim()
    with (
        uncommitted(lambda: rolled_back(old)) as commit,
        meanwhile(lambda: give_back(taken)) as found,
    ):
        wait_for("the retry to wait", is_held_up)
        commit()
    assert found == [None]
    job.refresh_from_db()
    assert (job.state, job.model_version_id) == (JobState.PENDING, old.pk)
