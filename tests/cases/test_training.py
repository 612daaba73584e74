"""Trainings as jobs: asked for, queued or refused, claimed one at a time, ended by name."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from cases.access import Actor, ActorKind
from cases.errors import (
    FieldInvalid,
    IdempotencyConflict,
    NotFound,
    PermissionDenied,
    StateConflict,
)
from cases.models import AuditEvent, Job, ModelVersion, TrainingRun
from cases.selectors.training import (
    training_run_ahead,
    training_run_get,
    training_run_list,
    training_runs_ended,
)
from cases.services.jobs import job_cancel
from cases.services.leases import jobs_sweep
from cases.services.training import TrainingRunOn, training_run_cancel
from cases.services.training_fields import training_plan_parse
from cases.services.training_work import (
    TrainingClaim,
    TrainingNews,
    training_claim,
    training_fail,
    training_heartbeat,
    training_release,
    training_succeed,
)
from cases.states import JobState, ModelState
from cases.vocabulary import IfRunning
from tests.factories import at_once, live_model, make_actor, make_site, newer_model
from tests.training import card_of, make_run, make_snapshot

WORKER = Actor(kind=ActorKind.WORKER, label="training@test")
NO_NEWS = TrainingNews()


def claim() -> TrainingClaim:
    taken = training_claim(actor=WORKER)
    assert taken is not None
    return taken


def succeed(taken: TrainingClaim, weights: bytes = b"trained", **more: Any) -> ModelVersion | None:
    return training_succeed(
        actor=WORKER, claim=taken, weights=weights, card=card_of(weights, **more), news=NO_NEWS
    )


def state_of(run: TrainingRun) -> str:
    return str(Job.objects.get(pk=run.pk).state)


# Asking


@pytest.mark.django_db
def test_a_run_is_a_waiting_job_that_says_who_what_and_why() -> None:
    admin = make_actor(roles=["admin"])
    snapshot = make_snapshot()
    run = make_run(actor=admin, snapshot=snapshot, reason="  new data ", epochs="3", seed=7)
    assert state_of(run) == JobState.PENDING
    assert (run.reason, run.requested_by, run.requested_by_user_id) == (
        "new data",
        admin.label,
        admin.user_id,
    )
    assert (run.recipe, run.epochs, run.seed, run.size) == ("bcweb", 3, 7, None)
    assert run.init_model == live_model()
    event = AuditEvent.objects.get(action="training_run.created")
    assert (event.object_type, event.object_id) == ("training_run", str(run.pk))
    assert event.detail == {
        "snapshot": snapshot.pk,
        "recipe": "bcweb",
        "reason": "new data",
        "init_sha256": live_model().sha256,
    }


@pytest.mark.django_db
def test_a_run_starts_from_the_model_that_was_live_when_it_was_asked_for() -> None:
    run = make_run()
    before = live_model()
    newer_model("newer", b"newer")
    run.refresh_from_db()
    assert run.init_model == before
    assert make_run(init="imagenet").init_model is None


@pytest.mark.django_db
@pytest.mark.parametrize("role", ["sonographer", "radiologist", "approver", "auditor"])
def test_only_administrators_ask(role: str) -> None:
    with pytest.raises(PermissionDenied):
        make_run(actor=make_actor(roles=[role]))
    run = make_run()
    with pytest.raises(PermissionDenied):
        training_run_cancel(actor=make_actor(roles=[role]), run_id=run.pk, reason="no")


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("plan", "field"),
    [
        ({"recipe": "best"}, "recipe"),
        ({"init": "/etc/passwd"}, "init"),
        ({"init": "file:../x"}, "init"),
        ({"epochs": 0}, "epochs"),
        ({"epochs": "many"}, "epochs"),
        ({"seed": -1}, "seed"),
        ({"size": 100}, "size"),
        ({"limit_images": True}, "limit_images"),
        ({"reason": " "}, "reason"),
        ({"reason": "x" * 501}, "reason"),
    ],
)
def test_what_cannot_be_is_named_by_field(plan: dict[str, Any], field: str) -> None:
    with pytest.raises(FieldInvalid) as error:
        make_run(**plan)
    assert list(error.value.errors or {}) == [field]
    assert not Job.objects.exists()


def test_a_file_in_the_folder_of_initial_weights_may_be_named() -> None:
    assert training_plan_parse({"init": "file:resnet50.safetensors"}).init.startswith("file:")


@pytest.mark.django_db
def test_a_snapshot_without_its_pictures_is_refused_with_what_to_do() -> None:
    with pytest.raises(FieldInvalid) as error:
        make_run(snapshot=make_snapshot(data_root=""))
    assert "import_dataset" in str(error.value.errors)


# One at a time


@pytest.mark.django_db
def test_a_second_request_names_the_run_that_is_on_and_is_refused_or_queues() -> None:
    first = make_run(if_running=IfRunning.REFUSE)
    with pytest.raises(TrainingRunOn) as error:
        make_run(if_running=IfRunning.REFUSE, site=first.job.site)
    assert error.value.run_id == first.pk
    assert str(first.pk) in error.value.detail
    with pytest.raises(TrainingRunOn) as error:
        make_run(if_running=IfRunning.REFUSE)
    assert error.value.run_id is None
    assert "another site" in error.value.detail
    assert first.requested_by not in error.value.detail
    second = make_run(if_running=IfRunning.QUEUE)
    assert training_run_ahead(second) == first
    assert training_run_ahead(first) is None
    taken = claim()
    assert taken.job_id == first.pk
    assert training_claim(actor=WORKER) is None  # the second waits for the first
    assert succeed(taken)
    assert claim().job_id == second.pk


@pytest.mark.django_db
def test_the_database_itself_lets_no_two_runs_of_a_line_run() -> None:
    make_run()
    other = make_run()
    taken = claim()
    lease = timezone.now() + timedelta(minutes=1)
    with pytest.raises(IntegrityError, match="job_one_training_at_a_time"), transaction.atomic():
        Job.objects.filter(pk=other.pk).update(
            state=JobState.RUNNING, lease_expires_at=lease, attempt=1
        )
    assert Job.objects.get(state=JobState.RUNNING).pk == taken.job_id


@pytest.mark.django_db(transaction=True)
def test_two_administrators_pressing_together_start_one_run() -> None:
    live_model()
    snapshot = make_snapshot()

    def press() -> TrainingRun:
        return make_run(snapshot=snapshot, if_running=IfRunning.REFUSE)

    results = at_once(4, press)
    assert sum(isinstance(result, TrainingRunOn) for result in results) == 3
    (made,) = [result for result in results if isinstance(result, TrainingRun)]
    assert list(TrainingRun.objects.all()) == [made]


@pytest.mark.django_db(transaction=True)
def test_of_several_workers_one_begins() -> None:
    make_run()
    make_run()
    taken = [t for t in at_once(4, lambda: training_claim(actor=WORKER)) if t is not None]
    assert len(taken) == 1


@pytest.mark.django_db
def test_the_same_key_gives_the_same_run_and_another_request_under_it_is_refused() -> None:
    admin, snapshot = make_actor(roles=["admin"]), make_snapshot()
    first = make_run(actor=admin, snapshot=snapshot, key="k1")
    assert make_run(actor=admin, snapshot=snapshot, key="k1") == first
    with pytest.raises(IdempotencyConflict):
        make_run(actor=admin, snapshot=snapshot, key="k1", epochs=2)
    assert make_run(snapshot=snapshot, key="k1") != first  # another person's key


# The worker's side


@pytest.mark.django_db
def test_a_heartbeat_keeps_the_lease_and_what_was_told() -> None:
    run = make_run()
    taken = claim()
    news = TrainingNews(
        progress={"phase": "training", "epoch": 1},
        facts={"device": "cpu"},
        log_tail="a line\x00",
        epochs=[{"epoch": 1, "train_loss": 0.9}, {"epoch": 1, "train_loss": 0.8}],
    )
    Job.objects.filter(pk=run.pk).update(lease_expires_at=timezone.now() - timedelta(minutes=1))
    assert training_heartbeat(claim=taken, news=news)
    assert training_heartbeat(
        claim=taken, news=TrainingNews(epochs=[{"epoch": 1, "train_loss": 0.7}])
    )
    shown = training_run_get(actor=make_actor(site=run.job.site), run_id=run.pk)
    assert shown.job.progress == {"phase": "training", "epoch": 1}
    assert (shown.facts, shown.log_tail) == ({"device": "cpu"}, "a line")
    assert [(e.epoch, e.values) for e in shown.epoch_rows.all()] == [(1, {"train_loss": 0.7})]
    assert jobs_sweep(actor=WORKER)["requeued"] == 0


@pytest.mark.django_db
def test_an_attempt_that_was_taken_away_tells_and_stores_nothing() -> None:
    run = make_run()
    first = claim()
    Job.objects.filter(pk=run.pk).update(lease_expires_at=timezone.now() - timedelta(minutes=1))
    assert jobs_sweep(actor=WORKER)["requeued"] == 1
    Job.objects.filter(pk=run.pk).update(available_at=timezone.now() - timedelta(minutes=1))
    second = claim()
    assert (second.job_id, second.attempt) == (first.job_id, 2)
    assert not training_heartbeat(claim=first, news=TrainingNews(log_tail="late"))
    assert succeed(first) is None
    fail = {"code": "x", "detail": "x", "transient": False, "news": NO_NEWS}
    assert training_fail(actor=WORKER, claim=first, **fail) is None
    run.refresh_from_db()
    assert (run.log_tail, run.model_version) == ("", None)
    assert ModelVersion.objects.count() == 1


@pytest.mark.django_db
def test_a_finished_run_makes_a_candidate_and_the_live_model_stays() -> None:
    run, live = make_run(), live_model()
    model = succeed(claim())
    assert model is not None
    assert (model.state, model.card["origin"]) == (ModelState.CANDIDATE, "training")
    assert live_model() == live
    run.refresh_from_db()
    assert (state_of(run), run.model_version, run.weights_sha256) == (
        JobState.SUCCEEDED,
        model,
        model.sha256,
    )
    actions = set(AuditEvent.objects.values_list("action", flat=True))
    assert {"model.candidate", "training_run.succeeded"} <= actions
    assert training_runs_ended(run_ids=[run.pk]) == {run.pk}


@pytest.mark.django_db
def test_the_same_weights_again_are_the_candidate_that_is_known() -> None:
    make_run()
    first = succeed(claim())
    make_run()
    assert succeed(claim(), version="another-name") == first
    assert ModelVersion.objects.count() == 2


@pytest.mark.django_db
def test_bytes_that_are_not_those_of_the_card_make_no_candidate() -> None:
    run = make_run()
    taken = claim()
    with pytest.raises(ValueError, match="sha256"):
        training_succeed(actor=WORKER, claim=taken, weights=b"a", card=card_of(b"b"), news=NO_NEWS)
    assert state_of(run) == JobState.RUNNING


@pytest.mark.django_db
def test_a_fault_that_may_pass_is_tried_again_and_another_ends_the_run_by_name() -> None:
    run = make_run()
    told = {"actor": WORKER, "detail": "a sentence", "news": NO_NEWS}
    assert training_fail(claim=claim(), code="killed", transient=True, **told) == JobState.PENDING
    Job.objects.filter(pk=run.pk).update(available_at=timezone.now() - timedelta(minutes=1))
    state = training_fail(claim=claim(), code="one_class", transient=False, **told)
    assert state == JobState.FAILED
    job = Job.objects.get(pk=run.pk)
    assert (job.error_code, job.error_detail) == ("one_class", "a sentence")
    assert AuditEvent.objects.get(action="training_run.failed").detail == {"code": "one_class"}
    with pytest.raises(StateConflict):
        training_run_cancel(actor=WORKER, run_id=run.pk, reason="late")


@pytest.mark.django_db
def test_a_worker_that_must_stop_gives_the_run_back_without_a_lost_attempt() -> None:
    run = make_run()
    most = Job.objects.get(pk=run.pk).max_attempts
    training_release(actor=WORKER, claim=claim(), reason="the worker is stopping")
    job = Job.objects.get(pk=run.pk)
    assert (job.state, job.attempt, job.max_attempts) == (JobState.PENDING, 1, most + 1)
    assert claim().attempt == 2


# Cancelling and seeing


@pytest.mark.django_db
def test_cancelling_asks_for_a_reason_and_twice_is_once() -> None:
    run = make_run()
    admin = make_actor(roles=["admin"], site=run.job.site)
    with pytest.raises(FieldInvalid):
        training_run_cancel(actor=admin, run_id=run.pk, reason="")
    taken = claim()
    for _ in range(2):
        training_run_cancel(actor=admin, run_id=run.pk, reason="wrong snapshot")
    assert state_of(run) == JobState.CANCELLED
    assert not training_heartbeat(claim=taken, news=NO_NEWS)
    event = AuditEvent.objects.get(action="training_run.cancelled")
    assert event.detail == {"reason": "wrong snapshot"}


@pytest.mark.django_db
def test_another_sites_run_is_not_there() -> None:
    run, stranger = make_run(), make_actor(roles=["admin"], site=make_site())
    assert not training_run_list(actor=stranger).exists()
    with pytest.raises(NotFound):
        training_run_get(actor=stranger, run_id=run.pk)
    with pytest.raises(NotFound):
        training_run_cancel(actor=stranger, run_id=run.pk, reason="no")


@pytest.mark.django_db
def test_who_may_only_submit_does_not_cancel_a_training_as_a_job() -> None:
    run = make_run()
    with pytest.raises(PermissionDenied):
        job_cancel(actor=make_actor(site=run.job.site), job_id=run.pk)


@pytest.mark.django_db
def test_a_training_is_not_cancelled_as_a_job_without_a_reason() -> None:
    run = make_run()
    admin = make_actor(roles=["admin"], site=run.job.site)
    for actor in (admin, WORKER):
        with pytest.raises(StateConflict, match="with a reason"):
            job_cancel(actor=actor, job_id=run.pk)
    assert state_of(run) == JobState.PENDING
    training_run_cancel(actor=admin, run_id=run.pk, reason="wrong snapshot")
    with pytest.raises(StateConflict, match="with a reason"):
        job_cancel(actor=admin, job_id=run.pk)


@pytest.mark.django_db
def test_the_sweeper_rings_for_no_training_behind_one_that_runs() -> None:
    make_run()
    make_run()
    taken = claim()
    long_ago = timezone.now() - timedelta(minutes=1)
    Job.objects.filter(state=JobState.PENDING).update(available_at=long_ago)
    for _ in range(3):
        assert jobs_sweep(actor=WORKER)["rung"] == 0
    assert succeed(taken)
    assert jobs_sweep(actor=WORKER)["rung"] == 1
