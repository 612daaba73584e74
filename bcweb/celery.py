"""The Celery application: `celery -A bcweb worker …` and `celery -A bcweb beat`."""

from __future__ import annotations

import os
from functools import cached_property
from typing import Any

from celery import Celery
from celery.signals import celeryd_init, setup_logging

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bcweb.settings")


class App(Celery):
    """Celery with a beat of our own."""

    @cached_property
    def Beat(self) -> Any:  # noqa: N802 - Celery's name
        return self.subclass_with_self("bcweb.beat_program:Beat")  # type: ignore[arg-type]


app = App("bcweb")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["worker"])


@setup_logging.connect
def use_django_logging(**_: Any) -> None:
    """Keep Celery from laying its own handlers over the JSON logs."""
    import logging.config

    from django.conf import settings

    logging.config.dictConfig(settings.LOGGING)


@celeryd_init.connect
def speak_json_when_stopping(**_: Any) -> None:
    """Celery's signal handlers write plain text past all logging."""
    import celery.apps.worker

    from bcweb.logging import say_in_signal_handler

    celery.apps.worker.safe_say = say_in_signal_handler  # type: ignore[attr-defined]
