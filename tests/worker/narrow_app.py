"""The Celery application of a worker whose trainings are of narrow networks.

celery -A tests.worker.narrow_app worker …
"""

from __future__ import annotations

from typing import Any

from celery.signals import worker_init

from bcweb.celery import app

__all__ = ["app"]


@worker_init.connect
def train_narrow(**_: Any) -> None:
    from worker import training

    training.CHILD_MODULE = "tests.worker.narrow_training"
