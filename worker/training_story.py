"""What a training tells, gathered for the next heartbeat: progress, epochs, log, time to go."""

from __future__ import annotations

import csv
import math
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cases.services.training_work import TrainingNews

LOG_LINES = 200


class Timer:
    """How long until the last epoch ends, by the work done since this attempt began.

    An epoch's work goes with the square of its input side: the early epochs of a recipe are at
    smaller sizes, and a mean over them would promise too much.
    """

    def __init__(self, sides: list[int], clock: Callable[[], float] = time.monotonic) -> None:
        self._costs = [float(side * side) for side in sides]
        self._clock = clock
        self._first: tuple[float, float] | None = None

    def eta_seconds(self, epoch: int, step: int, steps: int) -> int | None:
        """After ``step`` of ``steps`` in ``epoch`` (from one); None while nothing is measured."""
        done = sum(self._costs[: epoch - 1]) + self._costs[epoch - 1] * step / steps
        now = self._clock()
        if self._first is None:
            self._first = (done, now)
            return None
        work, seconds = done - self._first[0], now - self._first[1]
        if work <= 0 or seconds <= 0:
            return None
        return round((sum(self._costs) - done) * seconds / work)


class Story:
    """One attempt's events and log lines. ``take`` gives what is new; ``took`` forgets it."""

    def __init__(self, timer: Timer) -> None:
        self._timer = timer
        self._log: deque[str] = deque(maxlen=LOG_LINES)
        self._news = TrainingNews(progress={"phase": "preparing"})
        self._log_is_new = False
        # Digests of the data: of what was checked, and of what was then read.
        self._verified = self._read = ""
        self._epochs = 0
        self.error: dict[str, Any] | None = None
        self.is_done = False

    def hear(self, event: dict[str, Any]) -> None:
        """One event of the stream."""
        kind = event["event"]
        if kind == "verified":
            self._verified = event["data"]
        elif kind == "start":
            self._epochs = int(event["epochs"])
            self._read = str(event["data"])
            facts = {k: v for k, v in event.items() if k not in ("event", "time")}
            self._news.facts = facts
        elif kind == "step":
            self._step(event)
        elif kind == "epoch":
            row = {k: v for k, v in event.items() if k not in ("event", "time")}
            self._news.epochs.append(row)
            if int(event["epoch"]) == self._epochs:
                self._news.progress = {"phase": "measuring", "epochs": self._epochs}
        elif kind == "error":
            self.error = event
        elif kind == "done":
            self.is_done = True

    def _step(self, event: dict[str, Any]) -> None:
        names = ("epoch", "epochs", "step", "steps", "loss")
        told = {name: event[name] for name in names}
        eta = self._timer.eta_seconds(told["epoch"], told["step"], told["steps"])
        self._news.progress = {"phase": "training", **told, "eta_seconds": eta}

    def data_is_other(self, *, whole: bool) -> bool:
        """Whether what was read is not what was verified. Part of it is another digest anyway."""
        return whole and bool(self._read) and self._read != self._verified

    def begin(self, phase: str) -> None:
        """One process has ended well; what is heard from now on is the next one's."""
        self.is_done, self.error = False, None
        self._verified = self._read = ""
        self._news.progress = {"phase": phase}

    def log(self, line: str) -> None:
        self._log.append(line.rstrip())
        self._log_is_new = True

    @property
    def log_tail(self) -> str:
        return "\n".join(self._log)

    def take(self) -> TrainingNews:
        if self._log_is_new:
            self._news.log_tail = self.log_tail
        return self._news

    def took(self) -> None:
        """What ``take`` gave is stored."""
        self._news = TrainingNews()
        self._log_is_new = False


def history_rows(path: Path) -> list[dict[str, Any]]:
    """The epoch table as the training itself keeps it; empty where there is none yet.

    It also holds epochs whose events were lost with a killed worker.
    """
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return [
            {name: _number(cell) for name, cell in row.items()}
            | {"epoch": int(float(row["epoch"]))}
            for row in csv.DictReader(file)
        ]


def _number(cell: str | None) -> float | None:
    if not cell:
        return None
    number = float(cell)
    return number if math.isfinite(number) else None
