"""Beat on a wall clock that somebody sets: django-celery-beat's scheduler with one rule more.

Celery remembers when it last did something and when it will do it next by the wall clock. When that
was ahead and is set right again, it waits until the time it has already seen comes once more, for
hours perhaps, and starting it anew does not help, as the rows remember too. Nothing would be swept,
sealed or trained meanwhile. Here what was done "in the future" counts as done now.
"""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any

import structlog
from celery.utils.time import maybe_make_aware
from django.db import connections
from django_celery_beat.schedulers import DatabaseScheduler, ModelEntry

log = structlog.get_logger(__name__)

# Slower corrections (NTP slews by 0.5 ms per second) put nothing off.
STEP_S = 1.0


class SteadyEntry(ModelEntry):  # type: ignore[misc]
    """An entry that was never done later than now."""

    last_run_at: datetime

    def is_due(self) -> Any:
        now: datetime = maybe_make_aware(self._default_now())
        if maybe_make_aware(self.last_run_at) > now:
            self.last_run_at = self.model.last_run_at = now
        return super().is_due()


class SteadyScheduler(DatabaseScheduler):  # type: ignore[misc]
    """Plans everything anew when the wall clock was set back."""

    Entry = SteadyEntry
    _ahead: float | None = None

    def tick(self, *args: Any, **kwargs: Any) -> float:
        """As ``Scheduler.tick``: do what is due; seconds until the next look."""
        ahead = self.wall_clock() - time.monotonic()
        if self._ahead is not None and ahead < self._ahead - STEP_S:
            log.warning("clock_set_back", seconds=round(self._ahead - ahead, 1))
            # Its times are those of the clock as it was.
            self._heap = None
        self._ahead = ahead
        seconds: float = super().tick(*args, **kwargs)
        return seconds

    def close(self) -> None:
        """Save what is not saved yet, on a connection that is asked before: whoever ends beat may
        have interrupted a query."""
        for connection in connections.all(initialized_only=True):
            connection.errors_occurred = True
        super().close()

    def wall_clock(self) -> float:
        """Seconds since 1970, as this machine believes."""
        return time.time()
