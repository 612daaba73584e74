"""Freezes beside imports and corrections: who is on which side of the test."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cases.access import SYSTEM, Actor
from cases.services.gate_fields import gate_plan_parse
from cases.services.gates import gate_plan_create
from cases.services.snapshots import snapshot_register
from cases.states import JobState
from tests.gates import plan_raw
from tests.training import document_of, make_run
from tests.worker.freezes import done, ended, freeze, imported, keys_in, moved, of, put, some

# Each starts a process that compares the pictures: long on a busy machine.
pytestmark = [pytest.mark.django_db, pytest.mark.timeout(600)]


def test_a_patient_who_was_trained_on_through_an_import_is_never_locked(
    state: Path, people: tuple[Actor, Actor]
) -> None:
    candidates = some(people, benign=6, malignant=5)
    make_run(snapshot=imported(0, "SECRET-B0", "SECRET-M0"))
    imported(10, "SECRET-B1")  # Nobody trains on it.
    made = freeze(people, "locked", share="100")
    assert made.snapshot is not None
    assert made.left_out == {"patient_is_in_training": 2}
    assert keys_in(made.snapshot) == of(*candidates) - of(candidates[0], candidates[6])


def test_a_patient_whom_a_plan_locks_through_an_import_is_never_trained_on(
    state: Path, people: tuple[Actor, Actor]
) -> None:
    candidates = some(people, benign=6, malignant=4)
    plan = plan_raw(imported(0, "SECRET-B0"))
    gate_plan_create(actor=people[1], fields=gate_plan_parse(plan))
    made = freeze(people)
    assert made.snapshot is not None
    assert made.left_out == {"patient_is_locked": 1}
    assert keys_in(made.snapshot) == of(*candidates[1:])


def test_a_snapshot_of_patients_whom_nobody_knows_stops_a_freeze(
    state: Path, people: tuple[Actor, Actor]
) -> None:
    some(people, benign=6, malignant=4)
    document = document_of()
    for entry in document["files"]:
        entry["patient"] = 0
    old, _ = snapshot_register(
        actor=SYSTEM,
        document=document,
        content=json.dumps(document).encode(),
        name="old",
        data_root="/data/old",
    )
    assert done(people).images == 10
    make_run(snapshot=old)
    made = freeze(people, "locked", share="100")
    assert ended(made) == (JobState.FAILED, "snapshot_patients_unknown")
    assert "Import its folder again" in made.job.error_detail


def test_a_patient_whose_picture_was_locked_under_another_is_never_trained_on(
    state: Path, people: tuple[Actor, Actor]
) -> None:
    candidates = some(people, benign=5, malignant=4)
    done(people, "locked", share="100")
    moved(people, candidates[0], "RIGHT")
    put(people, "benign", "RIGHT", clock_position="7")
    others = [put(people, "benign" if n % 2 else "malignant", f"NEW{n}") for n in range(8)]
    made = freeze(people)
    assert made.snapshot is not None
    assert made.left_out == {"patient_is_locked": 9}
    assert keys_in(made.snapshot) == of(*others)


def test_a_patient_who_is_on_both_sides_by_a_correction_is_left_out_of_both(
    state: Path, people: tuple[Actor, Actor]
) -> None:
    locked = some(people, benign=5, malignant=4)
    kept = done(people, "locked", share="100")
    learned = [put(people, "benign" if n % 2 else "malignant", f"NEW{n}") for n in range(9)]
    done(people)
    before = of(locked[0])
    moved(people, locked[0], "NEW0")
    made = freeze(people)
    assert made.snapshot is not None
    assert made.left_out == {"patient_is_locked": 8, "patient_on_both_sides": 1}
    assert keys_in(made.snapshot) == of(*learned[1:])
    again = freeze(people, "locked", share="100")
    assert again.snapshot is not None
    assert again.left_out == {"patient_is_in_training": 8, "patient_on_both_sides": 1}
    assert keys_in(again.snapshot) == keys_in(kept) - before
