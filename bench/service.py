"""Places to measure in: servers and a service of their own, in a folder that is gone afterwards."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bcweb.embedded import paths, services
from tests.live import ROOT, LiveService, start_live_service

__all__ = ["ROOT", "LiveService", "database", "django_on", "live", "scratch", "worker"]


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder under the system's temporary one. Short: sockets are named after it."""
    folder = Path(tempfile.mkdtemp(prefix="bcweb-bench-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def django_on(state: Path) -> None:
    """Set this process up for the database and Redis of ``state``; once per process."""
    os.environ |= {
        "DATABASE_URL": paths.database_url(state),
        "REDIS_URL": paths.redis_url(state),
        "BCWEB_STATE": str(state),
        "BCWEB_DEMO": "0",
        "DJANGO_SETTINGS_MODULE": "bcweb.settings",
        "LOG_LEVEL": "ERROR",
    }
    os.environ.setdefault("SECRET_KEY", secrets.token_urlsafe(48))
    import django

    django.setup()


@contextmanager
def database() -> Iterator[Path]:
    """Postgres and Valkey of their own, as durable as in life, migrated; their state folder.

    This process is set up for them.
    """
    with scratch() as folder:
        state = paths.make_state_dir(folder / "state")
        (state / "static").mkdir()
        with services.use(state, ("postgres", "valkey")):
            django_on(state)
            from django.core.management import call_command
            from django.db import connections

            call_command("migrate", verbosity=0)
            try:
                yield state
            finally:
                connections.close_all()


@contextmanager
def live(**environment: str) -> Iterator[LiveService]:
    """The whole service as `make run` starts it, ready to answer."""
    with scratch() as folder, start_live_service(folder / "state", **environment) as service:
        service.await_ready()
        yield service


@contextmanager
def worker(command: Sequence[str], **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A worker of this process's own servers; told to stop at the end of the block."""
    process = subprocess.Popen(
        [sys.executable, *command],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
