"""The worker gives up waiting: told to end, or without its database. And what failed goes alone."""

from __future__ import annotations

import errno
from datetime import timedelta
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError
from django.db.models import Value
from django.db.models.functions import Now

from cases.models import Job, Result
from cases.services.leases import engine_jobs_claim, job_fail
from cases.states import JobState
from tests.factories import WORKER, submit
from worker import engine
from worker.engine import EngineOptions
from worker.runner import Runner, WorkerStoppingError

pytestmark = pytest.mark.django_db


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(engine, "CHILD_MODULE", "tests.worker.fake_engine")
    runner = Runner(name="test-worker")
    runner.engine.options = EngineOptions(batch_s=60, start_s=120)
    yield runner
    runner.engine.close()


def hang_at(monkeypatch: pytest.MonkeyPatch, job: Job) -> None:
    monkeypatch.setenv("BCWEB_TEST_POISON", f"{job.image.sha256}=hang")


def told_to_stop_in_mid_batch(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    """``should_stop`` turns true once the engine has the batch."""
    told: list[bool] = []
    real = runner.engine.predict

    def predict(*args: Any) -> Any:
        told.append(True)
        return real(*args)

    monkeypatch.setattr(runner.engine, "predict", predict)
    runner.should_stop = lambda: bool(told)


def test_a_batch_that_takes_too_long_for_a_stopping_worker_is_given_back(
    runner: Runner, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.BCWEB_STOP_SECONDS = 1
    jobs = [submit().jobs.get() for _ in range(2)]
    hang_at(monkeypatch, jobs[1])
    told_to_stop_in_mid_batch(runner, monkeypatch)
    assert runner.drain() == 2
    for job in jobs:
        job.refresh_from_db()
        assert (job.state, job.attempt, job.max_attempts) == (JobState.PENDING, 1, 4)
        # It has not failed: it is no suspect.
        assert job.error_code == ""
    assert runner.engine.pid is None
    assert Result.objects.count() == 0


def test_a_batch_that_is_done_in_time_is_stored_by_a_stopping_worker(
    runner: Runner, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.BCWEB_STOP_SECONDS = 60
    jobs = [submit().jobs.get() for _ in range(2)]
    told_to_stop_in_mid_batch(runner, monkeypatch)
    waiting = submit()
    settings.BCWEB_BATCH = 2
    assert runner.drain() == 2
    states = {job.state for job in Job.objects.filter(pk__in=[job.pk for job in jobs])}
    assert states == {JobState.SUCCEEDED}
    assert waiting.jobs.get().state == JobState.PENDING


def test_a_worker_told_to_stop_while_it_loads_its_model_takes_nothing(
    runner: Runner, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.BCWEB_STOP_SECONDS = 0
    submit()
    told = chain([False], repeat(True))
    runner.should_stop = lambda: next(told)
    with pytest.raises(WorkerStoppingError):
        runner.drain()
    assert Job.objects.get().state == JobState.PENDING
    assert runner.engine.pid is None


def test_a_worker_that_was_told_to_stop_starts_no_engine_for_another_message(
    runner: Runner,
) -> None:
    submit()
    runner.should_stop = lambda: True
    assert runner.drain() == 0
    assert Job.objects.get().state == JobState.PENDING
    assert runner.engine.pid is None
    assert runner.reading is None


def test_a_heartbeat_without_a_database_costs_no_answer(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = submit().jobs.get()
    beats: list[int] = []

    def away(**_: Any) -> None:
        beats.append(1)
        raise OperationalError("the connection is closed")

    monkeypatch.setattr("worker.runner.jobs_heartbeat", away)
    # The connection of this test holds its transaction: it is to stay.
    monkeypatch.setattr("worker.inference_faults.connection.close", lambda: None)
    real = runner.engine._watch

    def watch(sock: Any, deadline: float, on_wait: Any) -> None:
        runner._next_heartbeat = 0.0
        real(sock, deadline, on_wait)

    monkeypatch.setattr(runner.engine, "_watch", watch)
    runner.drain()
    assert beats
    job.refresh_from_db()
    assert job.state == JobState.SUCCEEDED


def test_an_answer_nobody_waited_for_is_never_taken_for_the_next_images(
    runner: Runner, tmp_path: Path
) -> None:
    """Whatever ends the waiting: the engine's answer is still to come, about other images."""
    weights = tmp_path / "m"
    weights.write_bytes(b"x")
    runner.engine.load("sha", weights, lambda: None)
    first = runner.engine.pid

    def fail() -> None:
        raise RuntimeError("nobody waits any more")

    with pytest.raises(RuntimeError):
        runner.engine.predict("sha", [b"one"], fail)
    assert runner.engine.pid is None
    runner.engine.load("sha", weights, lambda: None)
    assert runner.engine.pid not in (None, first)
    ((answer, _),) = runner.engine.predict("sha", [b"unreadable"], lambda: None)
    assert answer["error"] == "image_unreadable"


def test_where_memory_runs_out_the_kernel_takes_the_engine_first(runner: Runner) -> None:
    runner.engine.start()
    assert Path(f"/proc/{runner.engine.pid}/oom_score_adj").read_text().strip() == "1000"


def test_a_full_disk_at_the_worker_is_no_fault_of_the_image(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = submit().jobs.get()

    def full(name: str, beside: Any) -> bytes:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr("worker.runner.read_small", lambda names: {})
        disk.setattr("worker.runner.read_bytes", full)
        runner.drain()
    job.refresh_from_db()
    assert (job.state, job.error_code, job.max_attempts) == (JobState.PENDING, "", 4)
    Job.objects.update(available_at=Now() - Value(timedelta(minutes=1)))
    runner.drain()
    job.refresh_from_db()
    assert job.state == JobState.SUCCEEDED


def test_what_failed_before_is_claimed_alone_and_takes_no_mates_along() -> None:
    suspect = submit().jobs.get()
    (claim,) = engine_jobs_claim(actor=WORKER, limit=8)
    told = {"code": "worker_lost", "detail": "Silent.", "transient": True}
    job_fail(actor=WORKER, job_id=suspect.pk, attempt=claim.attempt, **told)
    Job.objects.update(available_at=Now() - Value(timedelta(minutes=1)))
    fresh = [submit(priority="stat").jobs.get(), submit().jobs.get(), submit().jobs.get()]
    taken = []
    while claims := engine_jobs_claim(actor=WORKER, limit=8):
        taken.append([claim.job_id for claim in claims])
    assert taken == [[job.pk for job in fresh], [suspect.pk]]


def test_a_suspect_does_not_starve_behind_fresh_images() -> None:
    suspect = submit().jobs.get()
    (claim,) = engine_jobs_claim(actor=WORKER, limit=8)
    told = {"code": "engine_crashed", "detail": "It died.", "transient": True}
    job_fail(actor=WORKER, job_id=suspect.pk, attempt=claim.attempt, **told)
    Job.objects.update(available_at=Now() - Value(timedelta(minutes=1)))
    [submit() for _ in range(3)]
    # It was there before them: the next claim is its own.
    assert [claim.job_id for claim in engine_jobs_claim(actor=WORKER, limit=8)] == [suspect.pk]
