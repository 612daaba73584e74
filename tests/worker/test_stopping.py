"""A training worker as it runs in life, a real Celery process, is told to end: idle, and busy."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings

from bcweb.celery import app
from cases import queue
from cases.models import Job, ServiceHeartbeat
from cases.states import JobState
from cases.vocabulary import JobKind
from tests.live import ROOT, wait_for
from tests.training import make_run
from tests.worker.gating import pictures
from tests.worker.training_process import database_url

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(600)]

# The supervisor waits 10 s before it kills: of those a busy machine may take some for itself.
ENDS_S = 10.0


class CeleryWorker:
    """A worker of the training queue in a process of its own."""

    def __init__(self, **told: object) -> None:
        self.name = f"training@{uuid.uuid4().hex[:8]}"
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "celery", "-A", "tests.worker.narrow_app", "worker"),
                *("--pool", "solo", "--queues", "training,maintenance", "--hostname", self.name),
                *("--without-gossip", "--without-mingle", "--loglevel", "WARNING"),
            ],
            cwd=ROOT,
            env={
                **os.environ,
                "DATABASE_URL": database_url(),
                "BCWEB_THREADS": "1",
                "BCWEB_TEST_TRAINING": json.dumps(told),
            },
        )

    def await_idle(self) -> None:
        """Until it has answered, which its event loop does, and sleeps in its next wait."""
        wait_for("its pulse", lambda: ServiceHeartbeat.objects.filter(kind="training"), seconds=120)
        inspect = app.control.inspect(destination=[self.name], timeout=2)
        wait_for("its answer", inspect.ping, seconds=60)
        wait_for("its wait", lambda: _state(self.process.pid) == "S")

    def end(self) -> int:
        """Its exit code, once it has ended by itself on SIGTERM. Raises ``TimeoutExpired``."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=ENDS_S)

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


@pytest.fixture
def worker(request: pytest.FixtureRequest) -> Iterator[CeleryWorker]:
    made = CeleryWorker(**getattr(request, "param", {}))
    try:
        yield made
    finally:
        made.kill()


def test_an_idle_worker_that_is_told_to_end_ends_soon(worker: CeleryWorker) -> None:
    worker.await_idle()
    assert worker.end() == 0
    # It said farewell: it did not just die.
    assert not ServiceHeartbeat.objects.filter(kind="training").exists()


@pytest.mark.parametrize("worker", [{"pause": 0.2}], indirect=True)
def test_a_busy_worker_that_is_told_to_end_gives_its_training_back(
    worker: CeleryWorker, tmp_path: Path
) -> None:
    snapshot = pictures(tmp_path / "to train on", 0, benign=8, malignant=7)
    run = make_run(snapshot=snapshot, init="none", epochs=50)
    queue.ring(kind=JobKind.TRAINING, job_ids=[run.pk])
    folder = Path(settings.STATE_DIR) / "training" / str(run.pk)
    wait_for("the first epoch", (folder / "out" / "checkpoint.pt").exists, seconds=300, every=0.2)
    assert worker.end() == 0
    job = Job.objects.get(pk=run.pk)
    assert (job.state, job.attempt, job.max_attempts) == (JobState.PENDING, 1, 4)
    assert job.events.latest("id").reason == "the worker is stopping"
    assert (folder / "out" / "checkpoint.pt").exists()
