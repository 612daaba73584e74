"""The whole service as `make run` starts it, for flow and browser tests."""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psycopg
import redis

from bcweb.embedded import paths
from tests import given

ROOT = Path(__file__).resolve().parent.parent
# A busy machine takes minutes for the migrations alone.
READY_S = 300.0
# Below those that the kernel gives to whoever asks for any (32768 and up); so many each process.
_PORTS, _PORTS_EACH = 20_000, 1_000
_ports = itertools.count(random.randrange(_PORTS_EACH))
T = TypeVar("T")


def wait_for(
    what: str, probe: Callable[[], T | None], *, seconds: float = 180.0, every: float = 0.05
) -> T:
    """Poll `probe` until it gives something; the only way to await what other processes do.

    ``every`` so many seconds: where it takes long, looking must not keep the machine busy.
    """
    deadline = time.monotonic() + seconds
    while True:
        found = probe()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {seconds:g} s")
        time.sleep(every)


def free_port() -> int:
    """A port nobody listens at. Nobody of this run takes it before the server that is told of it
    listens: its other processes have others, this one gives another next time, and the kernel gives
    none here."""
    process = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 12
    while True:
        port = _PORTS + process * _PORTS_EACH + next(_ports) % _PORTS_EACH
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@contextmanager
def paused(pids: Iterable[int]) -> Iterator[None]:
    """Hold processes still, so that what is looked at meanwhile does not go on."""
    held = list(pids)
    assert held, "there is nothing to hold still"
    for pid in held:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in held:
            # One that ended meanwhile needs no waking.
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


@dataclass
class LiveService:
    """A running service: its address, logins, database, Redis and processes."""

    url: str
    state: Path
    process: subprocess.Popen[str]
    demo: dict[str, Any]
    # The one port of this machine that webhooks may be called at; 0: none.
    hook_port: int = 0
    # Where it has no servers of its own: what it was told (DATABASE_URL, REDIS_URL), and how a test
    # looks into its database.
    told: dict[str, str] = field(default_factory=dict)
    admin_url: str = ""

    def api(self, token: str | None = None) -> httpx.Client:
        """A client of the REST API with the integration token."""
        secret = token or self.demo["integration"]["token"]
        return httpx.Client(
            base_url=f"{self.url}/api/v1",
            headers={"Authorization": f"Bearer {secret}"},
            timeout=60,
        )

    def sql(self, query: str, *params: Any) -> list[tuple[Any, ...]]:
        url = self.admin_url or paths.database_url(self.state)
        with psycopg.connect(url, autocommit=True) as connection:
            cursor = connection.execute(query, params)
            return cursor.fetchall() if cursor.description else []

    def redis(self) -> redis.Redis:
        if self.told:
            return redis.Redis.from_url(self.told["REDIS_URL"])
        return redis.Redis(unix_socket_path=str(paths.valkey_socket(self.state)))

    def pid_of(self, kind: str) -> int:
        """Process id of the live service of this kind (the newest pulse)."""
        rows = self.sql(
            "SELECT details->>'pid' FROM cases_serviceheartbeat WHERE kind = %s AND ready "
            "ORDER BY started_at DESC LIMIT 1",
            kind,
        )
        return int(rows[0][0])

    def manage(self, *arguments: str) -> str:
        """A command on the running service, as an administrator types it; what it prints."""
        env = {**surroundings(), **self.told, "BCWEB_STATE": str(self.state)}
        command = [sys.executable, "manage.py", *arguments]
        return subprocess.check_output(command, cwd=ROOT, env=env, text=True)

    def await_ready(self, *, not_pid: int | None = None) -> None:
        """Wait until an inference worker (another than `not_pid`) is ready."""

        def probe() -> bool:
            rows = self.sql(
                "SELECT 1 FROM cases_serviceheartbeat WHERE kind = 'inference' AND ready "
                "AND (details->>'pid')::int <> %s AND seen_at > now() - interval '16 s'",
                not_pid or 0,
            )
            return bool(rows)

        wait_for("inference worker ready", probe, seconds=READY_S)


def surroundings() -> dict[str, str]:
    """The environment without what the tests' own processes were told."""
    dropped = ("DATABASE_URL", "REDIS_URL", "SECRET_KEY")
    return {k: v for k, v in os.environ.items() if k not in dropped}


@contextmanager
def start_given_service(state: Path, **environment: str) -> Iterator[LiveService]:
    """The same on the given Postgres and Redis (tests/given.py), as in production: the owner's role
    has set everything up, and the service has the application's."""
    told = {"BCWEB_DEMO": "1", "BCWEB_STATE": str(state), **environment}
    with given.database("bcweb_live") as made:
        urls = {"DATABASE_URL": made.app_url, "REDIS_URL": given.redis_url(1)}
        redis.Redis.from_url(urls["REDIS_URL"]).flushdb()
        given.set_up(made, {**surroundings(), **told, **urls})
        with start_live_service(state, **environment, **urls) as service:
            service.told, service.admin_url = urls, made.admin_url
            yield service


@contextmanager
def start_live_service(state: Path, **environment: str) -> Iterator[LiveService]:
    """Run the supervisor on `state` until the end of the block; SIGTERM then, and it must obey."""
    port = free_port()
    env = {**surroundings(), "BCWEB_DEMO": "1", "BCWEB_STATE": str(state), **environment}
    command = [sys.executable, "-m", "bcweb.embedded", "--port", str(port), "--state", str(state)]
    process = subprocess.Popen(
        command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    lines: list[str] = []
    ready = threading.Event()

    def follow() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            if line.startswith("bcweb is ready at"):
                ready.set()
        ready.set()

    reader = threading.Thread(target=follow, daemon=True)
    reader.start()
    try:
        ready.wait(READY_S)
        if process.poll() is not None or not any("bcweb is ready at" in s for s in lines):
            raise AssertionError("the service did not come up:\n" + "".join(lines))
        demo = json.loads((state / "demo.json").read_text())
        yield LiveService(url=f"http://127.0.0.1:{port}", state=state, process=process, demo=demo)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            # It ends the servers by force after some seconds; a busy machine takes longer for that.
            process.wait(timeout=120)
        finally:
            if process.poll() is None:
                process.kill()
        reader.join(timeout=5)
