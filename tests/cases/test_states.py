"""The lifecycles: every legal move beside every illegal one."""

from __future__ import annotations

import itertools

import pytest

from cases.states import JOB, MODEL, JobState, Lifecycle, ModelState

J, M = JobState, ModelState
LEGAL_JOB = {
    (J.PENDING, J.RUNNING),
    (J.PENDING, J.CANCELLED),
    (J.RUNNING, J.SUCCEEDED),
    (J.RUNNING, J.FAILED),
    (J.RUNNING, J.PENDING),
    (J.RUNNING, J.CANCELLED),
}
LEGAL_MODEL = {
    (M.CANDIDATE, M.SHADOW),
    (M.CANDIDATE, M.ACTIVE),
    (M.CANDIDATE, M.REJECTED),
    (M.SHADOW, M.ACTIVE),
    (M.SHADOW, M.REJECTED),
    (M.ACTIVE, M.RETIRED),
    (M.RETIRED, M.ACTIVE),
}


@pytest.mark.parametrize(("source", "target"), list(itertools.product(J, J)))
def test_a_job_moves_only_as_its_lifecycle_says(source: J, target: J) -> None:
    assert JOB.allows(source, target) is ((source, target) in LEGAL_JOB)


@pytest.mark.parametrize(("source", "target"), list(itertools.product(M, M)))
def test_a_model_moves_only_as_its_lifecycle_says(source: M, target: M) -> None:
    assert MODEL.allows(source, target) is ((source, target) in LEGAL_MODEL)


def test_final_states_are_those_nobody_leaves() -> None:
    assert JOB.final == {J.SUCCEEDED, J.FAILED, J.CANCELLED}
    assert MODEL.final == {M.REJECTED}


@pytest.mark.parametrize("lifecycle", [JOB, MODEL])
def test_every_state_can_be_reached(lifecycle: Lifecycle) -> None:
    reached = set(lifecycle.initial) | {to for _, to in lifecycle.moves}
    assert reached == set(lifecycle.states)
