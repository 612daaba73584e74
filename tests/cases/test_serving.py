"""The switch that suspends answers."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import DatabaseError, transaction
from django.db.models import Value
from django.db.models.functions import Now

from cases.access import Actor, Role, Scope
from cases.errors import FieldInvalid, PermissionDenied, StateConflict
from cases.models import AuditEvent, Job, Result, ServingEvent
from cases.selectors.serving import suspension_list, suspension_now
from cases.services.leases import engine_jobs_claim, jobs_sweep
from cases.services.people import actor_for_token
from cases.services.replays import replay_request
from cases.services.results import result_store
from cases.services.serving import serving_resume, serving_suspend
from tests.cases.governing import admin, approver
from tests.factories import (
    WORKER,
    answer,
    at_once,
    live_model,
    make_actor,
    make_token,
    stored_result,
    submit,
)

pytestmark = pytest.mark.django_db

MAY = (Role.ADMIN, Role.APPROVER)


def suspend(actor: Actor | None = None) -> ServingEvent:
    return serving_suspend(actor=actor or admin(), reason="Strange answers.")


def test_while_suspended_no_image_is_taken_and_new_ones_are_still_accepted() -> None:
    first = submit().jobs.get()
    suspend()
    second = submit().jobs.get()
    assert engine_jobs_claim(actor=WORKER, limit=8) == []
    for job in (first, second):
        job.refresh_from_db()
        assert (job.state, job.attempt) == ("PENDING", 0)
    serving_resume(actor=approver(), reason="All well.")
    claims = engine_jobs_claim(actor=WORKER, limit=8)
    assert {claim.job_id for claim in claims} == {first.pk, second.pk}


def test_a_suspected_model_can_still_be_examined_by_replays() -> None:
    result = stored_result(submit().jobs.get())
    submit()
    suspend()
    job = replay_request(actor=admin_of(result), result_id=result.pk)
    assert [claim.job_id for claim in engine_jobs_claim(actor=WORKER, limit=8)] == [job.pk]


def admin_of(result: Result) -> Actor:
    return make_actor(roles=["admin"], site=result.image.case.site)


def test_what_is_being_read_is_finished() -> None:
    job = submit().jobs.get()
    (claim,) = engine_jobs_claim(actor=WORKER, limit=1)
    suspend()
    assert result_store(actor=WORKER, job_id=claim.job_id, attempt=claim.attempt, answer=answer())
    job.refresh_from_db()
    assert job.state == "SUCCEEDED"


def test_the_sweeper_rings_for_nothing_that_may_not_be_taken() -> None:
    submit()
    Job.objects.update(available_at=Now() - Value(timedelta(minutes=1)))
    assert jobs_sweep(actor=WORKER)["rung"] == 1
    suspend()
    assert jobs_sweep(actor=WORKER)["rung"] == 0


@pytest.mark.parametrize("role", list(Role))
def test_admins_and_approvers_suspend_and_resume(role: Role) -> None:
    actor = make_actor(roles=[role])
    if role in MAY:
        suspend(actor)
        serving_resume(actor=actor, reason="Fine.")
        return
    with pytest.raises(PermissionDenied):
        suspend(actor)
    suspend()
    with pytest.raises(PermissionDenied):
        serving_resume(actor=actor, reason="Fine.")


def test_a_token_may_stop_and_never_start() -> None:
    token, _ = make_token(scopes=list(Scope), roles=list(Role))
    actor = actor_for_token(token)
    suspend(actor)
    with pytest.raises(PermissionDenied):
        serving_resume(actor=actor, reason="Fine.")
    assert suspension_now() is not None


def test_twice_is_told_and_a_reason_is_needed() -> None:
    with pytest.raises(StateConflict):
        serving_resume(actor=admin(), reason="x")
    with pytest.raises(FieldInvalid):
        serving_suspend(actor=admin(), reason=" ")
    suspend()
    with pytest.raises(StateConflict):
        suspend()
    with pytest.raises(FieldInvalid):
        serving_resume(actor=admin(), reason="")


@pytest.mark.django_db(transaction=True)
def test_of_two_who_suspend_at_once_one_does() -> None:
    live_model()
    pool = [admin(), approver()]
    found = at_once(2, lambda: suspend(pool.pop()))
    assert sorted(type(one).__name__ for one in found) == ["ServingEvent", "StateConflict"]
    assert ServingEvent.objects.count() == 1


def test_the_history_stays_and_cannot_be_changed() -> None:
    who = admin()
    for _ in range(2):
        suspend(who)
        serving_resume(actor=who, reason="Found the cause.")
    spans = suspension_list(actor=approver())
    assert [(s.by, s.reason, s.resume_reason) for s in spans] == [
        (who.label, "Strange answers.", "Found the cause.")
    ] * 2
    assert all(s.until is not None and s.until > s.since for s in spans)
    for change in (
        lambda: ServingEvent.objects.update(reason="nothing"),
        lambda: ServingEvent.objects.all().delete(),
    ):
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
            change()
    trail = AuditEvent.objects.filter(object_type="serving")
    assert (
        sorted(event.action for event in trail)
        == ["serving.resumed"] * 2 + ["serving.suspended"] * 2
    )
