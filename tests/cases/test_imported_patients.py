"""Patients across snapshots: one id in one source is one patient, in whatever document."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import DatabaseError, IntegrityError, transaction
from PIL import Image

from cases.access import SYSTEM
from cases.errors import FieldInvalid
from cases.models import SnapshotPatient, TrainingRun, TrainingSnapshot
from cases.selectors.snapshots import snapshot_document
from cases.services.imported_patients import imported_patient_key
from cases.services.snapshots import snapshot_register
from tests.gates import make_plan
from tests.phantoms import Lesion, bmode_phantom
from tests.training import document_of, make_run

pytestmark = pytest.mark.django_db


def registered(first: int, *patients: tuple[str | None, object]) -> TrainingSnapshot:
    """A snapshot of six pictures of its own, whose document numbers its patients from 0."""
    document = document_of(first=first)
    for place, entry in enumerate(document["files"]):
        entry["patient"] = place % max(1, len(patients))
    made, _ = snapshot_register(
        actor=SYSTEM,
        document=document,
        content=json.dumps(document).encode(),
        name="made",
        data_root="/data/made",
        patient_keys={imported_patient_key(source, patient) for source, patient in patients},
    )
    return made


def refused(snapshot: TrainingSnapshot) -> str:
    with pytest.raises(FieldInvalid) as error:
        make_run(snapshot=snapshot)
    return " ".join((error.value.errors or {})["snapshot"])


def test_a_number_is_the_same_patient_in_every_snapshot_of_its_source() -> None:
    make_plan(registered(100, ("BUS-BRA", 17), ("BUS-BRA", 18)))
    assert "1 patient with the locked set" in refused(registered(0, ("BUS-BRA", 17)))
    # As a manifest's text, and at another place in the document.
    told = refused(registered(10, ("BUS-BRA", "3"), ("BUS-BRA", "18"), ("BUS-BRA", "17")))
    assert "2 patients" in told
    assert not TrainingRun.objects.exists()


def test_another_number_and_another_source_are_somebody_else() -> None:
    make_plan(registered(100, ("BUS-BRA", 17)))
    # All documents number their patients from 0: that says nothing.
    make_run(snapshot=registered(0, ("BUS-BRA", 1), ("BUS-BRA", 7), ("BUSI", 17)))
    # A source and an id are not run together.
    make_run(snapshot=registered(10, ("BUS-BRA1", 7), ("BUS-BR", "A17")))


def test_sources_that_nobody_states_count_as_one_for_safety() -> None:
    make_plan(registered(100, (None, 17)))
    assert "1 patient with" in refused(registered(0, (None, "17")))
    make_run(snapshot=registered(10, ("a hospital", 17)))


def test_a_set_whose_patients_were_trained_on_cannot_be_locked() -> None:
    make_run(snapshot=registered(0, ("BUS-BRA", 17)))
    with pytest.raises(FieldInvalid) as error:
        make_plan(registered(100, ("BUS-BRA", 17)))
    assert "1 patient with snapshot made" in (error.value.errors or {})["locked_set"][0]
    make_plan(registered(200, ("BUS-BRA", 18)))


def test_keys_hide_the_id_come_later_too_and_never_change() -> None:
    key = imported_patient_key("BUS-BRA", 17)
    plain = hashlib.sha256(b"7:BUS-BRA:17").hexdigest()
    assert key.startswith("hmac-sha256:")
    assert plain not in key
    snapshot = registered(0)
    document = snapshot_document(snapshot)
    for _ in range(2):
        snapshot_register(
            actor=SYSTEM,
            document=document,
            content=b"",
            name="made",
            data_root="",
            patient_keys=[key],
        )
    assert [row.key for row in snapshot.patient_keys.all()] == [key]
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        SnapshotPatient.objects.all().delete()
    with pytest.raises(IntegrityError, match="names_no_patient"), transaction.atomic():
        SnapshotPatient.objects.create(snapshot=snapshot, key="BUS-BRA 17")


def imported(root: Path, first: int, patients: list[int], source: str) -> TrainingSnapshot:
    """A folder of phantoms with a manifest of numeric patients, imported by the command."""
    root.mkdir()
    lines = ["file,class,patient_id,source"]
    for place, patient in enumerate(patients):
        label: Lesion = ("benign", "malignant")[place % 2]
        number = first + place + (50 if label == "malignant" else 0)
        Image.fromarray(bmode_phantom(number, (96, 110), label)).save(root / f"{place}.png")
        lines.append(f"{place}.png,{label},{patient},{source}")
    (root / "manifest.csv").write_text("\n".join(lines) + "\n")
    call_command("import_dataset", str(root), "--folds", "2", stdout=io.StringIO())
    return TrainingSnapshot.objects.get(name=root.name)


def test_imported_manifests_are_compared_by_their_own_ids(settings: Any, tmp_path: Path) -> None:
    settings.STATE_DIR = tmp_path / "state"
    people = list(range(900, 910))
    locked = imported(tmp_path / "locked", 200, people, "BUS-BRA")
    numbers = {entry["patient"] for entry in snapshot_document(locked)["files"]}
    assert numbers == set(range(10))
    assert {row.key for row in locked.patient_keys.all()} == {
        imported_patient_key("BUS-BRA", patient) for patient in people
    }
    make_plan(locked)
    others = [1, 903, *range(3, 11)]
    assert "1 patient with" in refused(imported(tmp_path / "leaks", 0, others, "BUS-BRA"))
    make_run(snapshot=imported(tmp_path / "elsewhere", 20, others, "another"))
