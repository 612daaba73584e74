"""Freezes to start from, made through the services and the worker."""

from __future__ import annotations

import json
from typing import Any

from cases.access import Actor
from cases.models import (
    SnapshotFreeze,
    TrainingCandidate,
    TrainingSnapshot,
)
from cases.selectors.snapshots import snapshot_document
from cases.services.corrections import case_patient_correct
from cases.services.fields import submission_fields_parse
from cases.services.freezes import freeze_fields_parse, freeze_request
from cases.services.patient_keys import patient_key
from cases.states import JobState
from tests.curation import BENIGN, INVASIVE, accepted, small_jpeg
from tests.training import document_of
from worker.freezing import FreezeRunner
from worker.management.commands import import_dataset

BOX = [8, 4, 102, 92]


def put(people: tuple[Actor, Actor], label: str, patient: str, **more: Any) -> TrainingCandidate:
    """An accepted image of a patient, under a name that must not get out."""
    reader, admin = people
    more.setdefault("files", [small_jpeg(label)])
    more.setdefault("content", INVASIVE if label == "malignant" else BENIGN)
    return accepted(
        reader=reader,
        admin=admin,
        box=BOX,
        patient_id=f"SECRET-{patient}",
        patient_name="Zebrafish^Quilla",
        birth_date="1961-02-03",
        **more,
    )


def some(
    people: tuple[Actor, Actor], benign: int = 4, malignant: int = 4
) -> list[TrainingCandidate]:
    """One image of each of so many patients."""
    made = [put(people, "benign", f"B{n}") for n in range(benign)]
    return made + [put(people, "malignant", f"M{n}") for n in range(malignant)]


def ask(people: tuple[Actor, Actor], role: str = "training", **more: Any) -> SnapshotFreeze:
    raw = {"role": role, "name": f"a {role} set", "share": "50", "reason": "It is time.", **more}
    return freeze_request(actor=people[1], fields=freeze_fields_parse(raw))


def freeze(people: tuple[Actor, Actor], role: str = "training", **more: Any) -> SnapshotFreeze:
    """Ask and have it done; the freeze as it ended."""
    asked = ask(people, role, **more)
    assert FreezeRunner(name="training@test").drain() == 1
    asked.refresh_from_db()
    asked.job.refresh_from_db()
    return asked


def done(people: tuple[Actor, Actor], role: str = "training", **more: Any) -> TrainingSnapshot:
    made = freeze(people, role, **more)
    assert (made.job.state, made.job.error_code) == (JobState.SUCCEEDED, "")
    assert made.snapshot is not None
    return made.snapshot


def ended(made: SnapshotFreeze) -> tuple[str, str]:
    return made.job.state, made.job.error_code


def of(*candidates: TrainingCandidate) -> set[str]:
    """The keys of their patients."""
    patients = (c.image.case.patient for c in candidates)
    return {patient_key(issuer=p.issuer, patient_id=p.patient_id) for p in patients}


def keys_in(snapshot: TrainingSnapshot) -> set[str]:
    return {entry["patient"] for entry in snapshot_document(snapshot)["files"]}


def imported(first: int, *patient_ids: str) -> TrainingSnapshot:
    """A snapshot of the hospital's own originals: no file and no hash is that of a frozen one."""
    document: Any = document_of(first=first)
    for place, entry in enumerate(document["files"]):
        entry["patient"] = place % len(patient_ids)
    import_dataset.register(
        document,
        json.dumps(document).encode(),
        data_root="/data/originals",
        patients={("exported", who) for who in patient_ids},
    )
    return TrainingSnapshot.objects.get(pk=document["id"])


def moved(people: tuple[Actor, Actor], candidate: TrainingCandidate, patient: str) -> None:
    """Its case was another patient's."""
    case_patient_correct(
        actor=people[0],
        case_id=candidate.image.case_id,
        fields=submission_fields_parse({"patient_id": f"SECRET-{patient}"}),
        reason="Mixed up.",
    )
