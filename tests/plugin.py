"""Loaded before Django's settings: real Postgres and Valkey for the whole test run.

Where `DATABASE_URL` and `REDIS_URL` are set, the tests use those services instead.
"""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest

_stack = ExitStack()


def _start() -> None:
    folder = Path(tempfile.mkdtemp(prefix="bcweb-test-"))
    _stack.callback(shutil.rmtree, folder, ignore_errors=True)
    os.environ["BCWEB_STATE"] = str(folder / "state")
    # Where static files would be collected; WhiteNoise looks for it.
    (folder / "state" / "static").mkdir(parents=True)
    os.environ.setdefault("SECRET_KEY", secrets.token_urlsafe(48))
    os.environ["BCWEB_DEMO"] = "0"
    if not (os.environ.get("DATABASE_URL") and os.environ.get("REDIS_URL")):
        from bcweb.embedded.services import ephemeral

        urls = _stack.enter_context(ephemeral(folder / "services"))
        os.environ["DATABASE_URL"], os.environ["REDIS_URL"] = urls


_start()


def pytest_unconfigure(config: pytest.Config) -> None:
    _stack.close()
