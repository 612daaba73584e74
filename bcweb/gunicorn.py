"""Settings and hooks of the web server (`gunicorn -c python:bcweb.gunicorn …`)."""

from __future__ import annotations

import os
import threading
from typing import Any

import structlog

from bcweb.logging import logging_config
from cases.intake import remove_stale_files
from cases.intake.sandbox import warm

log = structlog.get_logger(__name__)

# The same as Django's (bcweb.settings names what is wrong with a value), from the first line on.
logconfig_dict = logging_config(
    level=os.environ.get("LOG_LEVEL", "INFO"), form=os.environ.get("LOG_FORMAT", "json")
)

# Who polls each second or two keeps the connection; a thread is only taken while one is answered.
keepalive = 15


def on_starting(server: Any) -> None:
    """Remove what an earlier server that was killed left in the temporary folder."""
    removed = remove_stale_files()
    if removed:
        log.info("stale_uploads_removed", files=removed)


def post_worker_init(worker: Any) -> None:
    """Start a decoder beside the first requests, so that the first upload need not wait for it."""
    threading.Thread(target=warm, name="warm-decoder", daemon=True).start()
