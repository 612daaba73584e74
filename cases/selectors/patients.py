"""Finding a patient's record by the identity that a system knows."""

from __future__ import annotations

from cases.access import Actor, Capability
from cases.errors import NotFound
from cases.models import Patient, Site


def patient_by_identity(*, actor: Actor, patient_id: str, issuer: str = "") -> Patient:
    """The record of this id and issuer (the site's own where empty) at the actor's site."""
    actor.require(Capability.SUBMIT)
    site = Site.objects.get(pk=actor.own_site)
    patient = Patient.objects.filter(
        site=site, patient_id=patient_id, issuer=issuer or site.patient_issuer, erased_at=None
    ).first()
    if patient is None:
        raise NotFound()
    return patient
