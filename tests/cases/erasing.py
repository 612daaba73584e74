"""Erasing a patient as an administrator at the portal does: look first, then act."""

from __future__ import annotations

from cases.access import Actor
from cases.models import Case, PatientErasure
from cases.services.erasure import erasure_plan, patient_erase

WHY = "Asked for in writing."


def erase(actor: Actor, case: Case, *, reason: str = WHY) -> PatientErasure:
    token = erasure_plan(actor=actor, case_id=case.pk).token
    return patient_erase(actor=actor, case_id=case.pk, reason=reason, token=token)
