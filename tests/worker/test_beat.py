"""Beat goes on when its wall clock was ahead and is set right, and ends when it is told to."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from celery.beat import Service
from django.db import connection
from django_celery_beat import models
from django_celery_beat.models import PeriodicTask

from bcweb.beat import SteadyEntry, SteadyScheduler
from bcweb.celery import app
from tests.live import wait_for

# The scheduler closes connections as it sees fit.
pytestmark = pytest.mark.django_db(transaction=True)

HOURS = timedelta(hours=3)


class Clock:
    """What this process believes the time to be, told by hand."""

    def __init__(self) -> None:
        self.wall = datetime.now(UTC)
        self.steady = 1000.0

    def pass_by(self, seconds: float) -> None:
        self.wall += timedelta(seconds=seconds)
        self.steady += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(SteadyEntry, "_default_now", lambda self: clock.wall)
    monkeypatch.setattr(models, "now", lambda: clock.wall)
    monkeypatch.setattr(SteadyScheduler, "wall_clock", lambda self: clock.wall.timestamp())
    monkeypatch.setattr("bcweb.beat.time.monotonic", lambda: clock.steady)
    return clock


class Noted(SteadyScheduler):
    """Notes what is asked for, and asks nobody."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        super().__init__(app=app)

    def apply_entry(self, entry: Any, producer: Any = None) -> None:
        self.asked.append(entry.name)

    def go_on(self, clock: Clock, seconds: int) -> list[str]:
        """What it asks for within so many seconds."""
        self.asked = []
        for _ in range(seconds):
            while self.tick() == 0:
                pass
            clock.pass_by(1)
        self.sync()
        return self.asked


def every(seconds: int) -> set[str]:
    """The names of what is done that often or oftener."""
    return {name for name, entry in app.conf.beat_schedule.items() if entry["schedule"] <= seconds}


def test_what_is_due_is_asked_for_and_nothing_else(clock: Clock) -> None:
    beat = Noted()
    beat.go_on(clock, 61)
    asked = beat.go_on(clock, 60)
    assert set(asked) == every(60)
    assert asked.count("seal-audit") == 1


@pytest.mark.parametrize("step", [HOURS, -HOURS])
def test_beat_goes_on_after_its_clock_was_wrong_for_a_while(clock: Clock, step: timedelta) -> None:
    beat = Noted()
    beat.go_on(clock, 61)
    clock.wall += step
    beat.go_on(clock, 10)
    clock.wall -= step
    asked = beat.go_on(clock, 120)
    assert set(asked) >= every(60)
    # As often as ever: nothing is made up for.
    assert 1 <= asked.count("seal-audit") <= 3


def test_a_beat_that_starts_later_does_not_wait_for_a_time_that_was_noted_ahead(
    clock: Clock,
) -> None:
    before = Noted()
    before.go_on(clock, 61)
    clock.wall += HOURS
    before.go_on(clock, 61)
    assert PeriodicTask.objects.get(name="seal-audit").last_run_at > clock.wall - timedelta(hours=1)
    clock.wall -= HOURS
    asked = Noted().go_on(clock, 120)
    assert set(asked) >= every(60)


def test_a_small_correction_puts_nothing_off_and_plans_nothing_anew(clock: Clock) -> None:
    beat = Noted()
    beat.go_on(clock, 61)
    planned = beat._heap
    clock.wall -= timedelta(milliseconds=300)
    asked = beat.go_on(clock, 62)
    assert beat._heap is planned
    assert asked.count("seal-audit") == 1


class Busy(Noted):
    """In the middle of a long query, with times that are not saved yet."""

    def __init__(self, **_: Any) -> None:
        super().__init__()
        self.asks = threading.Event()

    def tick(self, *args: Any, **kwargs: Any) -> float:
        self.reserve(self.schedule["seal-audit"])
        with connection.cursor() as cursor:
            self.asks.set()
            cursor.execute("SELECT pg_sleep(600)")
        raise AssertionError("the query came to its end")


@pytest.fixture
def handlers() -> Iterator[None]:
    """The handlers of this process, put back afterwards."""
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


def strike(busy: Busy, number: signal.Signals) -> None:
    """Once a query is under way."""
    busy.asks.wait()
    wait_for("the query", asked_of_server, seconds=60)
    connection.close()
    os.kill(os.getpid(), number)


def asked_of_server() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(600)' "
            "AND state = 'active' AND datname = current_database()"
        )
        found = bool(cursor.fetchone()[0])
    return found


@pytest.mark.usefixtures("handlers")
@pytest.mark.timeout(120)  # it would wait for itself
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_beat_that_is_told_to_end_in_the_middle_of_a_query_saves_and_ends(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Its pulse would outlive the test.
    monkeypatch.setattr("worker.process._start_pulse", lambda *told, **more: None)
    service = Service(app=app, scheduler_cls=Busy)
    app.Beat(quiet=True).install_sync_handler(service)
    busy = service.scheduler
    assert isinstance(busy, Busy)
    striker = threading.Thread(target=strike, args=(busy, number))
    striker.start()
    began = datetime.now(UTC)
    service.start()
    striker.join()
    assert PeriodicTask.objects.get(name="seal-audit").last_run_at >= began
