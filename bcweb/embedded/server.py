"""What an embedded server is to its keeper: how to make it ready, start it and greet it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Literal, Protocol

Kind = Literal["postgres", "valkey"]

STARTING = "starting"
READY = "ready"
DOWN = "down"

_LOG_LIMIT = 10 * 1024 * 1024


class Server(Protocol):
    """One embedded server of one state folder."""

    kind: Kind
    stop_signal: int
    """The signal that ends it in order."""

    def prepare(self) -> None:
        """Make folders and data where absent. Raises StartupError."""

    def start(self) -> subprocess.Popen[bytes]:
        """Start it as a child in a session of its own that dies with this process."""

    def probe(self) -> str:
        """Return READY, STARTING (it answers, but not yet to work) or DOWN."""

    def explain(self) -> str:
        """Return a sentence on why it ended, from its log."""


def open_log(path: Path) -> int:
    """Open a log file for appending; one over 10 MB is first moved to `<name>.1`."""
    if path.exists() and path.stat().st_size > _LOG_LIMIT:
        path.replace(path.with_name(f"{path.name}.1"))
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)


def log_tail(path: Path, size: int = 16384) -> list[str]:
    """Return the last lines of a log; none when there is no log."""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, path.stat().st_size - size))
            return file.read().decode("utf-8", "replace").splitlines()
    except FileNotFoundError:
        return []


def last_line(path: Path, *marks: str) -> str:
    """Return the last log line holding one of `marks` (any line when none is given), or ""."""
    for line in reversed(log_tail(path)):
        if line.strip() and (not marks or any(mark in line for mark in marks)):
            return line.strip()
    return ""
