"""Replay: a stored result computed again, asked for, kept, and never mixed up with readings."""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import Any

import pytest
from django.db import transaction

from cases.access import SYSTEM
from cases.errors import NotFound, Overloaded, PermissionDenied
from cases.models import AuditEvent, Job, JobEvent, Replay, Result
from cases.reports.answers import case_summary
from cases.selectors.cases import case_get
from cases.selectors.jobs import queue_position
from cases.selectors.portal import case_steps, queue_positions
from cases.services.comparison import (
    GPU,
    OTHER_ENGINE,
    SAME_ENGINE,
    differences,
    tolerance_between,
)
from cases.services.jobs import job_cancel, job_rerun
from cases.services.leases import (
    engine_jobs_claim,
    job_fail,
    jobs_release,
    jobs_sweep,
    replay_job_claim,
)
from cases.services.replays import replay_request, replay_store
from cases.services.results import result_store
from cases.states import JobState
from cases.vocabulary import JobKind, Outcome
from tests.factories import (
    WORKER,
    answer,
    at_once,
    frame_result,
    live_model,
    make_actor,
    newer_model,
    stored_result,
    submit,
)
from tests.tampering import tamper

TRANSFORM = {
    "picture": [500, 470],
    "content": [0, 0, 500, 470],
    "covered": [0.0, -15.0, 500.0, 485.0],
    "fit": "pad",
    "size": 224,
}


def full(malignant: float = 0.8, **kwargs: Any):
    """An answer with all that newer engines tell."""
    told = answer(malignant, **kwargs)
    return replace(told, temperature=1.2, minimum_score=0.3, transform=TRANSFORM)


def stored(told=None) -> Result:
    job = submit().jobs.get()
    claim = engine_jobs_claim(actor=WORKER, limit=1)[0]
    assert claim.job_id == job.pk
    made = result_store(actor=WORKER, job_id=job.pk, attempt=1, answer=told or full())
    assert made is not None
    return Result.objects.get(pk=made.pk)


def replayed(result: Result, told) -> Replay:
    """Ask for a replay and let a worker come to ``told``."""
    job = replay_request(actor=SYSTEM, result_id=result.pk)
    (claim,) = replay_job_claim(actor=WORKER, job_id=job.pk)
    found = replay_store(actor=WORKER, job_id=job.pk, attempt=claim.attempt, answer=told)
    assert found is not None
    return found


def names(result: Result, told) -> list[str]:
    tolerance = tolerance_between(result.engine, told.engine)
    return [found["what"] for found in differences(result, told, tolerance)]


@pytest.mark.django_db
class TestComparing:
    def test_the_same_answer_is_equal(self) -> None:
        assert names(stored(), full()) == []

    def test_scores_within_the_tolerance_are_equal_and_beyond_it_are_not(self) -> None:
        result = stored()
        assert names(result, full(0.8 + 0.9 * SAME_ENGINE.score)) == []
        assert "score_malignant" in names(result, full(0.8 + 1.1 * SAME_ENGINE.score))

    def test_engines_decide_the_tolerance(self) -> None:
        assert tolerance_between("onnxruntime-1-cpu", "onnxruntime-1-cpu") == SAME_ENGINE
        assert tolerance_between("onnxruntime-1-cpu", "onnxruntime-2-cpu") == OTHER_ENGINE
        assert tolerance_between("pytorch-2-cpu", "onnxruntime-1-cpu") == OTHER_ENGINE
        assert tolerance_between("pytorch-2-cuda", "pytorch-2-cuda") == GPU
        other = replace(full(0.8005), engine="another")
        assert names(stored(), other) == []

    @pytest.mark.parametrize(
        ("change", "what"),
        [
            ({"label": "benign"}, ["label"]),
            (
                {"outcome": Outcome.ABSTAINED, "reason_code": "uncertain"},
                ["outcome", "reason_code"],
            ),
            ({"preprocessing": "other"}, ["preprocessing"]),
            ({"threshold": 0.400001}, ["threshold"]),
            ({"sensitivity": 0.9}, ["sensitivity"]),
            ({"temperature": 1.3}, ["temperature"]),
            ({"minimum_score": None}, ["minimum_score"]),
            ({"transform": TRANSFORM | {"content": [0, 0, 499, 470]}}, ["content"]),
            ({"transform": None}, ["picture", "content", "fit", "size"]),
            ({"heatmap": struct.pack("<147e", *([0.5] * 146), 0.6)}, ["heatmap"]),
            ({"heatmap": struct.pack("<147e", *([0.5] * 146), float("nan"))}, ["heatmap"]),
            ({"heatmap_box": [0.0, 0.0, 500.0, 471.0]}, ["heatmap_box"]),
            ({"heatmap": None}, ["heatmap_shape"]),
        ],
    )
    def test_what_differs_is_named(self, change: dict[str, Any], what: list[str]) -> None:
        assert names(stored(), replace(full(), **change)) == what

    def test_a_refusal_that_does_not_come_again_is_a_difference(self) -> None:
        refused = replace(full(outcome="refused", reason="no"), reason_code="not_ultrasound")
        result = stored(refused)
        assert names(result, refused) == []
        found = names(result, full())
        assert {"outcome", "label", "score_malignant", "heatmap_shape"} <= set(found)

    def test_what_an_early_result_did_not_store_is_not_compared(self) -> None:
        result = stored(answer(0.8))
        assert (result.temperature, result.transform) == (None, None)
        assert names(result, full()) == []


@pytest.mark.django_db
def test_a_replay_is_kept_and_audited_and_the_result_is_not_touched() -> None:
    result = stored()
    before = Result.objects.filter(pk=result.pk).values().get()
    replay = replayed(result, full(0.7))
    assert not replay.equal
    found = {difference["what"]: difference for difference in replay.differences}
    assert found["score_malignant"]["stored"] == 0.8
    assert found["score_malignant"]["now"] == pytest.approx(0.7)
    assert found["score_malignant"]["tolerance"] == replay.tolerance == SAME_ENGINE.score
    assert Result.objects.filter(pk=result.pk).values().get() == before
    events = AuditEvent.objects.filter(object_id=str(result.pk)).order_by("id")
    assert [e.action for e in events] == ["result.stored", "replay.created", "replay.stored"]
    assert events[2].detail["equal"] is False
    assert {e.case_id for e in events} == {result.image.case_id}
    moves = JobEvent.objects.filter(job=replay.job).order_by("id")
    assert [move.to_state for move in moves] == ["PENDING", "RUNNING", "SUCCEEDED"]


@pytest.mark.django_db
def test_a_tampered_score_does_not_come_out_again() -> None:
    result = stored()
    tamper(result, score_malignant=0.1, score_benign=0.84)
    replay = replayed(result, full())
    assert not replay.equal
    assert [d["what"] for d in replay.differences] == ["score_benign", "score_malignant"]


@pytest.mark.django_db
def test_what_was_found_is_never_changed_by_the_database() -> None:
    replay = replayed(stored(), full())
    with pytest.raises(Exception, match="append-only"), transaction.atomic():
        Replay.objects.filter(pk=replay.pk).update(engine="x")


@pytest.mark.django_db
def test_asking_twice_is_once_while_it_waits_and_anew_afterwards() -> None:
    result = stored()
    first = replay_request(actor=SYSTEM, result_id=result.pk)
    assert replay_request(actor=SYSTEM, result_id=result.pk) == first
    replayed(result, full())
    again = replay_request(actor=SYSTEM, result_id=result.pk)
    assert again != first
    assert Job.objects.filter(kind=JobKind.REPLAY).count() == 2


@pytest.mark.django_db(transaction=True)
def test_of_many_who_ask_at_once_all_get_the_same_replay() -> None:
    result = stored()
    jobs = at_once(4, lambda: replay_request(actor=SYSTEM, result_id=result.pk).pk)
    assert len(set(jobs)) == 1
    assert Job.objects.filter(kind=JobKind.REPLAY).count() == 1


@pytest.mark.django_db
def test_another_sites_result_is_not_found_and_a_reader_may_not_ask() -> None:
    result = stored()
    with pytest.raises(NotFound):
        replay_request(actor=make_actor(), result_id=result.pk)
    with pytest.raises(PermissionDenied):
        replay_request(actor=make_actor(roles=["auditor"]), result_id=result.pk)


@pytest.mark.django_db
def test_a_replay_is_made_with_the_results_own_model_image_and_frame() -> None:
    result = frame_result()
    live = newer_model("second", b"another network")
    assert (result.frame > 0, live.state) == (True, "ACTIVE")
    job = replay_request(actor=SYSTEM, result_id=result.pk)
    assert (job.image_id, job.frame) == (None, result.frame)
    (claim,) = engine_jobs_claim(actor=WORKER, limit=8)
    assert claim.kind is JobKind.REPLAY
    assert (claim.image_id, claim.frame) == (result.image_id, result.frame)
    assert claim.model_version_id == result.model_version_id != live.pk
    picture = result.image.frame_rows.get(index=result.frame).storage_name
    assert claim.storage_name == picture != result.image.storage_name


@pytest.mark.django_db
def test_a_replay_is_no_reading_of_the_image() -> None:
    actor = make_actor()
    job = submit(actor=actor).jobs.get()
    result = stored_result(job, 0.9)
    replay = replay_request(actor=actor, result_id=result.pk)
    case = case_get(actor=actor, case_id=result.image.case_id)
    assert case_summary(case).key == "above"
    assert case_summary(case).is_final
    assert not Job.objects.filter(kind=JobKind.INFERENCE, state=JobState.PENDING).exists()
    # The same image may be read again meanwhile.
    assert job_rerun(actor=actor, job_id=job.pk).kind == JobKind.INFERENCE
    assert replay.state == JobState.PENDING


@pytest.mark.django_db
def test_new_images_go_first_but_a_replay_does_not_wait_for_ever() -> None:
    result = stored()
    replay = replay_request(actor=SYSTEM, result_id=result.pk)
    fresh = submit().jobs.get()
    assert [c.job_id for c in engine_jobs_claim(actor=WORKER, limit=8)] == [fresh.pk]
    assert [c.job_id for c in engine_jobs_claim(actor=WORKER, limit=8)] == [replay.pk]
    assert engine_jobs_claim(actor=WORKER, limit=8) == []
    other = stored_result(submit().jobs.get())
    old = replay_request(actor=SYSTEM, result_id=other.pk)
    Job.objects.filter(pk=old.pk).update(due_at=result.created_at)
    submit()
    assert [c.job_id for c in engine_jobs_claim(actor=WORKER, limit=8)] == [old.pk]


@pytest.mark.django_db
def test_one_overdue_replay_takes_no_other_replay_along() -> None:
    late, early = stored(), stored()
    overdue = replay_request(actor=SYSTEM, result_id=late.pk)
    Job.objects.filter(pk=overdue.pk).update(due_at=late.created_at)
    not_due = replay_request(actor=SYSTEM, result_id=early.pk)
    stat = submit(priority="stat").jobs.get()
    taken = [engine_jobs_claim(actor=WORKER, limit=8) for _ in range(3)]
    assert [[c.job_id for c in claims] for claims in taken] == [
        [overdue.pk],
        [stat.pk],
        [not_due.pk],
    ]


@pytest.mark.django_db
def test_replays_and_readings_stand_in_one_line() -> None:
    replay = replay_request(actor=SYSTEM, result_id=stored().pk)
    other = replay_request(actor=SYSTEM, result_id=stored().pk)
    reading = submit().jobs.get()
    line = [Job.objects.get(pk=job.pk) for job in (reading, replay, other)]
    assert [queue_position(job) for job in line] == [0, 1, 2]
    assert queue_positions(line) == {job.pk: place for place, job in enumerate(line)}
    Job.objects.filter(pk=other.pk).update(due_at=replay.created_at)
    line = [Job.objects.get(pk=job.pk) for job in (other, reading, replay)]
    assert [queue_position(job) for job in line] == [0, 1, 2]
    assert queue_positions(line) == {job.pk: place for place, job in enumerate(line)}


@pytest.mark.django_db
def test_a_site_may_have_so_many_replays_waiting_and_the_operator_any(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("cases.services.replays.MAX_ACTIVE", 1)
    actor = make_actor()
    results = [stored_result(submit(actor=actor).jobs.get()) for _ in range(3)]
    first = replay_request(actor=actor, result_id=results[0].pk)
    assert replay_request(actor=actor, result_id=results[0].pk) == first
    with pytest.raises(Overloaded):
        replay_request(actor=actor, result_id=results[1].pk)
    elsewhere = make_actor()
    other = stored_result(submit(actor=elsewhere).jobs.get())
    assert replay_request(actor=elsewhere, result_id=other.pk).state == JobState.PENDING
    assert replay_request(actor=SYSTEM, result_id=results[2].pk).state == JobState.PENDING
    job_cancel(actor=actor, job_id=first.pk)
    assert Job.objects.filter(kind=JobKind.REPLAY).count() == 3


@pytest.mark.django_db
def test_replays_are_no_steps_of_a_case() -> None:
    result = stored()
    case_id = result.image.case_id
    before = [event.action for event in case_steps(actor=SYSTEM, case_id=case_id, limit=6)]
    assert "result.stored" in before
    for _ in range(3):
        replayed(result, full(0.7))
    assert AuditEvent.objects.filter(action="replay.stored").count() == 3
    assert [event.action for event in case_steps(actor=SYSTEM, case_id=case_id, limit=6)] == before


@pytest.mark.django_db
def test_a_replay_whose_worker_died_is_done_by_another(settings) -> None:
    settings.BCWEB_LEASE_SECONDS = 0
    result = stored()
    job = replay_request(actor=SYSTEM, result_id=result.pk)
    (lost,) = replay_job_claim(actor=WORKER, job_id=job.pk)
    assert jobs_sweep(actor=SYSTEM)["requeued"] == 1
    Job.objects.filter(pk=job.pk).update(available_at=job.created_at)
    (held,) = engine_jobs_claim(actor=WORKER, limit=8)
    # The first worker wakes up late: it is fenced out.
    late = replay_store(actor=WORKER, job_id=job.pk, attempt=lost.attempt, answer=full())
    assert late is None
    kept = replay_store(actor=WORKER, job_id=job.pk, attempt=held.attempt, answer=full())
    assert kept is not None
    assert Replay.objects.count() == 1


@pytest.mark.django_db
def test_waiting_replays_are_rung_for(monkeypatch: pytest.MonkeyPatch) -> None:
    live_model()
    rung: list[tuple[str, int]] = []
    monkeypatch.setattr(
        "cases.queue.ring", lambda *, kind, job_ids, **_: rung.append((kind, len(job_ids)))
    )
    job = replay_request(actor=SYSTEM, result_id=stored().pk, ring=False)
    Job.objects.filter(pk=job.pk).update(available_at=job.created_at.replace(year=2020))
    assert jobs_sweep(actor=SYSTEM)["rung"] == 1
    assert rung == [(JobKind.REPLAY, 1)]


@pytest.mark.django_db
def test_a_replay_given_back_or_failed_or_cancelled_leaves_its_trail_at_the_result() -> None:
    result = stored()
    job = replay_request(actor=SYSTEM, result_id=result.pk)
    jobs_release(
        actor=WORKER, claims=replay_job_claim(actor=WORKER, job_id=job.pk), reason="stopping"
    )
    (claim,) = replay_job_claim(actor=WORKER, job_id=job.pk)
    job_fail(
        actor=WORKER, job_id=job.pk, attempt=claim.attempt, code="x", detail="y", transient=False
    )
    job_cancel(actor=SYSTEM, job_id=replay_request(actor=SYSTEM, result_id=result.pk).pk)
    trail = AuditEvent.objects.filter(action__startswith="replay.").order_by("id")
    assert [event.action.partition(".")[2] for event in trail] == [
        "created",
        "failed",
        "created",
        "cancelled",
    ]
    assert {event.object_id for event in trail} == {str(result.pk)}
    assert not Replay.objects.exists()
