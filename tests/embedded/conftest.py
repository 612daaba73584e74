"""State folders with a space in their path, and what a process tree looks like from outside."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bcweb.embedded import linux, paths

ROOT = Path(__file__).resolve().parents[2]


def wait_until(condition: Callable[[], bool], seconds: float = 180.0) -> None:
    """Return when the condition holds; fail when it does not within `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "what was waited for did not happen"
        time.sleep(0.02)


def processes_of(state: Path) -> list[int]:
    """Return the living processes that name the state folder, or its run folder, on their line."""
    marks = (os.fsencode(state), os.fsencode(paths.run_folder(state)))
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            try:
                line = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if any(mark in line for mark in marks) and linux.is_alive(int(entry.name)):
                found.append(int(entry.name))
    return found


def process_of_service(state: Path, kind: str) -> int:
    """Return the process of the embedded server itself: the child of its keeper."""
    for pid in processes_of(state):
        line = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if b"keeper" in line and kind.encode() in line:
            return linux.children(pid)[0]
    raise AssertionError(f"no {kind} runs on {state}")


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Yield a state folder with a space in its path; nothing may run on it afterwards."""
    monkeypatch.setenv("BCWEB_MIN_FREE_MB", "300")
    for name in ("DATABASE_URL", "REDIS_URL", "BCWEB_UNDER_MAKE"):
        monkeypatch.delenv(name, raising=False)
    folder = paths.make_state_dir(tmp_path / "a state")
    yield folder
    # A busy machine takes longer for the end of a server than its last user waits for it.
    deadline = time.monotonic() + 60
    while (left := processes_of(folder)) and time.monotonic() < deadline:
        time.sleep(0.02)
    linux.kill_all(left)
    # Servers that a test killed leave their sockets behind.
    shutil.rmtree(paths.run_folder(folder), ignore_errors=True)
    assert not left, "processes were left behind"


class Child:
    """A Python program of a test, started as a process of its own."""

    def __init__(self, program: str, *arguments: str, python: str = sys.executable) -> None:
        self.process = subprocess.Popen(
            [python, "-c", program, *arguments],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.seen: list[str] = []

    def read_until(self, mark: str) -> str:
        """Read lines until one holds `mark`; return it."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.seen.append(line)
            if mark in line:
                return line
        raise AssertionError(f"{mark!r} did not come; seen: {''.join(self.seen)}")

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def end(self) -> int:
        """Read the rest and wait; return the exit code."""
        assert self.process.stdout is not None
        self.seen += self.process.stdout.readlines()
        return self.process.wait(120)


@pytest.fixture
def start() -> Iterator[Callable[..., Child]]:
    """Yield a function that starts a Python program; what still runs at the end is killed."""
    children: list[Child] = []

    def start_one(program: str, *arguments: str, python: str = sys.executable) -> Child:
        children.append(Child(program, *arguments, python=python))
        return children[-1]

    yield start_one
    for child in children:
        if child.process.poll() is None:
            child.process.send_signal(signal.SIGKILL)
        child.process.wait()
        for stream in (child.process.stdin, child.process.stdout):
            if stream is not None:
                stream.close()
