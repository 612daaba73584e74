"""JSON logs with the request id, one line per event, free of patient data.

What may be logged: ids, states, codes, counts, durations. Never names, dates of birth, patient
ids, accession numbers or file names (people put names into file names).
"""

from __future__ import annotations

import json
import logging
import os
import sys
import traceback
from collections.abc import MutableMapping
from datetime import UTC, datetime
from typing import Any

import structlog


def bare_traceback(
    logger: object, name: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Render exceptions as classes and places, without their messages.

    A database error quotes the values of the row it refused: a message may hold a patient's name.
    """
    info = event.pop("exc_info", None)
    if info is True:
        info = sys.exc_info()
    error = info if isinstance(info, BaseException) else (info[1] if info else None)
    if error is not None:
        event["exception"] = _chain(error)
    return event


def _chain(error: BaseException) -> str:
    parts: list[str] = []
    link: BaseException | None = error
    while link is not None and len(parts) < 5:
        places = "".join(traceback.format_tb(link.__traceback__))
        parts.append(f"{places}{type(link).__module__}.{type(link).__qualname__}")
        link = link.__cause__ or link.__context__
    return "\n-- raised from:\n".join(parts)


class FixedText(logging.Filter):
    """For loggers that put the text of an exception into their message."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = self.text, ()
        return True


class RequestLeftOut(logging.Filter):
    """For gunicorn's lines: they quote request lines (with the query) and texts of exceptions."""

    _QUOTING = ("Error handling request", "Invalid request")

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.msg, BaseException):
            record.msg, record.args = type(record.msg).__qualname__, ()
        for opening in self._QUOTING:
            if str(record.msg).startswith(opening):
                record.msg, record.args = opening, ()
        return True


def say_in_signal_handler(text: str, *_: Any) -> None:
    """Write one JSON line to standard output without any lock: for Celery's signal handlers."""
    line = {
        "event": text,
        "logger": "celery",
        "level": "info",
        "timestamp": datetime.now(UTC).isoformat(),
    }
    os.write(1, f"{json.dumps(line)}\n".encode())


_SHARED: list[Any] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]


def logging_config(*, level: str, form: str) -> dict[str, Any]:
    """A ``logging.config`` dictionary; ``form`` is ``json`` or ``console``."""
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if form == "json"
        else structlog.dev.ConsoleRenderer(colors=False)
    )
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "line": {
                "()": structlog.stdlib.ProcessorFormatter,
                "foreign_pre_chain": _SHARED,
                "processors": [
                    structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                    bare_traceback,
                    renderer,
                ],
            }
        },
        "filters": {
            "task_failed": {"()": FixedText, "text": "a task failed"},
            "request_left_out": {"()": RequestLeftOut},
        },
        "handlers": {"stdout": {"class": "logging.StreamHandler", "formatter": "line"}},
        "root": {"handlers": ["stdout"], "level": level},
        "loggers": {
            # Its lines repeat what django_structlog says, with the query string.
            "django.server": {"level": "WARNING"},
            "django.request": {"level": "ERROR"},
            "celery.worker.strategy": {"level": "WARNING"},
            "celery.app.trace": {"level": "WARNING", "filters": ["task_failed"]},
            "celery.beat": {"level": "WARNING"},
            # At DEBUG it tells addresses and headers of webhooks, which may be secrets.
            "httpcore": {"level": "WARNING"},
            # No handlers of gunicorn's own, and no access log: django_structlog tells of requests.
            "gunicorn.error": {
                "level": "INFO" if level == "DEBUG" else level,
                "handlers": [],
                "propagate": True,
                "filters": ["request_left_out"],
            },
            "gunicorn.access": {"level": "CRITICAL", "handlers": [], "propagate": True},
        },
    }


def configure_structlog() -> None:
    """Configure structlog, and let Python's warnings become log lines like any other."""
    logging.captureWarnings(True)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.filter_by_level,
            structlog.stdlib.add_logger_name,
            structlog.stdlib.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
