"""What a patient wants done with their data for research."""

from __future__ import annotations

from uuid import UUID

from django.db import transaction

from cases.access import Actor, Capability
from cases.errors import Erased, NotFound
from cases.models import Patient
from cases.services.audit import audit_record


@transaction.atomic
def patient_research_set(
    *, actor: Actor, patient_id: UUID, opted_out: bool, case_id: UUID | None = None
) -> Patient:
    """Note that a patient wants no part in research, or that they do again.

    Twice is once. It counts for training data made from now on; what models learned before they
    keep. ``case_id``: the case it was said at, for the trail. ``NotFound`` at another site,
    ``Erased``, ``PermissionDenied`` without SUBMIT (whoever brings a patient's images may bring
    their wish).
    """
    actor.require(Capability.SUBMIT)
    own = Patient.objects.select_for_update(no_key=True).filter(site_id=actor.own_site)
    patient = own.filter(pk=patient_id).first()
    if patient is None:
        raise NotFound()
    if patient.erased_at is not None:
        raise Erased()
    if patient.research_opt_out == opted_out:
        return patient
    patient.research_opt_out = opted_out
    patient.save(update_fields=["research_opt_out"])
    audit_record(
        actor=actor,
        action="patient.opted_out" if opted_out else "patient.opted_in",
        object_type="patient",
        object_id=patient.pk,
        site_id=patient.site_id,
        case_id=case_id,
        changed_fields=["research_opt_out"],
    )
    return patient
