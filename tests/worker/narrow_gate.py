"""The judging process with a narrow network. `BCWEB_TEST_GATE`: "die" kills it before it judges."""

from __future__ import annotations

import os
import signal
import sys
from functools import partial
from typing import Any


def main() -> int:
    from torchvision.models import resnet50

    import ml.model
    from worker import gate_child

    ml.model.resnet50 = partial(resnet50, width_per_group=4)

    def die(_: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    if os.environ.get("BCWEB_TEST_GATE") == "die":
        gate_child._judge = die
    return gate_child.main()


if __name__ == "__main__":
    sys.exit(main())
