"""Reading what was corrected or erased."""

from __future__ import annotations

from cases.models import Case, PatientCorrection, PatientErasure


def case_corrections(*, case: Case) -> list[PatientCorrection]:
    """Where a case the actor may see was filed before, newest first, in one query."""
    corrections = PatientCorrection.objects.filter(case=case)
    return list(corrections.select_related("corrected_by").order_by("-at", "-id"))


def case_erasure(*, case: Case) -> PatientErasure | None:
    """The tombstone of the patient of a case the actor may see."""
    return (
        PatientErasure.objects.filter(patient_id=case.patient_id)
        .select_related("erased_by")
        .first()
    )
