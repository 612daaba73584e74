"""Patients of imported pictures by a keyed hash, so that snapshots can be compared without ids.

A snapshot's document numbers its patients in the order they appear: number 3 of one is nobody in
another. The keys are made at import, where the manifest's ids are read, and stored apart from the
document, whose content and id stay those of `ml.snapshot`.
"""

from __future__ import annotations

from collections.abc import Iterable

from cases.models import SnapshotPatient, TrainingSnapshot
from cases.services.patient_keys import PREFIX, keyed_hash


def imported_patient_key(source: str | None, patient: object) -> str:
    """The key of the patient with this id (a number counts as its digits) in a source.

    None: a source that no manifest states. All of those count as one: pictures of a patient that
    lie in two folders of one hospital are found that way; that two hospitals' ids meet is told as
    shared patients, and stating the sources parts them.
    """
    name = "" if source is None else source.strip()
    text = f"imported\0{name}\0{str(patient).strip()}"
    return PREFIX + keyed_hash(text)


def imported_patients_keep(snapshot: TrainingSnapshot, keys: Iterable[str]) -> None:
    """Keep the keys of a snapshot's patients; those that are there already stay."""
    SnapshotPatient.objects.bulk_create(
        [SnapshotPatient(snapshot=snapshot, key=key) for key in sorted(set(keys))],
        ignore_conflicts=True,
        batch_size=1000,
    )


def imported_patients_of(snapshot: TrainingSnapshot) -> frozenset[str]:
    return frozenset(
        SnapshotPatient.objects.filter(snapshot=snapshot).values_list("key", flat=True)
    )
