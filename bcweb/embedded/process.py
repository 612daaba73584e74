"""One service under the supervisor: started behind a guard, restarted with back-off, stopped."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .backoff import Backoff
from .server import last_line, open_log

_LAUNCHER = Path(__file__).with_name("launch.py")


@dataclass(frozen=True)
class Service:
    """What to run: its command (no shell), extra environment, and how it is told to stop."""

    name: str
    title: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    nice: int = 0
    stop_signal: int = signal.SIGTERM


class Process:
    """A service and its current run. Output goes to `<log folder>/<name>.log`."""

    def __init__(
        self, service: Service, *, logs: Path, folder: Path, environment: Mapping[str, str]
    ) -> None:
        self.service = service
        self.log = logs / f"{service.name}.log"
        self.failures = 0
        """How often it ended without having been asked to."""
        self.exit_code: int | None = None
        """How the last run ended; None before the first end."""
        self._folder = folder
        self._environment = {**environment, **service.environment}
        self._backoff = Backoff()
        self._guard: subprocess.Popen[bytes] | None = None

    @property
    def guard_id(self) -> int | None:
        """The process id of its guard while it runs."""
        return self._guard.pid if self._guard else None

    def start(self) -> None:
        """Start it, in a session of its own so that a terminal's Ctrl-C does not reach it."""
        log = open_log(self.log)
        guard = [sys.executable, "-S", "-E", str(_LAUNCHER), "guard", str(self.service.nice)]
        try:
            self._guard = subprocess.Popen(
                [*guard, *self.service.command],
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        finally:
            os.close(log)
        self._backoff.started()

    def is_running(self) -> bool:
        """Tell whether it runs; collects its exit code when it has just ended."""
        if self._guard is None:
            return False
        code = self._guard.poll()
        if code is None:
            return True
        self.exit_code = code
        self._close()
        return False

    def note_crash(self) -> float:
        """Count an end nobody asked for; return the seconds until the next start."""
        self.failures += 1
        return self._backoff.ended()

    def is_due(self) -> bool:
        """Tell whether the wait after the last crash is over."""
        return self._backoff.is_due()

    def ask_to_stop(self) -> None:
        """Send it its stop signal."""
        self._order(self.service.stop_signal)

    def kill(self) -> None:
        """Kill it with everything below it."""
        self._order(signal.SIGKILL)

    def last_words(self) -> str:
        """Return the last line of its log that says something."""
        return last_line(self.log)

    def _order(self, number: int) -> None:
        if self._guard is not None and self._guard.stdin is not None:
            # The guard may have ended in this moment: then there is nobody left to stop.
            with contextlib.suppress(BrokenPipeError):
                self._guard.stdin.write(bytes([number]))
                self._guard.stdin.flush()

    def _close(self) -> None:
        if self._guard is not None and self._guard.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._guard.stdin.close()
        self._guard = None
