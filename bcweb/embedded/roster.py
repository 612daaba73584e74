"""The services behind `make run`: what is started, in which order, with which settings."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bcweb import secret_files

from . import paths
from .errors import StartupError
from .process import Service
from .readiness import Readiness


@dataclass(frozen=True)
class Plan:
    """What the supervisor of one state folder runs.

    `setup` runs once to its end before the services start, in this order; they stop in reverse
    order of `stop_groups`: the first group ends before the second is asked to.
    """

    services: tuple[Service, ...]
    stop_groups: tuple[tuple[str, ...], ...]
    setup: Service | None = None
    readiness: Readiness | None = None


def plan(*, host: str, port: int) -> Plan:
    """Return bcweb's own plan. Raises StartupError for a bad number in the environment."""
    python = sys.executable
    # Quiet: no banner among the JSON lines.
    celery = (python, "-m", "celery", "--quiet", "-A", "bcweb")
    services = (
        _worker("inference", "the inference worker", celery),
        Service("web", "the web server", _gunicorn(python, host, port)),
        Service("beat", "the scheduler", (*celery, "beat", "--loglevel", "INFO")),
        _worker("training", "the training worker", celery),
        _deliverer(celery),
    )
    manage = str(paths.BASE_DIR / "manage.py")
    return Plan(
        services=services,
        # All at once, so that each has the whole time: on a busy machine the web server's last
        # requests would else be taken off what a worker has to give its batch back. What still
        # comes in waits in the database.
        stop_groups=(("web", "beat", "inference", "training", "webhooks"),),
        setup=Service("setup", "the set-up", (python, manage, "setup_service")),
        readiness=Readiness(
            host=host,
            port=port,
            host_header=accepted_host(os.environ),
            wanted={"inference": 1, "training": 1, "beat": 1, "webhooks": 1},
        ),
    )


def environment(state: Path, url: str) -> dict[str, str]:
    """Return the environment of the services: the caller's, with the gaps filled."""
    filled = dict(os.environ)
    defaults = {
        "DATABASE_URL": paths.database_url(state),
        "REDIS_URL": paths.redis_url(state),
        "BCWEB_URL": url,
        # For whoever tries it with make; an installation must ask for logins that are printed.
        "BCWEB_DEMO": "1" if "BCWEB_UNDER_MAKE" in os.environ else "0",
        "PYTHONUNBUFFERED": "1",
        # Within the time the supervisor leaves a group of services to end.
        "BCWEB_STOP_SECONDS": "2",
    }
    for name, value in defaults.items():
        if not secret_files.is_told(filled, name):
            filled[name] = value
    filled["BCWEB_STATE"] = str(state)
    # make's own variables must not reach a make that a service might call.
    for name in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES"):
        filled.pop(name, None)
    return filled


def is_on(text: str) -> bool:
    """Tell whether a switch of the environment is on, as bcweb.settings reads it."""
    return text.lower() in ("1", "t", "true", "on", "y", "yes")


def number(name: str, default: int) -> int:
    """Return a positive whole number from the environment. Raises StartupError for others."""
    text = os.environ.get(name, "") or str(default)
    if not text.isdecimal() or int(text) < 1:
        raise StartupError(f"{name} is {text!r}: give a whole number from 1 on.")
    return int(text)


def _gunicorn(python: str, host: str, port: int) -> tuple[str, ...]:
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return (
        *(python, "-m", "gunicorn", "bcweb.wsgi:application", "--bind", address),
        *("--config", "python:bcweb.gunicorn"),
        *("--worker-class", "gthread", "--no-control-socket"),
        # Loaded once and forked: half the time and memory of two loads.
        "--preload",
        *("--workers", str(number("BCWEB_WEB_WORKERS", 2))),
        *("--threads", str(number("BCWEB_WEB_THREADS", 8))),
        *("--timeout", str(number("BCWEB_WEB_TIMEOUT_SECONDS", 60))),
        *("--graceful-timeout", "3"),
    )


def _worker(queue: str, title: str, celery: tuple[str, ...]) -> Service:
    """One process per worker (solo): torch and CUDA do not survive a fork."""
    command = (
        *(*celery, "worker", "--pool", "solo", "--queues", f"{queue},maintenance"),
        *("--hostname", f"{queue}@%h", "--loglevel", "INFO"),
        # Workers need not know of each other: a second less at the start.
        *("--without-gossip", "--without-mingle"),
    )
    if queue != "training":
        return Service(queue, title, command)
    threads = str(number("BCWEB_TRAINING_THREADS", max(1, (os.cpu_count() or 1) // 2)))
    names = ("BCWEB_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    return Service(queue, title, command, dict.fromkeys(names, threads), nice=10)


def _deliverer(celery: tuple[str, ...]) -> Service:
    """A worker for webhooks alone: receivers that answer slowly hold up nobody else's work."""
    command = (
        *(*celery, "worker", "--pool", "solo", "--queues", "webhooks"),
        *("--hostname", "webhooks@%h", "--loglevel", "INFO"),
        *("--without-gossip", "--without-mingle"),
    )
    return Service("webhooks", "the deliverer of webhooks", command)


def accepted_host(environ: Mapping[str, str]) -> str:
    """Return a host name that ALLOWED_HOSTS lets in, for the question whether all is ready."""
    first = environ.get("ALLOWED_HOSTS", "").split(",")[0].strip()
    if not first or first == "*":
        return "localhost"
    return f"www{first}" if first.startswith(".") else first
