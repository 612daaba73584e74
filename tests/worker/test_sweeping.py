"""Jobs of dead workers are taken back although beat asks nobody."""

from __future__ import annotations

import math
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.db.models import Value
from django.db.models.functions import Now
from kombu.asynchronous.timer import Timer

from cases.models import Job
from cases.services.leases import engine_jobs_claim
from cases.states import JobState
from tests.factories import WORKER, submit
from worker import engine, process
from worker.runner import Runner
from worker.sweeping import own_sweep_seconds, sweep_unasked


@pytest.mark.django_db(transaction=True)
def test_a_worker_takes_back_what_a_dead_one_held_without_being_asked() -> None:
    job = submit().jobs.get()
    engine_jobs_claim(actor=WORKER, limit=1)
    sweep_unasked()
    job.refresh_from_db()
    assert job.state == JobState.RUNNING
    Job.objects.update(lease_expires_at=Now() - Value(timedelta(seconds=1)))
    sweep_unasked()
    sweep_unasked()
    job.refresh_from_db()
    assert (job.state, job.attempt) == (JobState.PENDING, 1)
    assert job.events.filter(to_state=JobState.PENDING, from_state=JobState.RUNNING).count() == 1


@pytest.mark.django_db
@pytest.mark.parametrize("due", [True, False])
def test_a_worker_with_a_backlog_sweeps_between_batches(
    due: bool, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    """It may be the only one there is, and gets neither beat's message nor to its timer."""
    lost = submit().jobs.get()
    engine_jobs_claim(actor=WORKER, limit=1)
    Job.objects.update(lease_expires_at=Now() - Value(timedelta(seconds=1)))
    waiting = [submit().jobs.get() for _ in range(2)]
    settings.BCWEB_BATCH = 1
    monkeypatch.setattr(engine, "CHILD_MODULE", "tests.worker.fake_engine")
    monkeypatch.setattr("worker.sweeping.own_sweep_seconds", lambda: 0.0 if due else math.inf)
    runner = Runner(name="busy")
    try:
        runner.drain()
    finally:
        runner.engine.close()
    assert all(job.result.engine == "fake" for job in waiting)
    taken_back = lost.events.filter(from_state=JobState.RUNNING, to_state=JobState.PENDING)
    assert taken_back.exists() is due


@pytest.mark.django_db(transaction=True)
def test_a_sweep_without_a_database_is_left_to_the_next_one() -> None:
    def away(*_: Any) -> None:
        raise OperationalError("away")

    with connection.execute_wrapper(away):
        sweep_unasked()
    sweep_unasked()


@pytest.mark.parametrize("queue", ["inference", "training"])
def test_every_worker_sweeps_by_its_monotonic_clock(
    queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "_start_pulse", lambda *_, **__: None)
    monkeypatch.setattr(process, "ensure_ready", lambda: None)
    timer = Timer()
    queues = SimpleNamespace(consume_from={queue: None})
    app = SimpleNamespace(amqp=SimpleNamespace(queues=queues))
    process.announce_worker(SimpleNamespace(timer=timer, app=app))
    swept = [entry for _, _, entry in timer.queue if entry.fun.__wrapped__ is sweep_unasked]
    assert len(swept) == 1
    assert 4 <= own_sweep_seconds() <= 60
