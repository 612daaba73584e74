"""A picture of a frozen snapshot is taken back: what becomes of what waits, runs or judges."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from cases.access import Actor
from cases.errors import FieldInvalid
from cases.models import (
    AuditEvent,
    Job,
    JobEvent,
    ModelVersion,
    TrainingCandidate,
    TrainingRun,
    TrainingSnapshot,
)
from cases.services.taken_back import PicturesTakenBackError, trainings_call_off
from cases.services.training_work import (
    TrainingNews,
    training_claim,
    training_fail,
    training_heartbeat,
    training_release,
    training_succeed,
)
from cases.states import JobState
from cases.vocabulary import PICTURES_TAKEN_BACK
from tests.curation import TAKEN_BACK, accepted, actors, frozen_into, taken_back
from tests.factories import make_site, make_token
from tests.gates import make_locked_set, make_plan
from tests.portal.conftest import SignIn
from tests.portal.markup import read
from tests.training import WORKER, make_run, make_snapshot
from worker import tasks

pytestmark = pytest.mark.django_db
NO_NEWS = TrainingNews()


@pytest.fixture
def people() -> tuple[Actor, Actor]:
    return actors(make_site())


@pytest.fixture
def candidate(people: tuple[Actor, Actor]) -> TrainingCandidate:
    return accepted(reader=people[0], admin=people[1])


def frozen(people: tuple[Actor, Actor], candidate: TrainingCandidate) -> TrainingSnapshot:
    """A snapshot to train from that holds the candidate's picture."""
    snapshot = make_snapshot()
    frozen_into(snapshot, candidate, admin=people[1], role="training")
    return snapshot


def take_back(people: tuple[Actor, Actor], candidate: TrainingCandidate, how: str) -> None:
    candidate.refresh_from_db()
    taken_back(how, candidate, reader=people[0], admin=people[1])


def run_on(people: tuple[Actor, Actor], candidate: TrainingCandidate) -> TrainingRun:
    return make_run(snapshot=frozen(people, candidate), actor=people[1])


def job_of(run: TrainingRun) -> Job:
    return Job.objects.get(pk=run.pk)


# One that waits


@pytest.mark.parametrize("how", TAKEN_BACK)
def test_a_training_that_waits_is_called_off_and_the_next_one_begins(
    people: tuple[Actor, Actor], candidate: TrainingCandidate, how: str
) -> None:
    run, other = run_on(people, candidate), make_run()
    take_back(people, candidate, how)
    claim = training_claim(actor=WORKER)
    assert claim is not None
    assert claim.job_id == other.pk
    job = job_of(run)
    assert (job.state, job.error_code, job.attempt) == ("CANCELLED", PICTURES_TAKEN_BACK, 0)
    event = JobEvent.objects.filter(job=job).latest("id")
    assert (event.from_state, event.to_state) == ("PENDING", "CANCELLED")
    assert event.reason.startswith("1 of its pictures may not be trained on any more")
    audit = AuditEvent.objects.get(action="training_run.cancelled")
    assert (audit.object_id, audit.site_id) == (str(run.pk), people[1].site_id)
    assert audit.detail == {"reason": event.reason}


def test_a_training_whose_pictures_are_all_there_is_not_called_off(
    people: tuple[Actor, Actor], candidate: TrainingCandidate
) -> None:
    run = run_on(people, candidate)
    # Of a candidate that is in no snapshot of theirs nothing follows.
    take_back(people, accepted(reader=people[0], admin=people[1]), "rejected")
    assert trainings_call_off(actor=WORKER) == 0
    claim = training_claim(actor=WORKER)
    assert claim is not None
    assert claim.job_id == run.pk
    assert training_heartbeat(claim=claim, news=NO_NEWS)


def test_the_sweep_tells_it_while_another_training_runs_and_does_it_once(
    people: tuple[Actor, Actor], candidate: TrainingCandidate
) -> None:
    make_run()
    run = run_on(people, candidate)
    assert training_claim(actor=WORKER) is not None
    take_back(people, candidate, "opted out")
    tasks.sweep()
    tasks.sweep()
    assert job_of(run).state == JobState.CANCELLED
    assert AuditEvent.objects.filter(action="training_run.cancelled").count() == 1


def test_one_that_was_given_back_does_not_go_on_from_its_checkpoint(
    people: tuple[Actor, Actor], candidate: TrainingCandidate
) -> None:
    run = run_on(people, candidate)
    claim = training_claim(actor=WORKER)
    assert claim is not None
    training_release(actor=WORKER, claim=claim, reason="the worker is stopping")
    take_back(people, candidate, "rejected")
    assert training_claim(actor=WORKER) is None
    assert job_of(run).state == JobState.CANCELLED


def test_the_reason_stands_on_its_page_and_in_the_api(
    people: tuple[Actor, Actor], candidate: TrainingCandidate, sign_in: SignIn, client: Client
) -> None:
    run = run_on(people, candidate)
    take_back(people, candidate, "opted out")
    trainings_call_off(actor=WORKER)
    page = sign_in(role="admin", site=run.job.site).get(reverse("training-run", args=[run.pk]))
    text = read(page.content).text
    assert "1 of its pictures may not be trained on any more" in text
    assert "Make a new snapshot of accepted images, and train from that." in text
    _, secret = make_token(scopes=["admin"], roles=["admin"], site=run.job.site)
    told = client.get(
        f"/api/v1/training-runs/{run.pk}/", headers={"Authorization": f"Bearer {secret}"}
    ).json()
    assert (told["state"], told["error"]["code"]) == ("CANCELLED", PICTURES_TAKEN_BACK)


# One that runs


@pytest.mark.parametrize("how", TAKEN_BACK)
def test_nothing_comes_of_a_training_that_runs(
    people: tuple[Actor, Actor], candidate: TrainingCandidate, how: str
) -> None:
    run = run_on(people, candidate)
    claim = training_claim(actor=WORKER)
    assert claim is not None
    assert training_heartbeat(claim=claim, news=NO_NEWS)
    take_back(people, candidate, how)
    with pytest.raises(PicturesTakenBackError):
        training_heartbeat(claim=claim, news=TrainingNews(log_tail="more"))
    run.refresh_from_db()
    assert run.log_tail == ""
    before = ModelVersion.objects.count()
    with pytest.raises(PicturesTakenBackError) as refused:
        training_succeed(actor=WORKER, claim=claim, weights=b"trained", card=card(), news=NO_NEWS)
    assert ModelVersion.objects.count() == before
    assert job_of(run).state == JobState.RUNNING
    # As the worker ends it: for good, by name.
    state = training_fail(
        actor=WORKER,
        claim=claim,
        code=refused.value.code,
        detail=refused.value.detail,
        transient=False,
        news=NO_NEWS,
    )
    assert (state, job_of(run).error_code) == (JobState.FAILED, PICTURES_TAKEN_BACK)


def card() -> dict[str, Any]:
    return {"version": "new", "weights": {"sha256": hashlib.sha256(b"trained").hexdigest()}}


# What is judged on it


@pytest.mark.parametrize("how", TAKEN_BACK)
def test_no_plan_is_declared_on_a_locked_set_of_which_something_was_taken_back(
    people: tuple[Actor, Actor], candidate: TrainingCandidate, how: str
) -> None:
    locked = make_locked_set()
    frozen_into(locked, candidate, admin=people[1], role="locked")
    make_plan(locked, actor=people[1])
    take_back(people, candidate, how)
    with pytest.raises(FieldInvalid) as refused:
        make_plan(locked, actor=people[1])
    (told,) = (refused.value.errors or {})["locked_set"]
    assert told.startswith("1 of its pictures may not be used any more")
    assert told.endswith("Freeze a new locked set.")


def test_the_page_of_a_plan_says_what_is_left_out(
    people: tuple[Actor, Actor], candidate: TrainingCandidate, sign_in: SignIn
) -> None:
    locked = make_locked_set()
    frozen_into(locked, candidate, admin=people[1], role="locked")
    plan = make_plan(locked, actor=people[1])
    admin, page = sign_in(role="admin", site=plan.site), reverse("gate-plan-detail", args=[plan.pk])
    assert "taken back" not in read(admin.get(page).content).text
    take_back(people, candidate, "opted out")
    assert "1 image of the locked set was taken back since" in read(admin.get(page).content).text
