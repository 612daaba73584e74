"""The service under test: a state folder of its own, started and restarted as systemd would."""

from __future__ import annotations

import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psycopg
import redis

from bcweb.embedded import linux, paths
from bench.chaos.service import CLOCKS
from tests.live import free_port

ROOT = Path(__file__).resolve().parents[2]
# Without a pause between two tries a start that fails would be tried hundreds of times.
RESTART_PAUSE_S = 1.0
STARTS = 5
# How long the batch of a worker that is told to end may go on.
STOP_S = 2.0
# The first one sets everything up, which takes minutes on a machine that has much else to do.
START_S = 600.0
T = TypeVar("T")


class RigError(Exception):
    """A wait was in vain."""


class NoStartError(Exception):
    """The service does not come up again: the night is over."""


class Rig:
    """A running service. All seconds are stretched by ``pace``, for slow and busy machines.

    ``patience`` stretches only what it is judged by and waited for, not the service's own times:
    where other work takes the processors away, a bound of some seconds says nothing.
    """

    def __init__(
        self, state: Path, *, pace: float, patience: float = 1.0, real_model: bool = False
    ) -> None:
        self.state = state
        self.pace = pace
        self.patience = patience
        self.real_model = real_model
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.flags = state / "chaos"
        self.uploads = self.flags / "tmp"
        self.uploads.mkdir(parents=True)
        self.environment = self._environment(real_model)
        self.clocks_fault = self._make_clocks()
        self.restarts = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._log = state / "log" / "supervisor.log"
        self._told_before = 0

    def _environment(self, real_model: bool) -> dict[str, str]:
        dropped = ("DATABASE_URL", "REDIS_URL", "SECRET_KEY", "BCWEB_UNDER_MAKE")
        kept = {name: value for name, value in os.environ.items() if name not in dropped}
        return {
            **kept,
            "BCWEB_STATE": str(self.state),
            "BCWEB_DEMO": "1",
            "BCWEB_CHAOS_MODEL": "real" if real_model else "stand-in",
            "BCWEB_LEASE_SECONDS": self._seconds(3),
            "BCWEB_SWEEP_SECONDS": "1",
            # In this order: a slow batch (`dawdle` in bench.chaos.engine) outlasts the time that a
            # worker has to end, and a worker that was frozen in one until others took its jobs
            # over has not given up on the engine yet: its answer comes, too late.
            "BCWEB_STOP_SECONDS": self._seconds(STOP_S),
            "BCWEB_CHAOS_SLOW_S": self._seconds(4),
            # Longer than a lease and the sweeps of a worker that is never idle together.
            "BCWEB_BATCH_SECONDS": self._seconds(30 if real_model else 9),
            "BCWEB_CHAOS_PACE": str(self.pace),
            "BCWEB_DECODE_SECONDS": self._seconds(5),
            # More than in life: a job may be in the hands of several that are killed in a row.
            "BCWEB_MAX_ATTEMPTS": "5",
            "BCWEB_ENGINE_MEMORY_MB": "2000" if real_model else "300",
            "TMPDIR": str(self.uploads),
            # What torch keeps on purpose is not left by killed servers.
            "TORCHINDUCTOR_CACHE_DIR": str(self.flags / "torch"),
        }

    def _seconds(self, seconds: float) -> str:
        return str(max(1, round(seconds * self.pace)))

    def _make_clocks(self) -> str:
        """Build the clock that can be stepped; why not, where that is not possible here."""
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            return "no C compiler to build the stepped clock with"
        source, library = Path(__file__).with_name("skew.c"), self.flags / "skew.so"
        command = [compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(source)]
        built = subprocess.run(command, capture_output=True, text=True, check=False)
        if built.returncode:
            return f"the stepped clock could not be built: {built.stderr.strip()[-200:]}"
        for name in CLOCKS:
            self.step_clock(name, 0)
        return ""

    def step_clock(self, service: str, seconds: float) -> None:
        """Put a service's wall clock so many seconds off, from now on."""
        with (self.flags / service).open("r+b" if (self.flags / service).exists() else "wb") as f:
            f.write(struct.pack("=q", round(seconds * 1e9)))

    # Starting and stopping

    def start(self) -> None:
        """Start the supervisor and wait until it says that all is ready.

        A start that fails is tried again a few times, as a service manager does (Restart=). Raises
        ``NoStartError``.
        """
        command = [sys.executable, "-m", "bench.chaos.service", "--port", str(self.port)]
        self._log.parent.mkdir(mode=0o700, exist_ok=True)
        for _ in range(STARTS):
            with self._log.open("ab") as log:
                self._told_before = log.tell()
                self._process = subprocess.Popen(
                    [*command, "--state", str(self.state)],
                    cwd=ROOT,
                    env=self.environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            try:
                self.wait(
                    lambda: self._says_ready() or not self.is_up(), seconds=START_S, what="a start"
                )
            except RigError as error:
                raise NoStartError(str(error)) from error
            if self.is_up():
                return
            time.sleep(RESTART_PAUSE_S)
        raise NoStartError(f"the service does not start: {self._log.read_text()[-500:]}")

    def _says_ready(self) -> bool:
        return self.says("bcweb is ready at")

    def says(self, words: str) -> bool:
        """Whether the supervisor has said this since it was started last."""
        with self._log.open("rb") as log:
            log.seek(self._told_before)
            return words.encode() in log.read()

    def is_up(self) -> bool:
        """Whether the supervisor lives."""
        return self._process is not None and self._process.poll() is None

    def supervisor(self) -> int:
        """Process id of the supervisor. Raises ``RigError`` where it is gone."""
        if self._process is None or not self.is_up():
            raise RigError("the supervisor is not running")
        return self._process.pid

    def limit(self, seconds: float) -> float:
        """After how many seconds what should have happened within so many is not awaited more."""
        return seconds * self.pace * self.patience

    def end_supervisor(self, number: int) -> int:
        """Send the supervisor a signal and wait for its end; its exit code.

        One that does not end is killed, as a service manager would: -9.
        """
        assert self._process is not None
        self._process.send_signal(number)
        try:
            code = self._process.wait(self.limit(60))
        except subprocess.TimeoutExpired:
            self._process.kill()
            # This it cannot refuse, however long a busy machine takes for it.
            code = self._process.wait()
        linux.reap_others()
        return code

    def restart(self, number: int) -> int:
        """End the supervisor by a signal and start it again; the exit code of the old one."""
        code = self.end_supervisor(number)
        self.restarts += 1
        self.start()
        return code

    def stop(self) -> None:
        """Stop everything, in whatever state it is."""
        if self._process is None or not self.is_up():
            return
        for pid in linux.descendants(self.supervisor()):
            _signal(pid, signal.SIGCONT)
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(self.limit(60))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    # Asking

    def wait(self, probe: Callable[[], T | None], *, seconds: float, what: str) -> T:
        """Poll until `probe` gives something. Raises ``RigError`` after the (stretched) time."""
        deadline = time.monotonic() + self.limit(seconds)
        while True:
            found = probe()
            if found:
                return found
            if time.monotonic() > deadline:
                raise RigError(f"{what}: not within {self.limit(seconds):g} s")
            time.sleep(0.01)

    def sql(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Rows of a query; tried again while the database is away."""
        deadline = time.monotonic() + self.limit(60)
        while True:
            try:
                url = paths.database_url(self.state)
                with psycopg.connect(url, autocommit=True, connect_timeout=5) as connection:
                    cursor = connection.execute(query, parameters or None)
                    return cursor.fetchall() if cursor.description else []
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def redis(self) -> redis.Redis:
        """A client of the service's Valkey."""
        path = str(paths.valkey_socket(self.state))
        return redis.Redis(unix_socket_path=path, socket_timeout=5, socket_connect_timeout=5)

    def token(self) -> str:
        """The bearer token of the demo integration."""
        demo = json.loads((self.state / "demo.json").read_text())
        return str(demo["integration"]["token"])

    def is_ready(self) -> bool:
        """Whether /readyz says that all is well."""
        try:
            return httpx.get(f"{self.url}/readyz", timeout=10).status_code == 200
        except httpx.HTTPError:
            return False

    def manage(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A management command on the running service."""
        command = [sys.executable, "manage.py", *arguments]
        return subprocess.run(
            command, cwd=ROOT, env=self.environment, capture_output=True, text=True, check=False
        )

    def logged(self, words: str) -> int:
        """In how many lines of the logs these words are."""
        logs = sorted((self.state / "log").glob("inference*.log"))
        return sum(words in line for log in logs for line in log.read_text().splitlines())

    # Processes

    def processes(self, *words: str) -> list[int]:
        """The processes below the supervisor with all these words in their command; no guards."""
        if not self.is_up():
            return []
        found = []
        for pid in linux.descendants(self.supervisor()):
            command = _command(pid)
            if "guard" not in command and all(word in command for word in words):
                found.append(pid)
        return found

    def workers(self) -> list[int]:
        """The inference workers (not their engines)."""
        return self.processes("bench.chaos.worker", "worker")

    def engines(self, worker: int) -> list[int]:
        """The engines of a worker."""
        return [p for p in linux.children(worker) if "bench.chaos.engine" in _command(p)]

    def web_master(self) -> int | None:
        """The first process of the web server, the parent of its others."""
        return next(iter(self.processes("gunicorn")), None)

    def web_workers(self) -> list[int]:
        """Those that answer requests."""
        return self.processes("gunicorn")[1:]

    def postgres(self) -> int | None:
        """The first process of Postgres."""
        try:
            pid = int((self.state / "postgres" / "postmaster.pid").read_text().split()[0])
        except (FileNotFoundError, IndexError, ValueError):
            return None
        return pid if linux.is_alive(pid) else None

    def valkey(self) -> int | None:
        """The process of Valkey."""
        path = str(paths.valkey_socket(self.state))
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal():
                words = _command(int(entry.name))
                if words and "valkey-server" in words[0] and any(path in w for w in words):
                    return int(entry.name)
        return None

    def held_by(self, worker: int) -> list[tuple[Any, int]]:
        """The jobs that a worker has in its hands: their ids and attempts."""
        rows = self.sql(
            "SELECT id, attempt FROM cases_job WHERE state = 'RUNNING' AND worker LIKE %s",
            f"%:{worker}",
        )
        return [(row[0], row[1]) for row in rows]

    def busy_worker(self) -> int | None:
        """A worker that is in the middle of a batch at this moment."""
        rows = self.sql(
            "SELECT worker FROM cases_job WHERE state = 'RUNNING' AND kind = 'inference' "
            "ORDER BY lease_expires_at DESC"
        )
        living = self.workers() if rows else []
        pids = [int(row[0].rpartition(":")[2]) for row in rows]
        return next((pid for pid in pids if pid in living), None)

    def slow_worker(self) -> int | None:
        """The worker that has a slow batch in its hands since `slowed_down` began."""
        met = self.flags / "slow.met"
        return int(met.read_text() or 0) if met.exists() else None

    @contextmanager
    def slowed_down(self) -> Iterator[None]:
        """Let every batch begun within the block take long."""
        (self.flags / "slow.met").unlink(missing_ok=True)
        (self.flags / "slow").touch()
        try:
            yield
        finally:
            (self.flags / "slow").unlink()

    @contextmanager
    def held_still(self, pids: Sequence[int]) -> Iterator[None]:
        """Keep processes from running within the block."""
        for pid in pids:
            _signal(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                _signal(pid, signal.SIGCONT)


def kill(pids: Sequence[int]) -> int:
    """Kill -9 each of them; how many were alive."""
    return sum(_signal(pid, signal.SIGKILL) for pid in pids)


def _signal(pid: int, number: int) -> bool:
    if not linux.is_alive(pid):
        return False
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def _command(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "replace").split("\0")
    except OSError:
        return []
