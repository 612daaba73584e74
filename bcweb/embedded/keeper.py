"""The keeper: a small process that runs one embedded server for as long as anybody uses it.

Whoever needs the server holds a shared lock on its users file (see `services`). The keeper starts
the server, restarts it when it crashes, and keeps asking for that lock exclusively: it gets it
when the last user has gone, however they went. Then it stops the server in order and ends. So
several commands and `make run` share one server, none of them has to outlive the others, and
kill -9 of all of them still ends in a clean shutdown.

Started by `services.use` as `launch.py keeper KIND STATE READY_FD MODE`; it answers on READY_FD
with `ready` or `fault: <sentence>`.
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from . import linux, paths
from .backoff import Backoff
from .errors import StartupError
from .events import Signals
from .postgres import Postgres
from .server import READY, Server
from .valkey import Valkey

_READY_SECONDS = 120.0
"""Postgres may have minutes of log to replay after a crash."""
_FIRST_TRIES_SECONDS = 15.0
"""A server killed a moment ago may still hold its data: "postmaster.pid exists" for 1-2 s."""
_STOP_SECONDS = 8.0
_LOOK_SECONDS = 0.1
_TIDY_TRIES = 10


def users_lock(state: Path, kind: str) -> Path:
    """Return the file on which users of a server hold a shared lock."""
    return state / "locks" / f"{kind}.users"


def keeper_lock(state: Path, kind: str) -> Path:
    """Return the file on which the keeper of a server holds an exclusive lock while it lives."""
    return state / "locks" / f"{kind}.keeper"


class Keeper:
    """Runs one server until its last user has gone or SIGTERM asks to stop."""

    def __init__(self, server: Server, state: Path) -> None:
        self._server = server
        self._state = state
        self._child: subprocess.Popen[bytes] | None = None
        self._users = linux.open_lock(users_lock(state, server.kind))
        # A terminal's Ctrl-C is for the command that uses the server, not for the server.
        self._signals = Signals([signal.SIGTERM, signal.SIGCHLD], [signal.SIGINT, signal.SIGHUP])

    def start(self) -> None:
        """Make data where absent, start the server, wait until it is ready.

        Raises StartupError.
        """
        self._server.prepare()
        began = time.monotonic()
        while time.monotonic() - began < _READY_SECONDS:
            if self._child is None:
                self._child = self._server.start()
            if self._child.poll() is not None:
                if time.monotonic() - began > _FIRST_TRIES_SECONDS or self._is_hopeless():
                    raise StartupError(self._server.explain())
                self._child = None
                self._signals.wait(0.3)
            elif self._server.probe() == READY:
                return
            else:
                self._signals.wait(0.02)
        raise StartupError(
            f"{self._server.kind} was not ready within {_READY_SECONDS:.0f} seconds."
        )

    def keep(self) -> None:
        """Restart the server whenever it ends; return when nobody uses it any more."""
        backoff = Backoff()
        backoff.started()
        while not self._signals.count(signal.SIGTERM) and not linux.try_lock(
            self._users, shared=False
        ):
            if self._child is None and backoff.is_due():
                self._child = self._server.start()
                backoff.started()
            if self._child is not None and self._child.poll() is not None:
                self._child = None
                delay = backoff.ended()
                _say(f"{self._server.explain()} Starting it again in {delay:.1f} s.")
            self._signals.wait(_LOOK_SECONDS)

    def stop(self) -> None:
        """Stop the server in order; one that does not end in time is killed."""
        if self._child is None or self._child.poll() is not None:
            return
        self._child.send_signal(self._server.stop_signal)
        try:
            self._child.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            _say(f"{self._server.kind} did not stop within {_STOP_SECONDS:.0f} s: killed.")
            self._child.kill()
            self._child.wait()

    def _is_hopeless(self) -> bool:
        """Tell whether trying again cannot help (anything but another server's remains)."""
        text = self._server.explain()
        return not any(mark in text for mark in ("postmaster.pid", "shared memory", "in use"))


def _say(text: str) -> None:
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    print(f"{stamp} {text}", file=sys.stderr, flush=True)


def main(arguments: list[str]) -> int:
    """Run the keeper; the exit code is 0 after an orderly stop, 1 when it could not start."""
    kind, folder, ready, mode = arguments
    state = Path(folder)
    # One keeper at a time: a predecessor may still be stopping. Never closed here: the kernel
    # lets go of it when this process is really gone.
    fcntl.flock(linux.open_lock(keeper_lock(state, kind)), fcntl.LOCK_EX)
    with os.fdopen(int(ready), "w", encoding="utf-8") as answer:
        keeper: Keeper | None = None
        try:
            keeper = Keeper(_server(kind, state, durable=mode == "durable"), state)
            keeper.start()
        except StartupError as error:
            if keeper is not None:
                keeper.stop()
            _say(str(error))
            answer.write(f"fault: {error}")
            return 1
        answer.write("ready")
    try:
        keeper.keep()
    finally:
        keeper.stop()
        _remove_run_folder(state)
    return 0


def _server(kind: str, state: Path, *, durable: bool) -> Server:
    return (
        Postgres(state, durable=durable) if kind == "postgres" else Valkey(state, durable=durable)
    )


def _remove_run_folder(state: Path) -> None:
    """Remove the empty run folder, unless somebody is just starting a server in it.

    The start lock tells; the keeper of the other server may have it for this same purpose, so it
    is asked for more than once. Waiting for it could wait for ever: its holder may be waiting for
    this process to end.
    """
    descriptor = linux.open_lock(state / "locks" / "start")
    for _ in range(_TIDY_TRIES):
        if linux.try_lock(descriptor, shared=False):
            try:
                paths.run_folder(state).rmdir()
            except OSError as error:
                if error.errno not in (errno.ENOENT, errno.ENOTEMPTY):
                    _say(f"{paths.run_folder(state)} could not be removed: {error}")
            return
        time.sleep(0.01)
