"""A model goes live, and back, while workers answer: each job has one result that names one model.

Real rows, real claims, real engine processes (without a network inside) in several workers at once.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection

from cases.models import Job, Result
from cases.services.rollback import model_roll_back
from cases.states import ModelState
from tests.cases.governing import approver, candidate, live_id, promoted
from tests.factories import live_model, make_actor, submit
from tests.live import wait_for
from tests.phantoms import bmode_phantom, jpeg_bytes
from worker import engine
from worker.engine import EngineOptions
from worker.runner import Runner

pytestmark = [pytest.mark.flow, pytest.mark.django_db(transaction=True)]

FILES = 20


def files(start: int) -> list[bytes]:
    return [
        jpeg_bytes(bmode_phantom(seed=50_000 + start + n, size=(120, 140))) for n in range(FILES)
    ]


@contextmanager
def workers(count: int, faults: list[BaseException]) -> Iterator[None]:
    """So many workers, each draining again and again as if the doorbell rang all the time."""
    stop = threading.Event()

    def work(name: str) -> None:
        runner = Runner(name=name, should_stop=stop.is_set)
        runner.engine.options = EngineOptions(batch_s=30, start_s=60)
        try:
            while not stop.is_set():
                if runner.drain() == 0:
                    stop.wait(0.02)
        except BaseException as error:
            faults.append(error)
        finally:
            runner.engine.close()
            connection.close()

    threads = [threading.Thread(target=work, args=(f"worker-{n}",)) for n in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join(60)


def answered(at_least: int) -> Any:
    return lambda: Result.objects.count() >= at_least


def test_two_hundred_jobs_in_flight_while_a_model_is_promoted(
    monkeypatch: pytest.MonkeyPatch, settings: Any, tmp_path: Any
) -> None:
    settings.STATE_DIR = tmp_path
    settings.BCWEB_BATCH = 4
    monkeypatch.setattr(engine, "CHILD_MODULE", "tests.worker.fake_engine")
    old, new, actor = live_model(), candidate(), make_actor()
    for batch in range(8):
        submit(actor=actor, files=files(batch * FILES))
    faults: list[BaseException] = []
    with workers(2, faults):
        wait_for("the first answers", answered(20))
        promoted(new)
        for batch in (8, 9):
            submit(actor=actor, files=files(batch * FILES))
        wait_for("all answers", answered(10 * FILES), seconds=120)
    assert faults == []
    jobs = list(Job.objects.select_related("result"))
    assert len(jobs) == Result.objects.count() == 200
    assert {job.state for job in jobs} == {"SUCCEEDED"}
    # Each by the model it was made for.
    assert all(job.result.model_version_id == job.model_version_id for job in jobs)
    assert Counter(job.model_version_id for job in jobs) == {old.pk: 160, new.pk: 40}
    assert live_id() == new.pk


def test_into_shadow_live_and_back_while_workers_answer(
    monkeypatch: pytest.MonkeyPatch, settings: Any, tmp_path: Any
) -> None:
    settings.STATE_DIR = tmp_path
    monkeypatch.setattr(engine, "CHILD_MODULE", "tests.worker.fake_engine")
    old, new, actor = live_model(), candidate(), make_actor()
    faults: list[BaseException] = []
    with workers(2, faults):
        promoted(new, ModelState.SHADOW)
        submit(actor=actor, files=files(1000))
        silent = Job.objects.filter(kind="shadow", state="SUCCEEDED")
        wait_for("silent answers", lambda: silent.count() >= 5)
        promoted(new)
        submit(actor=actor, files=files(2000))
        model_roll_back(actor=approver(), model_id=old.pk, reason="Odd.", expected_active=new.pk)
        submit(actor=actor, files=files(3000))
        wait_for("all answers", answered(3 * FILES), seconds=120)
        open_jobs = Job.objects.filter(state__in=["PENDING", "RUNNING"])
        wait_for("nothing left to do", lambda: not open_jobs.exists())
    assert faults == []
    jobs = Job.objects.filter(kind="inference")
    assert {job.state for job in jobs} == {"SUCCEEDED"}
    for job in jobs.select_related("result"):
        assert job.result.model_version_id == job.model_version_id
        assert job.model_version_id in (old.pk, new.pk)
