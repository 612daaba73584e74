"""Finding a patient's record by the identity that a system knows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from django.db.models import Prefetch, Q

from cases.access import Actor, Capability
from cases.errors import FieldInvalid, NotFound
from cases.models import Case, Patient, Site

MAX_FOUND = 50
# Of a name: fewer characters would find everybody.
MIN_NAME = 2


@dataclass(frozen=True)
class PatientQuery:
    """Whom somebody looks for. What is empty does not narrow it."""

    patient_id: str = ""
    patient_issuer: str = ""
    name: str = ""
    birth_date: date | None = None
    accession_number: str = ""

    @property
    def fields(self) -> list[str]:
        """What was asked by: their names, never what was typed."""
        return sorted(name for name, value in vars(self).items() if value)


@dataclass(frozen=True)
class PatientsFound:
    patients: list[Patient]
    # More of them than are told.
    more: bool


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


def patient_search(*, actor: Actor, query: PatientQuery) -> PatientsFound:
    """The patients of the actor's site that ``query`` is about, by name, with their cases.

    Id and accession number exactly; of the name its beginning, in capitals or not; an erased
    patient is found by nothing. Needs VIEW_CASES and VIEW_IDENTITY. ``FieldInvalid`` where nothing
    is given that finds somebody.
    """
    actor.require(Capability.VIEW_CASES)
    actor.require(Capability.VIEW_IDENTITY)
    name = query.name.strip()
    if not (query.patient_id or query.accession_number or name):
        sentence = "Give a patient id, an accession number or the beginning of a name."
        raise FieldInvalid(errors={"patient_id": [sentence]})
    if name and len(name) < MIN_NAME:
        raise FieldInvalid(errors={"name": [f"At least {MIN_NAME} characters."]})
    wanted = Q(site_id=actor.own_site, erased_at__isnull=True)
    if query.patient_id:
        wanted &= Q(patient_id=query.patient_id)
    if query.patient_issuer:
        wanted &= Q(issuer=query.patient_issuer)
    if name:
        wanted &= Q(name__istartswith=name)
    if query.birth_date is not None:
        wanted &= Q(birth_date=query.birth_date)
    if query.accession_number:
        # An accession number is one case, or few where several systems give them.
        cases = Case.objects.filter(site_id=actor.own_site, accession_number=query.accession_number)
        wanted &= Q(pk__in=list(cases.values_list("patient_id", flat=True)))
    cases = Case.objects.order_by("-created_at", "-id")
    found = list(
        Patient.objects.filter(wanted)
        .order_by("name", "patient_id", "id")
        .prefetch_related(Prefetch("cases", queryset=cases))[: MAX_FOUND + 1]
    )
    return PatientsFound(found[:MAX_FOUND], more=len(found) > MAX_FOUND)
