"""The pulse of this process, beaten by a thread so that a long batch does not silence it."""

from __future__ import annotations

import os
import socket
import threading
from typing import Any

import structlog
from django.db import DatabaseError, connection

from cases.services.pulse import pulse_beat, pulse_stop

log = structlog.get_logger(__name__)

PERIOD_S = 5.0


class Pulse:
    """Beats every ``PERIOD_S`` until stopped. ``details`` and ``ready`` may change meanwhile."""

    def __init__(self, *, name: str, kind: str, ready: bool) -> None:
        self.name = name
        self.kind = kind
        self.details: dict[str, Any] = {"host": socket.gethostname(), "pid": os.getpid()}
        self.ready = ready
        self._wake = threading.Event()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name=f"pulse-{kind}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def mark(self, *, ready: bool, **details: Any) -> None:
        """Tell a change at once instead of at the next beat."""
        self.ready = ready
        self.details.update(details)
        self._wake.set()

    def stop(self) -> None:
        self._stopped = True
        self._wake.set()
        self._thread.join(timeout=3)

    def _run(self) -> None:
        while True:
            self._wake.clear()
            try:
                if self._stopped:
                    pulse_stop(name=self.name)
                    return
                pulse_beat(name=self.name, kind=self.kind, ready=self.ready, details=self.details)
            except DatabaseError as error:
                # The database may be restarting: the next beat tries again.
                log.warning("pulse_failed", error=type(error).__name__)
                if self._stopped:
                    return
            finally:
                connection.close_if_unusable_or_obsolete()
            self._wake.wait(PERIOD_S)
