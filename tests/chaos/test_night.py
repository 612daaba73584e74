"""What the driver checks beside the database, and what it tells at the end."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench.chaos import night, report
from bench.chaos.client import Books, Client, refusals
from bench.chaos.invariants import Check
from bench.chaos.night import Story, Strike, faults_struck, files_are_gone, settle, verified
from bench.chaos.plan import Fault, make_plan
from bench.chaos.rig import RigError


def strike(kind: str, outcome: str, told: str = "") -> Strike:
    return Strike(Fault(kind, 0, 0), outcome, told, 0.1)


def rig(**more: Any) -> Any:
    """As much of a rig as a check asks; what does not come is not waited for."""

    def wait(probe: Callable[[], Any], *, seconds: float, what: str) -> Any:
        found = probe()
        if not found:
            raise RigError(f"{what}: not within {seconds:g} s")
        return found

    return SimpleNamespace(wait=wait, **more)


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


def test_a_verifying_command_that_finds_damage_breaks_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = tmp_path / "cases" / "management" / "commands" / "verify_audit.py"
    command.parent.mkdir(parents=True)
    command.touch()
    monkeypatch.setattr(night, "ROOT", tmp_path)

    def answers(code: int, said: str) -> Any:
        return rig(manage=lambda name: subprocess.CompletedProcess([name], code, said, ""))

    assert [check.broken for check in verified(answers(0, "whole"))] == [[]]
    assert [check.broken for check in verified(answers(1, "event 7\n"))] == [["event 7"]]


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
