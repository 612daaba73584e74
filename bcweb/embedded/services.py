"""Using the embedded servers of a state folder: started for the first user, stopped after the last.

Three kinds of lock files in STATE/locks, all flock, so the kernel lets go of them however a
process ends:

- `<kind>.users`: shared by everybody who uses the server; the keeper takes it exclusively to stop.
- `<kind>.keeper`: exclusive, held by the keeper for as long as it lives.
- `start`: exclusive, held for the moment in which a user looks whether a keeper is there and
  starts one if not.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from . import linux, paths, postgres, valkey
from .errors import StartupError
from .keeper import keeper_lock, users_lock
from .server import READY, Kind, open_log

_STOPPING_SECONDS = 30.0
_READY_SECONDS = 130.0
_GONE_SECONDS = 12.0

# Keepers that this process started: remembered so that their end can be collected.
_keepers: list[subprocess.Popen[bytes]] = []


class Urls(NamedTuple):
    """Where the embedded servers listen, in the forms of DATABASE_URL and REDIS_URL."""

    database_url: str
    redis_url: str


class Users:
    """This process as a user of embedded servers; `close` (or its death) ends the use."""

    def __init__(self, state: Path, kinds: Collection[Kind], *, durable: bool = True) -> None:
        self.state = state
        self.kinds = tuple(kinds)
        self._durable = durable
        self._locks: dict[Kind, int] = {}

    def open(self) -> None:
        """Take part in the use, starting what does not run; return when all are ready.

        Raises StartupError with the reason when a server cannot be started.
        """
        try:
            for kind in self.kinds:
                self._locks[kind] = _join(self.state, kind)
            self.ensure()
        except BaseException:
            self.close()
            raise

    def ensure(self) -> None:
        """Start the servers whose keeper has died; return when all are ready.

        Raises StartupError.
        """
        with linux.locked(self.state / "locks" / "start"):
            started = {
                kind: _start_keeper(self.state, kind, durable=self._durable)
                for kind in self.kinds
                if not keeper_lives(self.state, kind)
            }
            # All are heard before the first failure counts: none is still starting afterwards.
            failures = [_await_keeper(self.state, kind, *pair) for kind, pair in started.items()]
            for failure in failures:
                if failure:
                    raise StartupError(failure)
            for kind in self.kinds:
                _await_ready(self.state, kind)

    def close(self, patience: float = _GONE_SECONDS) -> None:
        """End the use; wait (`patience` seconds at most) until servers nobody uses have stopped."""
        for descriptor in self._locks.values():
            os.close(descriptor)
        kinds = tuple(self._locks)
        self._locks.clear()
        deadline = time.monotonic() + patience
        for kind in kinds:
            _await_stop(self.state, kind, deadline)
        _keepers[:] = [keeper for keeper in _keepers if keeper.poll() is None]


@contextmanager
def use(state: Path, kinds: Collection[Kind], *, durable: bool = True) -> Iterator[None]:
    """Use the embedded servers `kinds` of a prepared state folder within the block.

    Raises StartupError when one cannot be started.
    """
    users = Users(state, kinds, durable=durable)
    users.open()
    try:
        yield
    finally:
        users.close()


@contextmanager
def ephemeral(path: str | os.PathLike[str]) -> Iterator[Urls]:
    """Run a real Postgres and a real Valkey in the folder `path` for tests; yield their URLs.

    Without fsync: fast, and not for data that matters. The servers stop at the end of the block,
    or when this process dies in any other way; the folder stays (remove it with the test's own
    temporary folder). Raises StartupError.

    >>> with ephemeral(tmp_path) as (database_url, redis_url): ...
    """
    state = paths.make_state_dir(path)
    with use(state, ("postgres", "valkey"), durable=False):
        yield Urls(paths.database_url(state), paths.redis_url(state))


def is_ready(state: Path, kind: Kind) -> bool:
    """Tell whether a server answers and takes work."""
    if kind == "postgres":
        return postgres.probe(paths.postgres_socket(state)) == READY
    return valkey.probe(paths.valkey_socket(state)) == READY


def keeper_lives(state: Path, kind: Kind) -> bool:
    """Tell whether the server of this kind has a keeper."""
    descriptor = linux.open_lock(keeper_lock(state, kind))
    try:
        return not linux.try_lock(descriptor, shared=True)
    finally:
        os.close(descriptor)


def keeper_ids() -> set[int]:
    """Return the process ids of living keepers that this process started."""
    return {keeper.pid for keeper in _keepers if keeper.poll() is None}


def _join(state: Path, kind: Kind) -> int:
    """Take the shared lock; where a keeper is just stopping its server, wait until it has."""
    descriptor = linux.open_lock(users_lock(state, kind))
    deadline = time.monotonic() + _STOPPING_SECONDS
    while not linux.try_lock(descriptor, shared=True):
        if time.monotonic() > deadline:
            os.close(descriptor)
            raise StartupError(
                f"The embedded {kind} of {state} is still stopping: try again later."
            )
        time.sleep(0.02)
    return descriptor


def _start_keeper(state: Path, kind: Kind, *, durable: bool) -> tuple[subprocess.Popen[bytes], int]:
    """Start a keeper in a session of its own; return it and the end of the pipe it answers on."""
    reading, writing = os.pipe2(os.O_CLOEXEC)
    log = open_log(state / "log" / "keeper.log")
    launcher = Path(__file__).with_name("launch.py")
    mode = "durable" if durable else "volatile"
    try:
        keeper = subprocess.Popen(
            [sys.executable, str(launcher), "keeper", kind, str(state), str(writing), mode],
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(writing,),
            start_new_session=True,
        )
    finally:
        os.close(writing)
        os.close(log)
    _keepers.append(keeper)
    return keeper, reading


def _await_keeper(
    state: Path, kind: Kind, keeper: subprocess.Popen[bytes], reading: int
) -> str | None:
    """Wait for a keeper's answer; return None when its server is ready, else why it is not."""
    with os.fdopen(reading, encoding="utf-8") as pipe:
        answer = pipe.read()
    if answer == "ready":
        return None
    keeper.wait()
    log = state / "log" / "keeper.log"
    return answer.removeprefix("fault: ") or f"The embedded {kind} did not start (log: {log})."


def _await_ready(state: Path, kind: Kind) -> None:
    """Wait for a server that has a keeper; it may be starting again after a crash."""
    deadline = time.monotonic() + _READY_SECONDS
    while not is_ready(state, kind):
        if time.monotonic() > deadline:
            raise StartupError(
                f"The embedded {kind} of {state} does not answer (log: {state / 'log'})."
            )
        time.sleep(0.05)


def _await_stop(state: Path, kind: Kind, deadline: float) -> None:
    """Wait until the keeper has gone; return at once when others still use the server."""
    used_since: float | None = None  # since when others are seen to use it
    descriptor = linux.open_lock(users_lock(state, kind))
    try:
        while keeper_lives(state, kind) and time.monotonic() < deadline:
            # The keeper looks every 0.1 s. While it stops, it holds this lock and nobody else can.
            if linux.try_lock(descriptor, shared=False) or not linux.try_lock(
                descriptor, shared=True
            ):
                used_since = None
            else:
                used_since = used_since or time.monotonic()
                if time.monotonic() - used_since > 0.3:
                    return
            linux.unlock(descriptor)
            time.sleep(0.02)
    finally:
        os.close(descriptor)
