"""Real worker processes on real rows, under the faults of a bad night.

The engine is a fake one that dies, hangs, grows or waits at marked images; all else is real.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from django.db.models.functions import Now

from bcweb.embedded import linux
from cases.access import SYSTEM
from cases.models import Job, JobEvent, Result
from cases.services.leases import jobs_sweep
from cases.states import JobState
from tests.factories import live_model, submit
from tests.live import wait_for as _wait_for
from tests.processes import Running, inference_worker
from worker import engine
from worker.engine import EngineOptions
from worker.runner import Runner

pytestmark = [
    pytest.mark.flow,
    pytest.mark.django_db(transaction=True),
    # A minute on an idle machine; starting processes takes long on a busy one.
    pytest.mark.timeout(900),
]

PATIENCE_S = 400
wait_for = partial(_wait_for, seconds=PATIENCE_S)
FINAL = ("SUCCEEDED", "FAILED", "CANCELLED")


@pytest.fixture(autouse=True)
def model() -> None:
    live_model()


def submitted(count: int) -> list[Job]:
    return [submit().jobs.get() for _ in range(count)]


def poison(**kinds: Job) -> str:
    return ",".join(f"{job.image.sha256}={kind}" for kind, job in kinds.items())


def held_at(gate: Path) -> dict[str, str]:
    """Settings of a worker whose engine waits at every image while the gate is there."""
    return {
        "BCWEB_TEST_POISON": "*=gate",
        "BCWEB_TEST_GATE": str(gate),
        # However long the rest of the test takes.
        "BCWEB_BATCH_SECONDS": "900",
    }


def all_ended(keep_alive: Callable[[], None] = lambda: None) -> Callable[[], bool]:
    """Whether all jobs ended; sweeps meanwhile, as beat would."""

    def probe() -> bool:
        keep_alive()
        jobs_sweep(actor=SYSTEM)
        return not Job.objects.exclude(state__in=FINAL).exists()

    return probe


def exactly_one_result_each(jobs: list[Job]) -> None:
    for job in jobs:
        job.refresh_from_db()
        assert job.state == JobState.SUCCEEDED, (job.error_code, job.error_detail)
        assert Result.objects.filter(job=job).count() == 1


def test_poison_images_fail_alone_and_their_batch_mates_lose_nothing(tmp_path: Path) -> None:
    crash, good, hang, other, grow = submitted(5)
    marked = poison(crash=crash, hang=hang, grow=grow)
    # Enough for a good picture and for growing, however busy the machine is.
    limits = {"BCWEB_BATCH_SECONDS": "12", "BCWEB_ENGINE_MEMORY_MB": "300"}
    with inference_worker(tmp_path, "poisoned", BCWEB_TEST_POISON=marked, **limits) as worker:
        wait_for("all jobs to end", all_ended(), every=1)
        # The worker itself has outlived all of it.
        assert worker.process.poll() is None
    for job, code in (
        (crash, "engine_crashed"),
        (hang, "engine_timeout"),
        (grow, "engine_memory"),
    ):
        job.refresh_from_db()
        assert (job.state, job.error_code) == (JobState.FAILED, code)
        assert job.attempt == job.max_attempts == 3
        assert not Result.objects.filter(job=job).exists()
    exactly_one_result_each([good, other])
    assert {good.attempt, other.attempt} == {1}


def test_an_image_that_takes_the_whole_worker_down_ends_after_its_attempts_and_alone(
    tmp_path: Path, settings: Any
) -> None:
    settings.BCWEB_MAX_ATTEMPTS = 2
    deadly, *mates = submitted(4)
    # A lease that a living worker keeps, however busy the machine is.
    marked = {"BCWEB_TEST_POISON": poison(worker=deadly), "BCWEB_LEASE_SECONDS": "10"}
    with ExitStack() as stack:
        workers: list[Running] = []

        def start_again() -> None:
            """As a supervisor does."""
            if not workers or workers[-1].process.poll() is not None:
                name = f"life{len(workers)}"
                workers.append(
                    stack.enter_context(inference_worker(tmp_path, name, ready=False, **marked))
                )

        wait_for("all jobs to end", all_ended(start_again), every=1)
    deadly.refresh_from_db()
    assert (deadly.state, deadly.error_code, deadly.attempt) == (
        JobState.FAILED,
        "worker_lost",
        2,
    )
    exactly_one_result_each(mates)
    # They went down with it once, as its batch-mates, and never again.
    assert {mate.attempt for mate in mates} == {2}


def test_a_rolling_deploy_in_mid_batch_loses_and_doubles_nothing(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    held = {**held_at(gate), "BCWEB_BATCH": "3", "BCWEB_STOP_SECONDS": "900"}
    jobs = submitted(6)
    with (
        inference_worker(tmp_path, "old", **held) as old,
        inference_worker(tmp_path, "new", ready=False, BCWEB_BATCH="3") as new,
    ):
        wait_for("the old worker to be in mid-batch", gate.with_suffix(".reached").exists)
        old.tell_to_stop()
        wait_for("the old worker to hear it", lambda: "worker_stopping" in old.said())
        half = Job.objects.filter(state=JobState.SUCCEEDED)
        wait_for(
            "the new worker to do its part",
            lambda: jobs_sweep(actor=SYSTEM) and half.count() == 3,
            every=0.5,
        )
        gate.unlink()
        assert old.process.wait(PATIENCE_S) == 0
        wait_for("all jobs to end", all_ended(), every=0.2)
        assert new.process.poll() is None
    exactly_one_result_each(jobs)
    # What the old one had taken ahead was given back: a number more, and no attempt less.
    assert {(job.attempt, job.max_attempts) for job in jobs} <= {(1, 3), (2, 4)}
    workers = {job.worker.partition(":")[2] for job in jobs}
    assert workers == {str(old.pid), str(new.pid)}


def test_a_worker_told_to_stop_gives_back_what_it_cannot_finish_in_time(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    held = held_at(gate)
    jobs = submitted(2)
    with inference_worker(tmp_path, "stuck", BCWEB_STOP_SECONDS="1", **held) as worker:
        wait_for("the worker to be in mid-batch", gate.with_suffix(".reached").exists)
        told = time.monotonic()
        worker.tell_to_stop()
        assert worker.process.wait(PATIENCE_S) == 0
        # The bound, and what it takes to end on a busy machine; the batch itself had much longer.
        assert time.monotonic() - told < 120
        assert "batch_given_back" in worker.said()
    for job in jobs:
        job.refresh_from_db()
        # At once, not after its lease; and the attempt is given back too.
        assert (job.state, job.attempt, job.max_attempts) == (JobState.PENDING, 1, 4)
    with_another_worker(jobs, tmp_path)
    exactly_one_result_each(jobs)


def with_another_worker(jobs: list[Job], tmp_path: Path) -> None:
    """Another worker, in this process, takes what waits."""
    runner = Runner(name="another")
    runner.engine.options = EngineOptions(batch_s=300, start_s=300)
    module, engine.CHILD_MODULE = engine.CHILD_MODULE, "tests.worker.fake_engine"
    try:
        Job.objects.filter(state=JobState.PENDING).update(available_at=Now())
        assert runner.drain() == len(jobs)
    finally:
        engine.CHILD_MODULE = module
        runner.engine.close()


def test_a_worker_frozen_past_its_lease_and_woken_later_stores_nothing(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    held = held_at(gate)
    jobs = submitted(2)
    with inference_worker(tmp_path, "frozen", BCWEB_LEASE_SECONDS="3", **held) as worker:
        wait_for("the worker to be in mid-batch", gate.with_suffix(".reached").exists)
        everybody = worker.everybody()
        for pid in everybody:
            os.kill(pid, signal.SIGSTOP)
        wait_for("the leases to run out", lambda: jobs_sweep(actor=SYSTEM)["requeued"], every=0.5)
        gate.unlink()
        with_another_worker(jobs, tmp_path)
        for pid in everybody:
            os.kill(pid, signal.SIGCONT)
        wait_for("the woken worker to be fenced out", lambda: "job_fenced_out" in worker.said())
        worker.tell_to_stop()
        worker.process.wait(PATIENCE_S)
        assert worker.said().count("job_fenced_out") == len(jobs)
        assert "job_answered" not in worker.said()
    exactly_one_result_each(jobs)
    for job in jobs:
        assert (job.attempt, job.worker, job.result.attempt) == (2, "another", 2)
        moves = JobEvent.objects.filter(job=job).values_list("to_state", flat=True)
        assert list(moves) == ["PENDING", "RUNNING", "PENDING", "RUNNING", "SUCCEEDED"]


@pytest.mark.parametrize("ahead", [86_400, -86_400])
def test_a_worker_with_a_wrong_clock_neither_holds_nor_loses_a_job_by_it(
    tmp_path: Path, ahead: int
) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    held = held_at(gate)
    jobs = submitted(2)
    # Kept every 7 s: a busy machine may be late by more than a few of them.
    lease_s = 21
    clock = {"BCWEB_TEST_CLOCK_S": str(ahead), "BCWEB_LEASE_SECONDS": str(lease_s)}
    with inference_worker(tmp_path, "skewed", **held, **clock) as worker:
        # Where its clock is ahead it takes each ring for a stale one, and looks by itself.
        reached = gate.with_suffix(".reached")
        wait_for("the worker to take the jobs", reached.exists)
        # Its lease is one of some seconds by the database's clock, and it keeps it beyond these.
        until = time.monotonic() + lease_s + 4
        while time.monotonic() < until:
            assert jobs_sweep(actor=SYSTEM)["requeued"] == 0
            left = Job.objects.filter(state=JobState.RUNNING, lease_expires_at__gt=Now())
            assert left.count() == len(jobs)
            time.sleep(1)
        gate.unlink()
        wait_for("all jobs to end", all_ended(), every=0.2)
        assert linux.is_alive(worker.pid)
    exactly_one_result_each(jobs)
    assert {job.attempt for job in jobs} == {1}
