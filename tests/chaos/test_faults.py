"""What the driver demands of a service that is told to stop or was frozen, and how it slows one."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench.chaos import engine, faults
from bench.chaos.client import Books
from bench.chaos.faults import Missed, Striker, Unanswered
from bench.chaos.rig import Rig, RigError


class Service:
    """As much of a rig as these faults ask."""

    pace = 1.0
    restarts = started = 0

    @staticmethod
    def limit(seconds: float) -> float:
        return seconds

    def __init__(self, worker: int = 0, **more: Any) -> None:
        self.worker = worker
        self.code, self.said = 0, ""
        self.held: list[list[str]] = []
        self.late: list[int] = []
        self.__dict__.update(more)

    @contextmanager
    def slowed_down(self) -> Iterator[None]:
        yield

    def slow_worker(self) -> int:
        return self.worker

    def wait(self, probe: Any, *, seconds: float, what: str) -> Any:
        for _ in range(5):
            found = probe()
            if found:
                return found
        raise RigError(f"{what}: not within {seconds:g} s")

    def end_supervisor(self, number: int) -> int:
        assert number == signal.SIGTERM
        return self.code

    def says(self, words: str) -> bool:
        return words in self.said

    def start(self) -> None:
        self.started += 1

    @contextmanager
    def held_still(self, pids: list[int]) -> Iterator[None]:
        yield

    def held_by(self, worker: int) -> list[str]:
        return self.held.pop(0) if len(self.held) > 1 else self.held[0]

    def logged(self, words: str) -> int:
        assert words == "job_fenced_out"
        return self.late.pop(0) if len(self.late) > 1 else self.late[0]


def strike(kind: str, rig: Any) -> str:
    return Striker(rig, Books()).strike(kind, random.randrange(10))


def test_a_deploy_that_ends_in_order_is_told() -> None:
    rig = Service(worker=7)
    assert "exit code 0" in strike("deploy", rig)
    assert (rig.started, rig.restarts) == (1, 1)


@pytest.mark.parametrize(
    ("more", "slow", "told"),
    [
        ({"code": -9}, False, "exit code -9"),
        ({"said": "bcweb: the web server did not stop in time: killed"}, False, "killed"),
        ({}, True, "within 0 s"),
    ],
)
def test_a_deploy_that_is_slow_or_needs_force_breaks_the_run(
    more: dict[str, Any], slow: bool, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if slow:
        monkeypatch.setattr(faults, "SERVICE_STOP_S", 0.0)
    rig = Service(worker=7, **more)
    with pytest.raises(Unanswered, match=told):
        strike("deploy", rig)
    # What is left of the night goes on all the same.
    assert rig.started == 1


@pytest.mark.parametrize("bound", [60.0, 0.0])
def test_a_worker_told_to_stop_has_a_bound(bound: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "WORKER_STOP_S", bound)
    worker = subprocess.Popen(["sleep", "60"])

    def wait(probe: Any, *, seconds: float, what: str) -> Any:
        if what == "a worker to stop":
            worker.wait(60)
        found = probe()
        assert found
        return found

    rig = Service(worker=worker.pid, wait=wait)
    if bound:
        assert "gone after" in strike("worker told to stop", rig)
    else:
        with pytest.raises(Unanswered, match="not within 0 s"):
            strike("worker told to stop", rig)
    assert worker.wait() == -signal.SIGTERM


def test_a_frozen_worker_strikes_where_its_answers_came_too_late() -> None:
    rig = Service(worker=7, held=[["a", "b"], ["a"], []], late=[3, 3, 5, 5])
    assert strike("worker frozen past its lease", rig) == (
        "worker 7, 2 jobs taken over, 2 late results fenced out"
    )


def test_a_worker_whose_answers_did_not_come_is_frozen_once_more() -> None:
    # Asked before, five times while it is waited, and after; then the same again.
    rig = Service(worker=7, held=[["a"], []], late=[3] * 8 + [4])
    assert "1 late results fenced out" in strike("worker frozen past its lease", rig)


@pytest.mark.parametrize(
    ("held", "why"), [([["a"]], "leases to be taken back"), ([["a"], []], "no late result")]
)
def test_a_frozen_worker_without_late_answers_proves_nothing(
    held: list[list[str]], why: str
) -> None:
    with pytest.raises(Missed, match=why):
        strike("worker frozen past its lease", Service(worker=7, held=held, late=[3]))


def test_a_batch_dawdles_while_it_is_wanted_and_says_whose_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = Rig(tmp_path, pace=1)
    slept: list[float] = []
    monkeypatch.setattr(engine, "time", SimpleNamespace(sleep=slept.append))
    with rig.slowed_down():
        assert rig.slow_worker() is None
        engine.dawdle(rig.flags, 4711)
        assert rig.slow_worker() == 4711
    engine.dawdle(rig.flags, 4712)
    assert slept == [engine.SLOW_S]
    with rig.slowed_down():
        assert rig.slow_worker() is None


def test_slow_batches_outlast_the_end_of_a_worker_and_not_its_patience(tmp_path: Path) -> None:
    for pace in (1, 1.5, 4):
        given = Rig(tmp_path / str(pace), pace=pace).environment
        stop, slow, batch = (
            int(given[name])
            for name in ("BCWEB_STOP_SECONDS", "BCWEB_CHAOS_SLOW_S", "BCWEB_BATCH_SECONDS")
        )
        # A lease from the last heartbeat, a sweep, and some time for both.
        assert stop < slow < batch > int(given["BCWEB_LEASE_SECONDS"]) + 2 * pace


def test_patience_stretches_what_a_night_is_judged_by_and_nothing_of_the_service(
    tmp_path: Path,
) -> None:
    plain = Rig(tmp_path / "plain", pace=1.5)
    patient = Rig(tmp_path / "patient", pace=1.5, patience=4)
    assert (plain.limit(2), patient.limit(2)) == (3, 12)
    seconds = {name for name in plain.environment if name.endswith(("_SECONDS", "_S", "_PACE"))}
    assert seconds
    for name in seconds:
        assert patient.environment[name] == plain.environment[name], name


def test_a_supervisor_that_does_not_end_is_killed(tmp_path: Path) -> None:
    rig = Rig(tmp_path, pace=0.01)
    deaf = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        "print(flush=True); time.sleep(60)"
    )
    rig._process = subprocess.Popen([sys.executable, "-c", deaf], stdout=subprocess.PIPE)
    assert rig._process.stdout is not None
    rig._process.stdout.readline()
    assert rig.end_supervisor(signal.SIGTERM) == -signal.SIGKILL
    rig._process.stdout.close()
    assert not os.path.exists(f"/proc/{rig._process.pid}")  # noqa: PTH110
