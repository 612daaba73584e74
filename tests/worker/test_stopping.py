"""A training worker as it runs in life, a real Celery process, is told to end while it is idle.

One that trains: tests/worker/test_training.py; one that reads images: tests/flows/test_main_job.py.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from bcweb.celery import app
from cases.models import ServiceHeartbeat
from tests.live import ROOT, wait_for
from tests.worker.training_process import database_url

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(600)]

# The supervisor waits 10 s before it kills: of those a busy machine may take some for itself.
ENDS_S = 10.0


class CeleryWorker:
    """A worker of the training queue in a process of its own."""

    def __init__(self) -> None:
        self.name = f"training@{uuid.uuid4().hex[:8]}"
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "celery", "-A", "bcweb", "worker"),
                *("--pool", "solo", "--queues", "training,maintenance", "--hostname", self.name),
                *("--without-gossip", "--without-mingle", "--loglevel", "WARNING"),
            ],
            cwd=ROOT,
            env={**os.environ, "DATABASE_URL": database_url()},
        )

    def await_idle(self) -> None:
        """Until it has answered, which its event loop does, and sleeps in its next wait."""
        wait_for("its pulse", lambda: ServiceHeartbeat.objects.filter(kind="training"), seconds=400)
        inspect = app.control.inspect(destination=[self.name], timeout=2)
        wait_for("its answer", inspect.ping)
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
def worker() -> Iterator[CeleryWorker]:
    made = CeleryWorker()
    try:
        yield made
    finally:
        made.kill()


def test_an_idle_worker_that_is_told_to_end_ends_soon(worker: CeleryWorker) -> None:
    worker.await_idle()
    assert worker.end() == 0
    # It said farewell: it did not just die.
    assert not ServiceHeartbeat.objects.filter(kind="training").exists()
