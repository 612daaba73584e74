"""``python -m ml.train`` with a narrow network and a tiny recipe, in a process that can be killed.

    python -m tests.ml.narrow_train SETTINGS ARGUMENTS…

SETTINGS is JSON: ``config`` changes the bcweb recipe; ``die`` = {"at", "count", "rank"} has the
process kill itself (SIGKILL) at the count-th batch that it makes ("batch") or at the count-th file
that it has written and not yet renamed ("write"); ``hold`` = {"epoch", "step"} has it go no further
than that step before it is told to end (SIGTERM).
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import count
from typing import Any

from torchvision.models import resnet50

import ml.model
from ml import train
from ml.batches import BatchMaker
from ml.cli import run_cli
from ml.config import BCWEB, RECIPES, TrainConfig
from ml.progress import EventStream, Progress, StopSignal


def tiny(**changes: Any) -> TrainConfig:
    """The recipe of these runs: 32 px, then 64; three folds; all augmentation; averaging."""
    base = replace(BCWEB, size=64, epochs=2, batch_size=5, folds=3, ema=0.9, stages=((1, 32),))
    return replace(base, **changes)


def _dying(function: Callable[..., Any], at: int) -> Callable[..., Any]:
    calls = count(1)

    def call(*arguments: Any) -> Any:
        if next(calls) == at:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments)

    return call


def hold_at(epoch: int, step: int) -> None:
    """Have the training tell of this step and then wait: whoever heard of it may take their time
    to end the process, and finds it where it was."""
    asked: list[bool] = []
    handle, tell = StopSignal._handle, EventStream.step

    def heard(self: StopSignal, *signalled: Any) -> None:
        asked.append(True)
        handle(self, *signalled)

    def told(self: EventStream, progress: Progress) -> None:
        tell(self, progress)
        while (progress.epoch, progress.step) == (epoch, step) and not asked:
            time.sleep(0.02)

    StopSignal._handle = heard  # type: ignore[method-assign]
    EventStream.step = told  # type: ignore[method-assign]


def main() -> int:
    settings = json.loads(sys.argv[1])
    ml.model.resnet50 = partial(resnet50, width_per_group=4)
    RECIPES["bcweb"] = tiny(**settings.get("config", {}))
    # Drawing takes longer than the training here, and has tests of its own.
    train.write_figures = lambda *_: []
    if hold := settings.get("hold"):
        hold_at(**hold)
    die = settings.get("die")
    if die and int(os.environ.get("RANK", "0")) == die.get("rank", 0):
        if die["at"] == "batch":
            BatchMaker.make = _dying(BatchMaker.make, die["count"])
        else:
            os.fsync = _dying(os.fsync, die["count"])
    return run_cli(partial(train.main, sys.argv[2:]))


if __name__ == "__main__":
    sys.exit(main())
