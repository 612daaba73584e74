"""The service's own inference worker, with an engine that sleeps."""

from __future__ import annotations

import sys

from bcweb.celery import app
from worker import engine


def main() -> None:
    engine.CHILD_MODULE = "bench.sleeping_engine"
    app.worker_main(
        [
            *("--quiet", "worker", "--pool", "solo", "--queues", "inference,maintenance"),
            *("--without-gossip", "--without-mingle", "--loglevel", "INFO"),
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
