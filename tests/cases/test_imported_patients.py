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
from cases.services.patient_keys import patient_key
from cases.services.snapshots import snapshot_register
from tests.factories import make_site, submit
from tests.gates import make_plan
from tests.phantoms import Lesion, bmode_phantom
from tests.training import document_of, make_run
from worker.management.commands import import_dataset

pytestmark = pytest.mark.django_db


def registered(first: int, *patients: tuple[str | None, object]) -> TrainingSnapshot:
    """An imported snapshot of six pictures of its own, whose document numbers its patients."""
    document: Any = document_of(first=first)
    for place, entry in enumerate(document["files"]):
        entry["patient"] = place % max(1, len(patients))
    import_dataset.register(
        document,
        json.dumps(document).encode(),
        data_root="/data/made",
        patients={(source, str(patient)) for source, patient in patients},
    )
    return TrainingSnapshot.objects.get(pk=document["id"])


def frozen(first: int, role: str, *patients: tuple[str, str]) -> TrainingSnapshot:
    """A snapshot as a freeze stores it, of patients by issuer and id."""
    document = document_of(first=first)
    keys = [patient_key(issuer=issuer, patient_id=who) for issuer, who in patients]
    for place, entry in enumerate(document["files"]):
        entry["patient"] = keys[place % len(keys)]
    made, _ = snapshot_register(
        actor=SYSTEM,
        document=document,
        content=json.dumps(document).encode(),
        name="frozen",
        data_root="/data/frozen",
        role=role,
    )
    return made


def again(snapshot: TrainingSnapshot, *patients: tuple[str, str]) -> None:
    document: Any = snapshot_document(snapshot)
    import_dataset.register(document, b"", data_root="/data/made", patients=set(patients))


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


def test_a_locked_patient_of_the_service_enters_no_training_through_an_import() -> None:
    site = make_site()
    frozen(100, "locked", (site.patient_issuer, "123"), ("HOSPITAL", "7"))
    # The original pictures: other files, other hashes; only the id is the same.
    for first, source in ((0, None), (10, "exported")):
        told = refused(registered(first, (source, 123), (source, 9)))
        assert "1 patient with a locked set of another site" in told
    assert "1 patient" in refused(registered(20, ("HOSPITAL", 7)))
    # Of an issuer that no site has, and nobody is filed under.
    make_run(snapshot=registered(30, ("exported", 7), ("exported", 124)))


def test_the_issuer_of_a_patient_counts_also_where_it_is_no_sites_own() -> None:
    frozen(100, "locked", ("REFERRER", "SECRET-7"))
    make_run(snapshot=registered(0, (None, "SECRET-7")))
    submit(patient_id="ANOTHER", patient_issuer="REFERRER")
    assert "1 patient" in refused(registered(10, (None, "SECRET-7")))


def test_an_import_that_holds_a_patient_in_training_is_not_locked() -> None:
    site = make_site()
    frozen(0, "training", (site.patient_issuer, "123"))
    with pytest.raises(FieldInvalid) as error:
        make_plan(registered(100, (None, 123)))
    told = (error.value.errors or {})["locked_set"][0]
    assert "1 patient with a snapshot of another site" in told
    make_plan(registered(200, (None, 124)))


def test_keys_of_another_secret_are_no_keys_until_the_folder_is_imported_again(
    settings: Any,
) -> None:
    make_plan(registered(100, ("BUS-BRA", 17)))
    told = registered(0, ("BUS-BRA", 17))
    settings.BCWEB_PATIENT_KEY = "another secret of thirty-two letters"
    # The same patient, and no key would say so.
    fresh = registered(10, ("BUS-BRA", 17))
    for snapshot in (told, fresh):
        assert "import its folder again" in refused(snapshot)
    for snapshot in TrainingSnapshot.objects.all():
        again(snapshot, ("BUS-BRA", "17"))
    assert "1 patient with the locked set" in refused(fresh)
    make_run(snapshot=registered(20, ("BUS-BRA", 18)))


def test_keys_of_an_earlier_version_are_none_until_the_folder_is_imported_again() -> None:
    old = registered(0)
    key = imported_patient_key("BUS-BRA", 17)
    SnapshotPatient.objects.create(snapshot=old, key=key)
    make_plan(registered(100, ("BUS-BRA", 18)))
    assert "import its folder again" in refused(old)
    again(old, ("BUS-BRA", "17"))
    assert old.patient_keys.filter(key=key).count() == 2
    make_run(snapshot=old)


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
    assert {row.key for row in locked.patient_keys.filter(by_issuer=False)} == {
        imported_patient_key("BUS-BRA", patient) for patient in people
    }
    make_plan(locked)
    others = [1, 903, *range(3, 11)]
    assert "1 patient with" in refused(imported(tmp_path / "leaks", 0, others, "BUS-BRA"))
    make_run(snapshot=imported(tmp_path / "elsewhere", 20, others, "another"))
