"""How long to wait before a crashed process is started again."""

from __future__ import annotations

import time
from collections.abc import Callable


class Backoff:
    """Doubling waits, from `first` to `longest` seconds.

    A process that was up for `healthy` seconds counts as well: its next crash starts over. The
    clock is monotonic; tests hand in their own.
    """

    def __init__(
        self,
        *,
        first: float = 0.2,
        longest: float = 20.0,
        healthy: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._first = first
        self._longest = longest
        self._healthy = healthy
        self._clock = clock
        self._next = first
        self._started_at = clock()
        self._due_at = clock()

    def started(self) -> None:
        """Note that the process was started now."""
        self._started_at = self._clock()

    def ended(self) -> float:
        """Note that the process ended now; return the seconds to wait before the next start."""
        now = self._clock()
        if now - self._started_at >= self._healthy:
            self._next = self._first
        delay = self._next
        self._next = min(2 * self._next, self._longest)
        self._due_at = now + delay
        return delay

    def is_due(self) -> bool:
        """Tell whether the wait after the last end is over."""
        return self._clock() >= self._due_at
