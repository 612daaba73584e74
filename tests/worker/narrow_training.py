"""The training process with a narrow network and a tiny recipe, and with the faults of a test.

`BCWEB_TEST_TRAINING` is JSON: ``config`` changes the recipe, ``die`` = {"at", "count"} kills the
process as in tests.ml.narrow_train, ``raise`` = {"what", "count"} raises at the count-th batch,
``pause`` sleeps so many seconds before each batch.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Any

FAULTS: dict[str, Callable[[], BaseException]] = {
    "disk": lambda: OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
    "memory": lambda: RuntimeError("DefaultCPUAllocator: can't allocate memory"),
    "unexpected": lambda: KeyError("a fault of ours"),
}


def main() -> int:
    from torchvision.models import resnet50

    import ml.model
    from ml import train
    from ml.batches import BatchMaker
    from ml.config import RECIPES
    from tests.ml.narrow_train import tiny
    from worker import training_child

    settings = json.loads(os.environ.get("BCWEB_TEST_TRAINING", "{}"))
    ml.model.resnet50 = partial(resnet50, width_per_group=4)
    RECIPES["bcweb"] = tiny(**settings.get("config", {}))
    # Drawing and resampling take longer than the training here, and have tests of their own.
    train.write_figures = lambda *_: []
    original, calls = BatchMaker.make, count(1)

    def make(*arguments: Any) -> Any:
        number = next(calls)
        time.sleep(settings.get("pause", 0))
        die, fault = settings.get("die"), settings.get("raise")
        if die and number == die:
            os.kill(os.getpid(), signal.SIGKILL)
        if fault and number == fault["count"]:
            raise FAULTS[fault["what"]]()
        return original(*arguments)

    BatchMaker.make = make
    sys.argv += ["--bootstraps", "5"]
    if settings.get("nan"):
        from torch import Tensor
        from torch.nn import functional

        plain = functional.cross_entropy

        def spoiled(*arguments: Any, **more: Any) -> Tensor:
            return plain(*arguments, **more) * float("nan")

        functional.cross_entropy = spoiled
    return training_child.main()


if __name__ == "__main__":
    sys.exit(main())
