"""Settings and hooks of the web server (`gunicorn -c python:bcweb.gunicorn …`)."""

from __future__ import annotations

import os
import threading
from typing import Any

import structlog

from bcweb import metrics_folder
from bcweb.logging import logging_config
from bcweb.settling import settle
from cases.intake import remove_stale_files
from cases.intake.sandbox import warm

log = structlog.get_logger(__name__)

# The same as Django's (bcweb.settings names what is wrong with a value), from the first line on.
logconfig_dict = logging_config(
    level=os.environ.get("LOG_LEVEL", "INFO"), form=os.environ.get("LOG_FORMAT", "json")
)
# Set before the application is loaded, which is when prometheus_client looks for it.
_counts = metrics_folder.of_server(os.getpid())
raw_env = [f"PROMETHEUS_MULTIPROC_DIR={_counts}"]

# Who polls each second or two keeps the connection; a thread is only taken while one is answered.
keepalive = 15


def on_starting(server: Any) -> None:
    """Make the folder of this server's counts, and remove what an earlier server that was killed
    left in temporary folders."""
    metrics_folder.make(_counts)
    removed = remove_stale_files()
    if removed:
        log.info("stale_uploads_removed", files=removed)


def when_ready(server: Any) -> None:
    """Before the processes that answer are forked: they inherit it, and share the memory."""
    if server.cfg.preload_app:
        settle()


def post_worker_init(worker: Any) -> None:
    """Start a decoder beside the first requests, so that the first upload need not wait for it."""
    threading.Thread(target=warm, name="warm-decoder", daemon=True).start()


def on_exit(server: Any) -> None:
    """Remove the counts: Prometheus takes a counter that begins anew for what it is."""
    metrics_folder.remove(_counts)
