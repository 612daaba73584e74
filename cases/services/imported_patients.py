"""Patients of imported pictures by a keyed hash, so that snapshots can be compared without ids.

A snapshot's document numbers its patients in the order they appear: number 3 of one is nobody in
another. The keys are made at import, where the manifest's ids are read, and stored apart from the
document, whose content and id stay those of `ml.snapshot`. Beside them stand the keys by which the
same patient would be in a frozen snapshot, whose pictures are cut anew and so found by no hash.
"""

from __future__ import annotations

from collections.abc import Iterable

from cases.models import Patient, Site, SnapshotPatient, TrainingSnapshot
from cases.services.patient_keys import PREFIX, keyed_hash, patient_key, patient_key_id


def imported_patient_key(source: str | None, patient: object) -> str:
    """The key of the patient with this id (a number counts as its digits) in a source.

    None: a source that no manifest states. All of those count as one: pictures of a patient that
    lie in two folders of one hospital are found that way; that two hospitals' ids meet is told as
    shared patients, and stating the sources parts them.
    """
    name = "" if source is None else source.strip()
    text = f"imported\0{name}\0{str(patient).strip()}"
    return PREFIX + keyed_hash(text)


def issuers_known() -> frozenset[str]:
    """Every issuer under which a patient of the service is, or can be, filed."""
    of_sites = Site.objects.values_list("patient_issuer", flat=True)
    of_patients = Patient.objects.values_list("issuer", flat=True).distinct()
    return frozenset((*of_sites, *of_patients))


def imported_patient_issuer_keys(
    source: str | None, patient: object, issuers: Iterable[str]
) -> frozenset[str]:
    """The keys that this patient has in frozen snapshots, if filed under the source or an issuer.

    Nobody knows whose ids a folder bears: a hospital's own originals may come with any source. An
    id that meets another patient's is told as shared, which errs on the side of not training.
    """
    names = {*issuers, *([] if source is None else [source.strip()])}
    patient_id = str(patient).strip()
    return frozenset(patient_key(issuer=name, patient_id=patient_id) for name in names if name)


def imported_patients_keep(
    snapshot: TrainingSnapshot, keys: Iterable[str], *, by_issuer: bool = False
) -> None:
    """Keep the keys of a snapshot's patients; those that are there already stay."""
    key_id = patient_key_id()
    SnapshotPatient.objects.bulk_create(
        [
            SnapshotPatient(snapshot=snapshot, key=key, key_id=key_id, by_issuer=by_issuer)
            for key in sorted(set(keys))
        ],
        ignore_conflicts=True,
        batch_size=1000,
    )


def imported_patients_of(snapshot: TrainingSnapshot) -> tuple[frozenset[str], frozenset[str]]:
    """The keys of today's secret: by source and id, and by issuer and id. Others tell nothing."""
    rows = SnapshotPatient.objects.filter(snapshot=snapshot, key_id=patient_key_id())
    kept = list(rows.values_list("key", "by_issuer"))
    return (
        frozenset(key for key, by_issuer in kept if not by_issuer),
        frozenset(key for key, by_issuer in kept if by_issuer),
    )
