"""The same seed is the same night; every kind of fault and of trouble is in it."""

from __future__ import annotations

import math
import shlex

import pytest

from bench.chaos.__main__ import arguments, replay
from bench.chaos.client import content, refusals
from bench.chaos.faults import FAULTS
from bench.chaos.night import AHEAD, Gate
from bench.chaos.plan import REFUSED, make_plan
from bench.chaos.poison import ENGINE_POISON, poison_of

SEEDS = range(12)


def test_the_same_seed_gives_the_same_schedule_and_the_same_bytes() -> None:
    first, second = (make_plan(11, 80, list(FAULTS)) for _ in range(2))
    assert first == second
    files = [file for sending in first.sendings for file in sending.files]
    assert [content(file) for file in files[:20]] == [content(file) for file in files[:20]]
    assert make_plan(12, 80, list(FAULTS)) != first


@pytest.mark.parametrize("seed", SEEDS)
def test_every_kind_of_fault_poison_and_refusal_is_in_a_night(seed: int) -> None:
    plan = make_plan(seed, 80, list(FAULTS))
    assert {fault.kind for fault in plan.faults} == set(FAULTS)
    wrongs = {file.wrong for sending in plan.sendings for file in sending.files}
    assert wrongs >= {*ENGINE_POISON, *REFUSED}
    assert 80 <= plan.jobs < 90


@pytest.mark.parametrize("seed", SEEDS)
def test_a_longer_night_has_more_of_each(seed: int) -> None:
    plan = make_plan(seed, 600, list(FAULTS))
    kinds = [fault.kind for fault in plan.faults]
    assert all(kinds.count(kind) == 4 for kind in FAULTS)
    assert [fault.at for fault in plan.faults] == sorted(fault.at for fault in plan.faults)
    assert plan.faults[-1].at < 0.9 * len(plan.sendings)


@pytest.mark.parametrize("seed", SEEDS)
def test_pictures_are_different_but_for_those_that_are_stolen(seed: int) -> None:
    plan = make_plan(seed, 80, list(FAULTS))
    own = [f.name for s in plan.sendings if s.kind != "stolen" for f in s.files]
    assert len(own) == len(set(own))
    for sending in plan.sendings:
        if sending.kind == "stolen":
            assert sending.of is not None
            other = plan.sendings[sending.of]
            assert set(sending.files) <= set(other.files)
            assert other.patient != sending.patient
        if sending.kind == "join":
            assert sending.of is not None
            assert plan.sendings[sending.of].patient == sending.patient
        assert bool(refusals(sending)) == (sending.kind in ("refused", "stolen"))


def test_a_poison_has_batch_mates_and_its_mark() -> None:
    plan = make_plan(3, 200, [])
    poisoned = [sending for sending in plan.sendings if sending.kind == "poison"]
    for sending in poisoned:
        marks = [poison_of(content(file)) for file in sending.files]
        assert len([mark for mark in marks if mark]) == 1
        assert len(marks) > 1


def test_submissions_do_not_run_away_from_a_fault_that_is_not_over() -> None:
    plan = make_plan(5, 200, ["worker killed"])
    fault = plan.faults[0]
    gate = Gate(plan, trickle_s=math.inf)
    for number in range(fault.at + AHEAD):
        sending = gate.take()
        assert sending is not None and sending.number == number
    # Its time has come, and nobody may go on before it is over.
    assert gate.await_turn(fault, seconds=0)
    assert not gate._may_go_on()
    gate.over(fault)
    assert gate._may_go_on()
    gate.give_up()
    assert gate.take() is None


def test_submissions_never_cease_while_a_fault_looks_for_something_to_strike() -> None:
    plan = make_plan(5, 30, ["worker killed"])
    gate = Gate(plan, trickle_s=0)
    taken = [gate.take() for _ in range(len(plan.sendings) + 3)]
    more = [sending for sending in taken[-3:] if sending is not None]
    assert taken[: len(plan.sendings)] == list(plan.sendings)
    assert [sending.number for sending in more] == [len(plan.sendings) + k for k in range(3)]
    assert all(sending.kind == "good" and len(sending.files) == 2 for sending in more)
    gate.over(plan.faults[0])
    assert gate.take() is None


@pytest.mark.parametrize(
    "given",
    [
        [],
        ["--pace", "2.5"],
        ["--real-model"],
        ["--pace", "1.2", "--patience", "4"],
        ["--faults", "beat killed", "--faults", "disk full", "--pace", "3"],
    ],
)
def test_the_line_to_repeat_a_night_says_all_that_made_it(
    given: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BCWEB_CHAOS_PACE", raising=False)
    options = arguments(["--jobs", "40", *given])
    make, target, *variables = shlex.split(replay(7, options))
    assert (make, target) == ("make", "chaos")
    told = dict(variable.split("=", 1) for variable in variables)
    assert (told["SEED"], told["JOBS"]) == ("7", "40")
    # As make hands them to the shell.
    again = arguments(["--jobs", told["JOBS"], *shlex.split(told.get("ARGS", ""))])
    assert again == options
