"""Loaded before Django's settings: real Postgres and Valkey for the whole test run.

Where `DATABASE_URL` and `REDIS_URL` are set, the tests use those services instead. Of test
processes side by side (pytest-xdist) each starts its own services; given ones they share, each with
a Postgres database of its own (named by pytest-django) and a numbered Redis database of its own.
"""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

_stack = ExitStack()
# Set where the URLs in the environment are those of services that these tests started.
_STARTED = "BCWEB_TESTS_STARTED_SERVICES"


def _start() -> None:
    folder = Path(tempfile.mkdtemp(prefix="bcweb-test-"))
    _stack.callback(shutil.rmtree, folder, ignore_errors=True)
    os.environ["BCWEB_STATE"] = str(folder / "state")
    # Where static files would be collected; WhiteNoise looks for it.
    (folder / "state" / "static").mkdir(parents=True)
    os.environ.setdefault("SECRET_KEY", secrets.token_urlsafe(48))
    os.environ["BCWEB_DEMO"] = "0"
    process = os.environ.get("PYTEST_XDIST_WORKER", "")
    given = os.environ.get("DATABASE_URL") and os.environ.get("REDIS_URL")
    if not given or os.environ.get(_STARTED):
        from bcweb.embedded.services import ephemeral

        urls = _stack.enter_context(ephemeral(folder / "services"))
        os.environ["DATABASE_URL"], os.environ["REDIS_URL"] = urls
        os.environ[_STARTED] = "1"
    elif process:
        # Number 0 stays with whoever started the processes.
        number = int(process.removeprefix("gw")) + 1
        os.environ["REDIS_URL"] = (
            urlsplit(os.environ["REDIS_URL"])._replace(path=f"/{number}").geturl()
        )
    if process:
        # As many threads as there are processes would only wait for one another.
        os.environ.setdefault("OMP_NUM_THREADS", "1")


_start()


# Folders whose tests share the live service, and those that take long: begun first, they do not
# trail at the end.
_LIVE = ("tests/flows/", "tests/browser/", "tests/test_bench_latency.py")
_LONG = ("tests/worker/", "tests/test_bench.py", *_LIVE)


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Iterator[None]:
    yield
    if os.environ.get("PYTEST_XDIST_WORKER"):
        # After pytest-django has put them in its order.
        items.sort(key=lambda item: not item.nodeid.startswith(_LONG))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """The tests of one file stay in one process, and so do all that share the live service."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return "live" if nodeid.startswith(_LIVE) else nodeid.partition("::")[0]

    return ByFile(config, log)


def pytest_unconfigure(config: pytest.Config) -> None:
    _stack.close()
