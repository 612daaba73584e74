"""What the driver checks beside the database, and what it tells at the end."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import psycopg
import pytest

from bench.chaos import night, report
from bench.chaos.client import Books, Client, refusals
from bench.chaos.faults import FAULTS, Striker, Unanswered
from bench.chaos.invariants import Check, Night, clients_were_served
from bench.chaos.night import (
    Gate,
    Story,
    Strike,
    faults_struck,
    files_are_gone,
    looked_at,
    settle,
    spend,
    verified,
)
from bench.chaos.plan import Fault, make_plan
from bench.chaos.rig import NoStartError, RigError


def strike(kind: str, outcome: str, told: str = "") -> Strike:
    return Strike(Fault(kind, 0, 0), outcome, told, 0.1)


def rig(**more: Any) -> Any:
    """As much of a rig as a check asks; what does not come is not waited for."""

    def wait(probe: Callable[[], Any], *, seconds: float, what: str) -> Any:
        found = probe()
        if not found:
            raise RigError(f"{what}: not within {seconds:g} s")
        return found

    return SimpleNamespace(wait=wait, limit=lambda seconds: seconds, **more)


def test_a_fault_that_never_struck_breaks_the_run() -> None:
    strikes = [
        strike("worker killed", "missed", "no worker"),
        strike("worker killed", "struck"),
        strike("beat killed", "missed", "no beat"),
        strike("beat killed", "missed", "no beat either"),
    ]
    assert faults_struck(strikes).broken == ["beat killed never struck: no beat either"]


def test_a_fault_that_the_service_did_not_answer_breaks_the_run() -> None:
    strikes = [
        strike("worker told to stop", "struck"),
        strike("worker told to stop", "unanswered", "a worker to stop: not within 120 s"),
    ]
    assert faults_struck(strikes).broken == [
        "worker told to stop: a worker to stop: not within 120 s"
    ]


def test_what_the_machine_does_not_allow_is_told_and_breaks_nothing() -> None:
    strikes = [strike("clock of beat stepped", "impossible", "no C compiler")]
    assert faults_struck(strikes).broken == []
    story = Story(make_plan(1, 5, []), Books(), strikes)
    assert any("no C compiler" in line for line in report.lines(story))


@pytest.mark.parametrize(
    ("left", "ready", "broken"),
    [([], True, ""), ([("a job",)], True, "every job to end"), ([], False, "/readyz")],
)
def test_what_does_not_come_to_rest_is_seen(left: list[Any], ready: bool, broken: str) -> None:
    found = settle(rig(sql=lambda _: left, is_ready=lambda: ready)).broken
    assert [broken in what for what in found] == ([True] if broken else [])


def test_files_that_no_start_clears_away_are_seen(tmp_path: Path) -> None:
    (tmp_path / "bcweb-upload-1").touch()
    cleared = rig(uploads=tmp_path, web_master=lambda: None, is_ready=lambda: True)
    assert files_are_gone(cleared).broken == ["bcweb-upload-1"]
    (tmp_path / "bcweb-upload-1").unlink()
    assert files_are_gone(cleared).broken == []


def test_a_verifying_command_that_finds_damage_breaks_the_run() -> None:
    def answers(name: str) -> subprocess.CompletedProcess[str]:
        bad = name == "verify_audit"
        return subprocess.CompletedProcess([name], int(bad), "event 7\n" if bad else "whole\n", "")

    found = {check.name: check.broken for check in verified(rig(manage=answers))}
    assert found == {
        "manage.py verify_audit finds all whole": ["event 7"],
        "manage.py verify_storage finds all whole": [],
    }


@pytest.mark.parametrize("broken", [[], ["job 1 is PENDING", "job 2 is PENDING"]])
def test_the_last_line_and_the_object_say_the_same(broken: list[str]) -> None:
    plan = make_plan(3, 5, [])
    story = Story(
        plan, Books(), checks=[Check("every job is final", 5, broken)], jobs={"PENDING": 2}
    )
    told = report.as_json(story, {"pace": 1.0})
    last = report.lines(story)[-1]
    assert told["verdict"] == last
    assert told["ok"] is (not broken)
    assert last.startswith("chaos: 1 invariants broken, 2 times" if broken else "chaos: ok (seed 3")


def test_a_client_knows_what_must_be_refused_and_minds_what_is_not() -> None:
    plan = make_plan(1, 120, [])
    books = Books()
    client = Client("http://nowhere", "token", books, patience_s=1)
    for sending in plan.sendings:
        sent = books.open(sending)
        codes = refusals(sending)
        # The other way round than it must be.
        sent.submission, sent.refused = ("id", "") if codes else ("", "image_corrupt")
        client._compare(sent)
    assert len(books.oddities) == len(plan.sendings)


@pytest.mark.parametrize(
    "error", [subprocess.TimeoutExpired("supervisor", 60), psycopg.OperationalError("away")]
)
def test_a_wait_in_vain_is_an_answer_that_did_not_come(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fault(*_: Any) -> str:
        raise error

    monkeypatch.setitem(FAULTS, "beat killed", fault)
    with pytest.raises(Unanswered, match=type(error).__name__):
        Striker(rig(pace=1), Books()).strike("beat killed", 1)


def test_what_cannot_be_looked_at_is_broken() -> None:
    def look() -> list[Check]:
        raise psycopg.OperationalError("the database is away")

    (check,) = looked_at("all_final", look)
    assert check.broken == ["OperationalError: the database is away"]
    assert looked_at("all_final", lambda: [Check("whole", 1)]) == [Check("whole", 1)]


def test_a_web_server_that_does_not_end_breaks_a_check_and_not_the_run(tmp_path: Path) -> None:
    (tmp_path / "bcweb-upload-1").touch()
    # It minds no SIGTERM: one that does may be gone before it is looked at.
    child = subprocess.Popen(
        ["sh", "-c", "trap '' TERM; echo up; exec sleep 60"], stdout=subprocess.PIPE
    )
    try:
        assert child.stdout and child.stdout.readline() == b"up\n"
        stuck = rig(uploads=tmp_path, web_master=lambda: child.pid, is_ready=lambda: True)
        broken = files_are_gone(stuck).broken
    finally:
        child.kill()
        child.wait()
    assert [what.partition(":")[0] for what in broken] == [
        "the web server's end",
        "bcweb-upload-1",
    ]


class Sender:
    """In a client's place: does not send what it is told to break at."""

    at: int | None = None
    error: Exception = KeyError("id")

    def __init__(self, url: str, token: str, books: Books, *, patience_s: float) -> None:
        self.books = books

    def send(self, sending: Any) -> None:
        sent = self.books.open(sending)
        if sending.number == self.at:
            raise self.error
        sent.submission = "id"


@pytest.fixture
def looked_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """A night without a service: what is looked at afterwards are the clients' books."""
    monkeypatch.setattr(night, "Client", Sender)

    def look_back(_: Any, story: Story, __: Striker) -> None:
        story.checks = [clients_were_served(Night(lambda *_: [], story.books))]

    monkeypatch.setattr(night, "_look_back", look_back)


SERVICE = {"token": lambda: "token", "url": "http://nowhere", "pace": 1.0}


@pytest.mark.usefixtures("looked_back")
@pytest.mark.parametrize("at", [None, 0, 7])
def test_a_client_that_breaks_is_told_and_the_others_go_on(
    at: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Sender, "at", at)
    plan = make_plan(1, 60, [])
    story = spend(rig(**SERVICE), plan, print)
    assert set(story.books.sent) == {sending.number for sending in plan.sendings}
    if at is None:
        assert story.broken == []
    else:
        assert len(story.broken) == 2
        assert any(f"submission {at} " in what and "KeyError" in what for what in story.broken)
        assert any("got no answer" in what for what in story.broken)


@pytest.mark.usefixtures("looked_back")
def test_clients_that_are_stuck_end_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    monkeypatch.setattr(Sender, "send", lambda *_: release.wait())
    monkeypatch.setattr(night, "PATIENCE_S", 0.1)
    try:
        story = spend(rig(**SERVICE), make_plan(1, 600, ["beat killed"]), print)
    finally:
        release.set()
    assert any("the clients are stuck" in what for what in story.broken)
    assert any("client-0 did not come to an end" in what for what in story.broken)
    assert any("was never sent" in what for what in story.broken)


@pytest.mark.usefixtures("looked_back")
def test_a_service_that_does_not_come_up_again_has_its_verdict(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fault(*_: Any) -> str:
        raise NoStartError("the service does not start")

    monkeypatch.setitem(FAULTS, "deploy", fault)
    story = spend(rig(**SERVICE), make_plan(1, 20, ["deploy"]), print)
    assert story.broken == ["the service comes up again: the service does not start"]
    assert report.lines(story)[-1].startswith("chaos: 1 invariants broken")


def test_a_turn_that_does_not_come_is_not_awaited_for_ever() -> None:
    plan = make_plan(5, 30, ["beat killed"])
    gate = Gate(plan)
    assert not gate.await_turn(plan.faults[0], seconds=0.01)
    for _ in range(plan.faults[0].at + 1):
        gate.take()
    assert gate.await_turn(plan.faults[0], seconds=0.01)


def test_a_twin_that_breaks_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    books = Books()
    client = Client("http://nowhere", "token", books, patience_s=1)
    answer = httpx.Response(202, json={"no": "id"})
    monkeypatch.setattr(client, "_persist", lambda *_, **__: answer)
    sending = next(s for s in make_plan(1, 120, []).sendings if s.kind == "race")
    client.send(sending)
    assert sum("broke its client: KeyError" in told for told in books.oddities) == 2
