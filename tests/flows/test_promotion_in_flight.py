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

from cases.access import SYSTEM
from cases.models import Image, Job, Result
from cases.services.jobs import inference_jobs_create, job_cancel
from cases.services.rollback import model_roll_back
from cases.states import ModelState
from cases.vocabulary import PriorityRank
from tests.cases.governing import approver, candidate, live_id, promoted
from tests.factories import live_model, submit
from tests.live import wait_for
from tests.phantoms import bmode_phantom, jpeg_bytes
from worker import engine
from worker.engine import EngineOptions
from worker.runner import Runner

pytestmark = [pytest.mark.flow, pytest.mark.django_db(transaction=True)]

IMAGES = 10


def images() -> list[Image]:
    """Images of one case, without the jobs they came with."""
    files = [jpeg_bytes(bmode_phantom(seed=n, size=(120, 140))) for n in range(IMAGES)]
    submission = submit(files=files)
    for job in submission.jobs.all():
        job_cancel(actor=SYSTEM, job_id=job.pk)
    return list(submission.images.all())


def ask(about: list[Image], frames: range) -> None:
    """A job per image and frame: as many as one wants, without sending as many files."""
    for frame in frames:
        inference_jobs_create(
            actor=SYSTEM,
            images=about,
            priority=PriorityRank.ROUTINE,
            submission=None,
            frame=frame,
        )


@contextmanager
def workers(count: int, faults: list[BaseException]) -> Iterator[None]:
    """So many workers, each draining again and again as if the doorbell rang all the time."""
    stop = threading.Event()

    def work(name: str) -> None:
        runner = Runner(name=name, should_stop=stop.is_set)
        runner.engine.options = EngineOptions(batch_s=300, start_s=300)
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
            thread.join()


def answered(at_least: int) -> Any:
    return lambda: Result.objects.count() >= at_least


def test_two_hundred_jobs_in_flight_while_a_model_is_promoted(
    monkeypatch: pytest.MonkeyPatch, settings: Any, tmp_path: Any
) -> None:
    settings.STATE_DIR = tmp_path
    settings.BCWEB_BATCH = 4
    monkeypatch.setattr(engine, "CHILD_MODULE", "tests.worker.fake_engine")
    old, new = live_model(), candidate()
    about = images()
    ask(about, range(1, 17))
    faults: list[BaseException] = []
    with workers(2, faults):
        wait_for("the first answers", answered(20))
        promoted(new)
        ask(about, range(17, 21))
        wait_for("all answers", answered(200), seconds=400)
    assert faults == []
    jobs = list(Job.objects.exclude(state="CANCELLED").select_related("result"))
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
    old, new = live_model(), candidate()
    about = images()
    faults: list[BaseException] = []
    with workers(2, faults):
        promoted(new, ModelState.SHADOW)
        ask(about, range(1, 3))
        silent = Job.objects.filter(kind="shadow", state="SUCCEEDED")
        wait_for("silent answers", lambda: silent.count() >= 5)
        promoted(new)
        ask(about, range(3, 5))
        model_roll_back(actor=approver(), model_id=old.pk, reason="Odd.", expected_active=new.pk)
        ask(about, range(5, 7))
        wait_for("all answers", answered(60), seconds=400)
        open_jobs = Job.objects.filter(state__in=["PENDING", "RUNNING"])
        wait_for("nothing left to do", lambda: not open_jobs.exists())
    assert faults == []
    jobs = Job.objects.filter(kind="inference").exclude(state="CANCELLED")
    assert {job.state for job in jobs} == {"SUCCEEDED"}
    for job in jobs.select_related("result"):
        assert job.result.model_version_id == job.model_version_id
        assert job.model_version_id in (old.pk, new.pk)
