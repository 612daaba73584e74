"""What a training tells while it runs: a bar in a terminal, events for programs; and its stop."""

from __future__ import annotations

import json
import re
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any, TextIO

from tqdm import tqdm

from ml.errors import MlError, TrainingCancelledError


@dataclass(frozen=True)
class Progress:
    """One step of a running training, for progress bars and the service.

    ``loss`` is the mean objective of the epoch so far: what the steps make smaller.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float


def error_code(error: BaseException) -> str:
    """A short name of an error for programs: ``NonFiniteLossError`` -> "non_finite_loss"."""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    if isinstance(error, MlError):
        name = type(error).__name__.removesuffix("Error")
        return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
    return "input_output" if isinstance(error, OSError) else "unexpected"


class EventStream:
    """JSON lines, each flushed when written; nothing at all without a file.

    Every line has ``event`` (start, step, epoch, checkpoint, done, error) and ``time``, seconds
    since 1970. Numbers that are NaN or infinite become null, so that every reader understands
    them. The first line is "start", unless the run ends before its data is read and its network
    built: then there is only "error". The last line is "done" or "error"; a stream that ends
    otherwise is that of a killed process.
    """

    def __init__(self, file: TextIO | None) -> None:
        self._file = file

    def send(self, event: str, **fields: Any) -> None:
        """Write one event."""
        if self._file is not None:
            line = {"event": event, "time": round(time.time(), 3), **_finite(fields)}
            self._file.write(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n")
            self._file.flush()

    def step(self, progress: Progress) -> None:
        """One step was made; ``loss`` is the epoch's mean so far."""
        self.send("step", **asdict(progress))

    @contextmanager
    def ending(self) -> Iterator[None]:
        """Send "error" with a code and a message when the block raises, and raise on."""
        try:
            yield
        except BaseException as error:
            self.send("error", code=error_code(error), message=str(error))
            raise


@contextmanager
def open_events(target: str | None) -> Iterator[EventStream]:
    """Events into a file, which is appended to; "-": onto stdout; None: nowhere.

    With "-", what else would be printed to stdout goes to stderr, so that only events are left.
    """
    if target is None:
        yield EventStream(None)
    elif target == "-":
        stdout = sys.stdout
        with redirect_stdout(sys.stderr):
            yield EventStream(stdout)
    else:
        Path(target).parent.mkdir(parents=True, exist_ok=True)
        with Path(target).open("a", encoding="utf-8") as file:
            yield EventStream(file)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, float) and not abs(value) < float("inf"):
        return None
    return value


class Bar:
    """A progress bar over all steps on stderr, where that is a terminal; else silent."""

    def __init__(self, *, shown: bool = True) -> None:
        hidden = not (shown and sys.stderr.isatty())
        self._bar = tqdm(disable=hidden, unit="step", file=sys.stderr)

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def step(self, progress: Progress) -> None:
        """Move the bar to a step."""
        self._bar.total = progress.epochs * progress.steps
        self._bar.n = (progress.epoch - 1) * progress.steps + progress.step
        self._bar.set_postfix(epoch=progress.epoch, loss=f"{progress.loss:.3f}")

    def write(self, text: str) -> None:
        """Print a line to stdout without tearing the bar."""
        self._bar.write(text, file=sys.stdout)
        sys.stdout.flush()


class StopSignal:
    """SIGTERM as a wish to stop: between two steps in ``gracefully``, at once elsewhere.

    ``requested`` is what :meth:`ml.trainer.Trainer.run_epoch` takes as ``cancelled``.
    """

    def __init__(self) -> None:
        self._requested = False
        self._graceful = False

    def requested(self) -> bool:
        """Whether SIGTERM came."""
        return self._requested

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Handle SIGTERM within the block; only a process's main thread may."""
        before = signal.signal(signal.SIGTERM, self._handle)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)

    @contextmanager
    def gracefully(self) -> Iterator[None]:
        """Within the block only note the wish; what runs there asks :meth:`requested`."""
        self._graceful = True
        try:
            yield
        finally:
            self._graceful = False
        if self._requested:
            raise TrainingCancelledError("the training was cancelled")

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._requested = True
        if not self._graceful:
            raise TrainingCancelledError("the training was cancelled")
