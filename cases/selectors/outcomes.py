"""Reading outcomes, and which patients' data may be trained on."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from django.db.models import Q, QuerySet

from cases.access import Actor, Capability
from cases.errors import NotFound
from cases.models import Finding, FindingOutcome, Image, Patient

# Who wants no part in research, or whose data was erased, is in no new snapshot.
_TRAINABLE = {"research_opt_out": False, "erased_at__isnull": True}


def finding_get(*, actor: Actor, finding_id: UUID) -> Finding:
    """A finding of the actor's site, for who may see its case or record its outcome."""
    if not actor.can(Capability.VIEW_CASES):
        actor.require(Capability.RECORD_OUTCOMES)
    findings = Finding.objects.filter(case__site_id=actor.own_site)
    finding = findings.select_related("case").filter(pk=finding_id).first()
    if finding is None:
        raise NotFound()
    return finding


def outcomes_of(*, case_ids: Iterable[UUID]) -> list[FindingOutcome]:
    """All outcomes of cases the actor may see, oldest first, in one query."""
    outcomes = FindingOutcome.objects.filter(case_id__in=list(case_ids))
    return list(outcomes.select_related("superseded_by").order_by("created_at", "id"))


def finding_outcomes(*, finding: Finding) -> list[FindingOutcome]:
    """The outcomes of a finding the actor may see, oldest first; the last one is current."""
    outcomes = FindingOutcome.objects.filter(finding=finding)
    return list(outcomes.select_related("superseded_by").order_by("created_at", "id"))


def patient_is_trainable(patient: Patient) -> bool:
    """Whether this patient's data may be in new training data."""
    return not patient.research_opt_out and patient.erased_at is None


def images_trainable(images: QuerySet[Image]) -> QuerySet[Image]:
    """Those of ``images`` whose patients' data may be in new training data."""
    return images.filter(
        Q(**{f"case__patient__{name}": value for name, value in _TRAINABLE.items()})
    )


def patients_trainable(patients: QuerySet[Patient]) -> QuerySet[Patient]:
    """Those of ``patients`` whose data may be in new training data."""
    return patients.filter(Q(**_TRAINABLE))
