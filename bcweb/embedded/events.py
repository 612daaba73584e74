"""Signals as something to wait for, for a single-threaded process that watches children."""

from __future__ import annotations

import contextlib
import os
import select
import signal
from collections.abc import Iterable
from types import FrameType


class Signals:
    """Counts the signals it is told to catch, and wakes `wait` when one comes."""

    def __init__(self, caught: Iterable[int], ignored: Iterable[int] = ()) -> None:
        self._reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._counts: dict[int, int] = {}
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        for number in caught:
            signal.signal(number, self._note)
        for number in ignored:
            signal.signal(number, signal.SIG_IGN)

    def count(self, *numbers: int) -> int:
        """Return how many of these signals came so far."""
        return sum(self._counts.get(number, 0) for number in numbers)

    def wait(self, seconds: float, *readable: int) -> list[int]:
        """Wait until a signal comes, a descriptor can be read, or the time is up.

        Returns the descriptors that can be read.
        """
        ready, _, _ = select.select([self._reading, *readable], [], [], max(0.0, seconds))
        # Nothing to read: the time was up, or only a descriptor is ready.
        with contextlib.suppress(BlockingIOError):
            os.read(self._reading, 512)
        return [descriptor for descriptor in ready if descriptor != self._reading]

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self._counts[number] = self._counts.get(number, 0) + 1
