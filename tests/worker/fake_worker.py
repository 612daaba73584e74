"""A real inference worker (Celery, one process) whose engine is `fake_engine`.

`python -m tests.worker.fake_worker NAME`. `BCWEB_TEST_CLOCK_S` sets its clock so many seconds
ahead, wherever Python code asks for the time.
"""

from __future__ import annotations

import datetime
import os
import sys
import time


def skew(seconds: float) -> None:
    """Put the clock of this process ahead. The database's stays as it is."""
    real_time, real = time.time, datetime.datetime
    time.time = lambda: real_time() + seconds  # type: ignore[assignment]

    class AsReal(type):
        """What the C code of other modules makes counts as one of these too."""

        def __instancecheck__(cls, instance: object) -> bool:
            return isinstance(instance, real)

        def __subclasscheck__(cls, other: type) -> bool:
            return issubclass(other, real)

    class Skewed(real, metaclass=AsReal):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> datetime.datetime:
            return real.now(tz) + datetime.timedelta(seconds=seconds)

        @classmethod
        def utcnow(cls) -> datetime.datetime:
            return real.now(datetime.UTC).replace(tzinfo=None) + datetime.timedelta(seconds=seconds)

    datetime.datetime = Skewed  # type: ignore[misc]


def main(name: str) -> None:
    if seconds := float(os.environ.get("BCWEB_TEST_CLOCK_S", "0")):
        skew(seconds)
    from bcweb.celery import app
    from worker import engine

    engine.CHILD_MODULE = "tests.worker.fake_engine"
    app.worker_main(
        [
            "worker",
            *("--pool", "solo", "--queues", "inference,maintenance", "--hostname", f"{name}@%h"),
            *("--loglevel", "INFO", "--without-gossip", "--without-mingle"),
        ]
    )


if __name__ == "__main__":
    main(sys.argv[1])
