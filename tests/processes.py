"""Real processes of the service on the tests' own database: one worker or one web server.

Much less than the whole service of tests/live.py. The test's rows must be committed
(`django_db(transaction=True)`).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from django.db import connection

from bcweb.embedded import linux
from cases.models import ServiceHeartbeat
from tests.live import ROOT, free_port, wait_for


@dataclass
class Running:
    """A process, what it prints, and where it listens (a web server)."""

    process: subprocess.Popen[bytes]
    log: Path
    url: str = ""

    @property
    def pid(self) -> int:
        return self.process.pid

    def everybody(self) -> list[int]:
        """The process and all below it."""
        return [self.pid, *linux.descendants(self.pid)]

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def tell_to_stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Whatever state it is in, with all below it."""
        below = linux.descendants(self.pid)
        linux.kill_all((self.pid, *below))
        self.process.wait()


def environment(**more: str) -> dict[str, str]:
    """The tests' own environment, with their database."""
    name = connection.settings_dict["NAME"]
    url = urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{name}").geturl()
    return {**os.environ, "DATABASE_URL": url, "PYTHONUNBUFFERED": "1", **more}


@contextmanager
def _running(command: Sequence[str], log: Path, url: str = "", **more: str) -> Iterator[Running]:
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment(**more), stdout=output, stderr=output
        )
    running = Running(process, log, url)
    try:
        yield running
    finally:
        running.kill()


@contextmanager
def inference_worker(
    folder: Path, name: str, *, ready: bool = True, **more: str
) -> Iterator[Running]:
    """A worker with the fake engine; ready when this returns, where that is asked for."""
    command = [sys.executable, "-m", "tests.worker.fake_worker", name]
    with _running(command, folder / f"{name}.log", **more) as worker:
        if ready:
            await_ready(worker)
        yield worker


def await_ready(worker: Running) -> None:
    pulse = ServiceHeartbeat.objects.filter(details__pid=worker.pid, ready=True)

    def probe() -> bool:
        assert worker.process.poll() is None, worker.said()
        return pulse.exists()

    wait_for("the worker to be ready", probe, seconds=400, every=0.2)


@contextmanager
def web_server(folder: Path, name: str = "web", **more: str) -> Iterator[Running]:
    """gunicorn as `make run` starts it, with one process; answering when this returns."""
    port = free_port()
    command = [
        *(sys.executable, "-m", "gunicorn", "bcweb.wsgi:application"),
        *("--config", "python:bcweb.gunicorn", "--bind", f"127.0.0.1:{port}"),
        *("--worker-class", "gthread", "--no-control-socket", "--workers", "1", "--threads", "4"),
        *("--timeout", "120", "--graceful-timeout", "30"),
    ]
    url = f"http://127.0.0.1:{port}"
    with _running(command, folder / f"{name}.log", url, **more) as server:

        def answers() -> bool:
            assert server.process.poll() is None, server.said()
            try:
                return httpx.get(f"{url}/healthz", timeout=30).status_code == 200
            except httpx.TransportError:
                return False

        wait_for("the web server to answer", answers, seconds=400, every=0.2)
        yield server


def await_hearing(client: httpx.Client) -> None:
    """Wait until the web server hears news.

    Its first client waits a moment for that. Where it takes longer, the answer ends with its
    snapshot: then it has a length, as one that goes on has not.
    """

    def goes_on() -> bool:
        plain = {"Accept-Encoding": "identity"}
        with client.stream("GET", "/api/v1/events/", headers=plain) as response:
            assert response.status_code == 200
            return "Content-Length" not in response.headers

    wait_for("the web server to hear news", goes_on)
