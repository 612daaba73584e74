"""The waits between the restarts of a crashing process."""

from __future__ import annotations

from bcweb.embedded.backoff import Backoff


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_waits_double_up_to_the_longest() -> None:
    backoff = Backoff(first=1, longest=5, healthy=30, clock=Clock())
    assert [backoff.ended() for _ in range(5)] == [1, 2, 4, 5, 5]


def test_nothing_is_due_before_its_wait_is_over() -> None:
    clock = Clock()
    backoff = Backoff(first=1, clock=clock)
    assert backoff.is_due()
    backoff.ended()
    assert not backoff.is_due()
    clock.now += 1
    assert backoff.is_due()


def test_process_that_was_up_for_long_starts_over() -> None:
    clock = Clock()
    backoff = Backoff(first=1, longest=60, healthy=30, clock=clock)
    backoff.started()
    assert backoff.ended() == 1
    backoff.started()
    clock.now += 29
    assert backoff.ended() == 2
    backoff.started()
    clock.now += 30
    assert backoff.ended() == 1
