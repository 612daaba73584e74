"""A Celery worker as `make run` starts it, with the stand-in in the place of the engine.

`python -m bench.chaos.worker ARGUMENTS…` takes what `python -m celery` takes.
"""

from __future__ import annotations

import sys

from celery.__main__ import main

from worker import engine

engine.CHILD_MODULE = "bench.chaos.engine"

if __name__ == "__main__":
    sys.exit(main())
