"""The training process with a narrow network and a tiny recipe, and with the faults of a test.

`BCWEB_TEST_TRAINING` is JSON: ``config`` changes the recipe, ``die`` kills the process at that
batch, ``raise`` = {"what", "count"} raises at the count-th batch, ``pause`` sleeps so many seconds
before each batch, ``hold`` = {"epoch", "step"} goes no further than that step before the process is
told to end, ``nan`` spoils every loss, ``check`` fits a refusal check on so few pictures.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count, islice
from typing import Any

FAULTS: dict[str, Callable[[], BaseException]] = {
    "disk": lambda: OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
    "memory": lambda: RuntimeError("DefaultCPUAllocator: can't allocate memory"),
    "unexpected": lambda: KeyError("a fault of ours"),
}


def main() -> int:
    from worker import training_child

    settings = json.loads(os.environ.get("BCWEB_TEST_TRAINING", "{}"))
    prepare = training_child._prepare

    def prepare_and_narrow(options: dict[str, Any]) -> None:
        # As in life, torch is loaded only once the data is found good.
        prepare(options)
        _narrow(settings)

    training_child._prepare = prepare_and_narrow
    sys.argv += ["--bootstraps", "5"]
    return training_child.main()


def _narrow(settings: dict[str, Any]) -> None:
    from torchvision.models import resnet50

    import ml.model
    from ml import train
    from ml.batches import BatchMaker
    from ml.config import RECIPES
    from tests.ml.narrow_train import hold_at, tiny

    ml.model.resnet50 = partial(resnet50, width_per_group=4)
    RECIPES["bcweb"] = tiny(**settings.get("config", {}))
    # Drawing and resampling take longer than the training here, and have tests of their own.
    train.write_figures = lambda *_: []
    BatchMaker.make = _troubled(BatchMaker.make, settings)
    if settings.get("hold"):
        hold_at(**settings["hold"])
    if settings.get("nan"):
        _spoil_losses()
    if settings.get("check"):
        _check_by_few(settings["check"])


def _troubled(original: Callable[..., Any], settings: dict[str, Any]) -> Callable[..., Any]:
    """Batches that come late, end the process or raise, as the test says."""
    calls = count(1)
    die, fault = settings.get("die"), settings.get("raise")

    def make(*arguments: Any) -> Any:
        number = next(calls)
        time.sleep(settings.get("pause", 0))
        if die and number == die:
            os.kill(os.getpid(), signal.SIGKILL)
        if fault and number == fault["count"]:
            raise FAULTS[fault["what"]]()
        return original(*arguments)

    return make


def _check_by_few(least: int) -> None:
    """A refusal check of a few pictures and few negatives of each source: it takes seconds."""
    from ml import refusal_fit

    refusal_fit.LEAST = least
    for name in ("skimage_negatives", "sklearn_negatives", "pydicom_negatives"):
        setattr(refusal_fit, name, partial(_first, getattr(refusal_fit, name)))


def _first(pictures: Callable[[], Iterator[Any]]) -> Iterator[Any]:
    return islice(pictures(), 6)


def _spoil_losses() -> None:
    from torch import Tensor
    from torch.nn import functional

    plain = functional.cross_entropy

    def spoiled(*arguments: Any, **more: Any) -> Tensor:
        return plain(*arguments, **more) * float("nan")

    functional.cross_entropy = spoiled


if __name__ == "__main__":
    sys.exit(main())
