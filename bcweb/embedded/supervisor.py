"""The supervisor behind `make run`: everything up in order, kept up, and down in order."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from pathlib import Path

from . import command, linux, paths, roster, services, terminal
from .errors import StartupError
from .events import Signals
from .process import Process
from .roster import Plan

_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_READY_SECONDS = 180.0
_HOPELESS_CRASHES = 3
"""A service that ended so often before all was ready will not come up by itself."""
_APP_STOP_SECONDS = 7.0
_GROUP_STOP_SECONDS = 6.0
_SERVERS_STOP_SECONDS = 2.5
_ORPHANS_SECONDS = 3.0


class Stopped(Exception):
    """Somebody asked to stop (Ctrl-C, SIGTERM): not an error."""


class Supervisor:
    """Runs one plan on one state folder. `run` returns the exit code."""

    def __init__(self, plan: Plan, *, state: Path, host: str, port: int, folder: Path) -> None:
        self._plan = plan
        self._state = state
        self._host = host
        self._port = port
        self._url = f"http://{_named(host)}:{port}"
        self._kinds = command.missing_kinds(os.environ)
        self._users: services.Users | None = None
        self._terminal: terminal.Terminal | None = None
        self._signals = Signals([*_STOPPING, signal.SIGCHLD])
        self._looked_at_servers = 0.0
        self._children_seen = 0
        self._stopping_since = 0.0
        self._requests = 0
        self._processes = {
            service.name: Process(
                service,
                logs=state / "log",
                folder=folder,
                environment=roster.environment(state, self._url),
            )
            for service in (*plan.services, *([plan.setup] if plan.setup else []))
        }

    def run(self) -> int:
        """Start, keep and stop everything.

        Returns 0 after an orderly stop. Raises StartupError, with everything stopped again, when
        the service cannot be brought up.
        """
        lock = self._lock()
        began = time.monotonic()
        linux.adopt_orphans()
        try:
            _check_port(self._host, self._port)
            paths.check_free_space(self._state, share=0.1)
            if "BCWEB_UNDER_MAKE" in os.environ:
                self._terminal = terminal.take()
            self._start()
            self._announce(time.monotonic() - began)
            while True:
                self._look(0.5)
        except Stopped:
            say("stopping …")
            return 0
        finally:
            self._stop()
            if self._terminal:
                self._terminal.give_back()
            os.close(lock)

    def _lock(self) -> int:
        path = self._state / paths.SUPERVISOR_LOCK
        descriptor = linux.open_lock(path)
        if not linux.try_lock(descriptor, shared=False):
            holder = path.read_text().strip()
            os.close(descriptor)
            raise StartupError(
                f"bcweb already runs on {self._state} (process {holder}): stop it first, or "
                "choose another state folder with STATE=/path."
            )
        os.truncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        return descriptor

    def _start(self) -> None:
        if self._kinds:
            say(f"starting embedded {' and '.join(self._kinds)} …")
            self._users = services.Users(self._state, self._kinds)
            self._users.open()
        if self._plan.setup:
            say("setting up (database, static files, model) …")
            self._run_setup(self._processes[self._plan.setup.name])
        for service in self._plan.services:
            self._processes[service.name].start()
        say(f"starting {', '.join(service.title for service in self._plan.services)} …")
        deadline = time.monotonic() + _READY_SECONDS
        missing: list[str] | None = None
        while self._plan.readiness and (found := self._plan.readiness.missing(self._signals)) != []:
            missing = found if found is not None else missing
            self._look(0.25)
            for process in self._processes.values():
                if process.failures >= _HOPELESS_CRASHES:
                    raise _no_start(process)
            if time.monotonic() > deadline:
                what = ", ".join(missing) if missing else "the web server"
                raise StartupError(
                    f"Not ready after {_READY_SECONDS:.0f} s, still missing: {what} "
                    f"(logs: {self._state / 'log'})."
                )

    def _run_setup(self, process: Process) -> None:
        process.start()
        while process.is_running():
            self._signals.wait(1.0)
            self._heed()
        if process.exit_code:
            raise _no_start(process)

    def _look(self, seconds: float) -> None:
        """Wait a moment for events, then put right what has ended. Raises Stopped."""
        self._signals.wait(seconds)
        self._heed()
        for service in self._plan.services:
            process = self._processes[service.name]
            was_running = process.guard_id is not None
            if process.is_running():
                continue
            if was_running:
                self._kill_orphans()
                delay = process.note_crash()
                say(
                    f"{service.title} ended (exit code {process.exit_code}, "
                    f"log: {process.log}); starting it again in {delay:.1f} s"
                )
            elif process.is_due():
                process.start()
        if self._signals.count(signal.SIGCHLD) != self._children_seen:
            self._children_seen = self._signals.count(signal.SIGCHLD)
            linux.reap_others(*self._known())
        self._look_at_servers()

    def _look_at_servers(self) -> None:
        if not self._users or time.monotonic() - self._looked_at_servers < 1.0:
            return
        self._looked_at_servers = time.monotonic()
        if all(services.keeper_lives(self._state, kind) for kind in self._kinds):
            return
        say("the keeper of an embedded server ended; starting it again")
        try:
            self._users.ensure()
        except StartupError as error:
            # A full disk may be freed again: keep trying, as for any other crash.
            say(str(error))

    def _heed(self) -> None:
        if self._signals.count(*_STOPPING):
            raise Stopped

    def _stop(self) -> None:
        """Stop the services group by group, then the servers; 10 s at most, less when hurried."""
        asked = self._signals.count(*_STOPPING)
        began = self._stopping_since = time.monotonic()
        setup = self._plan.setup
        groups = [*self._plan.stop_groups, *([(setup.name,)] if setup else [])]
        for group in groups:
            running = [self._processes[name] for name in group]
            for process in running:
                process.ask_to_stop()
            end = min(time.monotonic() + _GROUP_STOP_SECONDS, began + _APP_STOP_SECONDS)
            while (
                (running := [process for process in running if process.is_running()])
                and time.monotonic() < end
                and not self._is_hurried()
            ):
                self._signals.wait(0.2)
            for process in running:
                say(f"{process.service.title} did not stop in time: killed")
                process.kill()
        while any(process.is_running() for process in self._processes.values()):
            self._signals.wait(0.1)
        self._kill_orphans()
        if self._users:
            self._users.close(_SERVERS_STOP_SECONDS)
        if asked:
            say(f"stopped in {time.monotonic() - began:.1f} s")

    def _is_hurried(self) -> bool:
        """Tell whether somebody asked again.

        make passes on a SIGTERM that its whole group got as well: what comes within the first
        second is the same request.
        """
        count = self._signals.count(*_STOPPING)
        if time.monotonic() - self._stopping_since < 1.0:
            self._requests = count
        return count > self._requests

    def _known(self) -> set[int]:
        known = {process.guard_id for process in self._processes.values()} - {None}
        helper = {self._terminal.helper_id} if self._terminal else set()
        return {pid for pid in known if pid is not None} | services.keeper_ids() | helper

    def _kill_orphans(self) -> None:
        """Kill what a killed guard left behind: it has become this process's own child.

        Looked for again until there is none, as children of one that is just dying come last.
        """
        known = self._known()
        deadline = time.monotonic() + _ORPHANS_SECONDS
        while time.monotonic() < deadline:
            linux.reap_others(*known)
            orphans = [pid for pid in linux.children(os.getpid()) if pid not in known]
            if not orphans:
                return
            for pid in orphans:
                linux.kill_all([*linux.descendants(pid), pid])
            time.sleep(0.01)

    def _announce(self, seconds: float) -> None:
        if roster.is_on(roster.environment(self._state, self._url)["BCWEB_DEMO"]):
            for line in demo_lines(self._state / "demo.json"):
                print(line, flush=True)
        elif (self._state / "demo.json").exists():
            say(f"demo users are still there: delete {self._state / 'demo.json'} to close them")
        print(f"started in {seconds:.1f} s; Ctrl-C stops it", flush=True)
        print(f"bcweb is ready at {self._url}", flush=True)


def demo_lines(path: Path) -> list[str]:
    """Return the demo logins for the terminal; nothing when there are none."""
    if not path.exists():
        return []
    demo = json.loads(path.read_text())
    lines = [f"demo logins (also in {path}):"]
    for role, login in demo.items():
        if isinstance(login, dict) and "password" in login:
            lines.append(f"  {role:<12} {login['username']:<16} {login['password']}")
    if isinstance(demo.get("integration"), dict):
        lines.append(f'  {"integration":<12} API token: "integration" → "token" in that file')
    return lines


def say(text: str) -> None:
    """Write one line to the terminal at once."""
    print(f"bcweb: {text}", flush=True)


def _named(host: str) -> str:
    """Return the host for a URL that a person can open on this machine."""
    shown = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1"}.get(host, host)  # noqa: S104
    return f"[{shown}]" if ":" in shown else shown


def _check_port(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except PermissionError as error:
            raise StartupError(
                f"Port {port} needs more rights than this user has: choose one from 1024 on, for "
                "example make run PORT=8000."
            ) from error
        except OSError as error:
            raise StartupError(
                f"Port {port} on {host} cannot be used ({error.strerror}): stop the program that "
                f"has it, or choose another, for example make run PORT={port + 1}."
            ) from error


def _no_start(process: Process) -> StartupError:
    """Say why a service does not start: the last line it left, and where the others are."""
    return StartupError(
        f"{process.service.title.capitalize()} failed (exit code {process.exit_code}): "
        f"{process.last_words() or 'it left no message'} (log: {process.log})."
    )
