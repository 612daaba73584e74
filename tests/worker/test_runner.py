"""The worker's loop on real rows, with an engine process that dies when told to."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from datetime import timedelta

import pytest
from django.db.models import Value
from django.db.models.functions import Now

from cases.access import SYSTEM
from cases.models import Job, Result
from cases.services.jobs import job_cancel
from cases.services.leases import jobs_sweep
from cases.states import JobState
from cases.storage import uploads
from tests.factories import live_model, make_actor, submit
from worker import engine, process
from worker.engine import EngineFaultError, EngineOptions, EngineProcess
from worker.runner import Runner

pytestmark = pytest.mark.django_db


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(engine, "CHILD_MODULE", "tests.worker.fake_engine")
    runner = Runner(name="test-worker")
    runner.engine.options = EngineOptions(batch_s=60, start_s=120, memory_mb=300)
    yield runner
    runner.engine.close()


def poison(monkeypatch: pytest.MonkeyPatch, job: Job, kind: str) -> None:
    monkeypatch.setenv("BCWEB_TEST_POISON", f"{job.image.sha256}={kind}")


def drain_to_the_end(runner: Runner) -> None:
    """Drain until nothing is active, without waiting for the pauses between attempts."""
    for _ in range(10):
        runner.drain()
        again = Job.objects.filter(state=JobState.PENDING)
        if not again.update(available_at=Now() - Value(timedelta(minutes=1))):
            return
    raise AssertionError("jobs never ended")


def test_what_waits_is_answered_in_one_go(runner: Runner) -> None:
    jobs = [submit().jobs.get() for _ in range(3)]
    assert runner.drain() == 3
    for job in jobs:
        job.refresh_from_db()
        assert job.state == JobState.SUCCEEDED
        assert job.result.engine == "fake"
        assert len(job.result.heatmap) == 294
        assert job.result.feature_distance == 1.25


def test_nothing_waiting_is_no_work(runner: Runner) -> None:
    live_model()
    assert runner.drain() == 0


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("crash", "engine_crashed"),
        ("hang", "engine_timeout"),
        ("grow", "engine_memory"),
        ("garbage", "engine_crashed"),
    ],
)
def test_a_poison_image_fails_alone_and_its_batch_mates_succeed(
    runner: Runner, monkeypatch: pytest.MonkeyPatch, kind: str, code: str
) -> None:
    good = [submit().jobs.get() for _ in range(2)]
    bad = submit().jobs.get()
    good.append(submit().jobs.get())
    poison(monkeypatch, bad, kind)
    if kind == "hang":
        # Which is waited for to the end; nothing else is over in a time on a busy machine.
        runner.engine.options = replace(runner.engine.options, batch_s=2)
    drain_to_the_end(runner)
    bad.refresh_from_db()
    assert (bad.state, bad.error_code, bad.attempt) == (JobState.FAILED, code, bad.max_attempts)
    assert not Result.objects.filter(job=bad).exists()
    for job in good:
        job.refresh_from_db()
        assert job.state == JobState.SUCCEEDED
    assert Result.objects.count() == 3


def test_an_image_the_engine_cannot_read_fails_without_another_attempt(runner: Runner) -> None:
    job = submit().jobs.get()
    uploads().delete(job.image.storage_name)
    from django.core.files.base import ContentFile

    uploads().save(job.image.storage_name, ContentFile(b"unreadable"))
    runner.drain()
    job.refresh_from_db()
    assert (job.state, job.error_code, job.attempt) == (JobState.FAILED, "image_unreadable", 1)


def test_missing_bytes_fail_the_job_and_say_so(runner: Runner) -> None:
    lost, kept = submit().jobs.get(), submit().jobs.get()
    uploads().delete(lost.image.storage_name)
    runner.drain()
    lost.refresh_from_db()
    kept.refresh_from_db()
    assert (lost.state, lost.error_code) == (JobState.FAILED, "storage_damaged")
    assert kept.state == JobState.SUCCEEDED


def test_a_job_cancelled_while_the_engine_works_gets_no_result(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    actor = make_actor()
    job = submit(actor=actor).jobs.get()
    real = runner.engine.predict

    def cancelled_meanwhile(*args, **kwargs):
        job_cancel(actor=actor, job_id=job.pk)
        return real(*args, **kwargs)

    monkeypatch.setattr(runner.engine, "predict", cancelled_meanwhile)
    runner.drain()
    job.refresh_from_db()
    assert job.state == JobState.CANCELLED
    assert Result.objects.count() == 0


def test_a_worker_told_to_stop_takes_no_more(runner: Runner) -> None:
    submit()
    runner.should_stop = lambda: True
    assert runner.drain() == 0
    assert Job.objects.get().state == JobState.PENDING


def test_the_engine_is_started_again_after_it_was_killed(runner: Runner) -> None:
    submit()
    runner.drain()
    first = runner.engine.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    job = submit().jobs.get()
    drain_to_the_end(runner)
    job.refresh_from_db()
    assert job.state == JobState.SUCCEEDED
    assert runner.engine.pid != first


def test_leases_are_kept_while_the_engine_works(
    runner: Runner, monkeypatch: pytest.MonkeyPatch, settings
) -> None:
    settings.BCWEB_LEASE_SECONDS = 1
    # Long beside a third of the lease: a moment in which nobody runs falls into it.
    runner.engine.options = EngineOptions(batch_s=5, start_s=120)
    job = submit().jobs.get()
    poison(monkeypatch, job, "hang")
    kept = []
    monkeypatch.setattr(
        "worker.runner.jobs_heartbeat", lambda *, claims: kept.append(len(claims)) or frozenset()
    )
    runner.drain()
    assert kept


def test_the_real_engine_refuses_a_model_file_that_was_changed(tmp_path) -> None:
    weights = tmp_path / "m.safetensors"
    weights.write_bytes(b"not a model")
    process = EngineProcess(EngineOptions(start_s=200))
    try:
        with pytest.raises(EngineFaultError) as fault:
            process.load("0" * 64, weights, lambda: None)
        assert fault.value.code == "model_unavailable"
    finally:
        process.close()


def test_a_worker_that_cannot_load_the_model_takes_no_job(
    runner: Runner, settings, tmp_path
) -> None:
    settings.STATE_DIR = tmp_path
    jobs = [submit().jobs.get() for _ in range(12)]
    uploads().delete(jobs[0].model_version.storage_name)
    for _ in range(4):
        with pytest.raises(EngineFaultError):
            runner.drain()
    assert {(j.state, j.attempt) for j in Job.objects.all()} == {(JobState.PENDING, 0)}


def test_a_worker_whose_model_does_not_load_is_not_ready_and_comes_back(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit()
    pulse = process.Pulse(name="inference@test", kind="inference", ready=True)
    monkeypatch.setattr(process, "_runner", runner)
    monkeypatch.setattr(process, "_pulse", pulse)

    def broken(*_: object) -> None:
        raise EngineFaultError("model_unavailable", "gone")

    with monkeypatch.context() as fault:
        fault.setattr(runner, "_load", broken)
        assert process.work() == 0
        assert not pulse.ready
    process.ensure_ready()
    assert pulse.ready
    assert process.work() == 1


def test_the_mates_of_a_hanging_image_keep_their_leases(
    runner: Runner, monkeypatch: pytest.MonkeyPatch, settings
) -> None:
    settings.BCWEB_LEASE_SECONDS = 6
    runner.engine.options = EngineOptions(batch_s=8, start_s=120)
    bad = submit(priority="stat").jobs.get()
    mates = [submit().jobs.get() for _ in range(2)]
    poison(monkeypatch, bad, "hang")
    swept: list[int] = []
    real = runner.engine._watch

    def watch_and_sweep(*args: object) -> None:
        # Another worker's sweeper, all the time.
        def wait() -> None:
            runner._keep()
            swept.append(jobs_sweep(actor=SYSTEM)["requeued"])

        real(args[0], args[1], wait)

    monkeypatch.setattr(runner.engine, "_watch", watch_and_sweep)
    runner.drain()
    assert sum(swept) == 0
    for mate in mates:
        mate.refresh_from_db()
        assert (mate.state, mate.attempt) == (JobState.SUCCEEDED, 1)


@pytest.mark.parametrize(
    "change",
    [
        {"scores": {"benign": 2.0, "malignant": -1.0, "normal": 0.0}},
        {"scores": {"benign": 0.5}},
        {"label": "perhaps"},
        {"outcome": "sure"},
        {"duration_ms": float("nan")},
        {"phash": -1},
        {"heatmap_shape": [3, 9, 9]},
        {"reason": "a\0b"},
    ],
)
def test_a_senseless_answer_fails_its_own_job_and_not_its_mates(
    runner: Runner, monkeypatch: pytest.MonkeyPatch, change: dict[str, object]
) -> None:
    jobs = [submit().jobs.get() for _ in range(3)]
    real = runner.engine.predict

    def one_bad(*args, **kwargs):
        answers = real(*args, **kwargs)
        first, heatmap = answers[0]
        return [({**first, **change}, heatmap), *answers[1:]]

    monkeypatch.setattr(runner.engine, "predict", one_bad)
    runner.drain()
    for job in jobs:
        job.refresh_from_db()
    assert sorted(job.state for job in jobs) == ["FAILED", "SUCCEEDED", "SUCCEEDED"]
    failed = next(job for job in jobs if job.state == "FAILED")
    assert (failed.error_code, failed.attempt) == ("engine_answer_invalid", 1)


def test_a_job_whose_own_model_never_loads_is_put_off_and_then_fails(
    runner: Runner, settings, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.runner.MAX_PUT_OFF", 3)
    settings.STATE_DIR = tmp_path
    job = submit().jobs.get()
    monkeypatch.setattr(runner, "warm_up", lambda model: "")  # the live model is another one
    uploads().delete(job.model_version.storage_name)
    drain_to_the_end(runner)
    job.refresh_from_db()
    assert (job.state, job.error_code, job.attempt) == (JobState.FAILED, "model_unavailable", 3)
