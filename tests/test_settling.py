"""What the web server has loaded when it begins is no concern of the garbage collector."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from bcweb import gunicorn


@pytest.fixture(autouse=True)
def nothing_frozen() -> Iterator[None]:
    gc.unfreeze()
    yield
    gc.unfreeze()


def server(*, preload: bool) -> SimpleNamespace:
    return SimpleNamespace(cfg=SimpleNamespace(preload_app=preload))


def test_all_that_is_loaded_before_the_fork_is_left_out_of_later_rounds() -> None:
    gunicorn.when_ready(server(preload=True))
    assert gc.get_freeze_count() > 100_000
    # What comes afterwards is not.
    left = gc.get_count()[0] + sum(len(gc.get_objects(generation=n)) for n in range(3))
    assert left < gc.get_freeze_count() / 10


def test_without_an_application_that_is_loaded_nothing_is_kept() -> None:
    gunicorn.when_ready(server(preload=False))
    assert gc.get_freeze_count() == 0
