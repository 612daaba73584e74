"""A case that was filed under the wrong patient, moved to the right one."""

from __future__ import annotations

from uuid import UUID

from django.db import transaction
from django.db.models import Q

from cases.access import Actor, Capability
from cases.errors import (
    AccessionConflict,
    DuplicateOfOtherPatient,
    FieldInvalid,
    NotFound,
    PermissionDenied,
    StateConflict,
)
from cases.models import Case, Image, Patient, PatientCorrection, Site
from cases.services.audit import audit_record
from cases.services.candidates import candidates_reopen
from cases.services.fields import SubmissionFields
from cases.services.filing import cases_of_studies, patient_for
from cases.services.identity import Identity
from cases.services.locks import advisory_lock
from cases.services.review import case_locked, reason_required


@transaction.atomic
def case_patient_correct(
    *, actor: Actor, case_id: UUID, fields: SubmissionFields, reason: str
) -> PatientCorrection:
    """Move a case, with all that belongs to it, to the patient the fields name.

    The record is found by id and issuer (the site's where none is given) or made; its blanks are
    filled, nothing of it is changed. The old record stays, and the correction links both.

    Refused where two patients would then hold what can only be one's: ``AccessionConflict``
    (another case has the accession number or holds a study of this one),
    ``DuplicateOfOtherPatient`` (another case holds the same file). Also ``FieldInvalid`` (no
    patient id, no reason, the same patient), ``IdentityMismatch`` (the record has another date of
    birth), ``StateConflict`` where the case was moved or got images meanwhile, ``NotFound``,
    ``Erased``, and ``PermissionDenied`` without READ_CASES and VIEW_IDENTITY.
    """
    actor.require(Capability.READ_CASES)
    actor.require(Capability.VIEW_IDENTITY)
    if actor.user_id is None:
        raise PermissionDenied("A correction is a person's.")
    why = reason_required(reason)
    if not fields.patient_id:
        raise FieldInvalid(errors={"patient_id": ["Enter the id of the right patient."]})
    # One at a time for a site: a record that is made meanwhile would be locked out of order.
    advisory_lock("correction", str(actor.own_site), wait=True)
    seen = Case.objects.filter(pk=case_id, site_id=actor.own_site).first()
    if seen is None:
        raise NotFound()
    hashes = _hashes(seen)
    for name in sorted(hashes):
        # As submissions and erasures do, and before any row, as they do: nobody may file or drop
        # these bytes between our look at who else holds them and the move.
        advisory_lock("bytes", name, wait=True)
    site = Site.objects.get(pk=actor.own_site)
    target = _target(actor, site, seen, fields)
    # The patients next, then the case: the order in which submissions lock.
    case = case_locked(actor=actor, case_id=case_id)
    if case.patient_id != seen.patient_id or not _hashes(case) <= hashes:
        raise StateConflict("The case has changed meanwhile. Look at it again.")
    if target.pk == case.patient_id:
        raise FieldInvalid(errors={"patient_id": ["The case is filed under this patient already."]})
    _refuse_conflicts(case, target)
    source = case.patient
    case.patient = target
    case.save(update_fields=["patient"])
    correction = PatientCorrection.objects.create(
        case=case,
        from_patient=source,
        to_patient=target,
        reason=why,
        corrected_by_id=actor.user_id,
    )
    _audit(actor, case, correction)
    candidates_reopen(actor=actor, case=case, reason="the case was moved to another patient")
    return correction


def _audit(actor: Actor, case: Case, correction: PatientCorrection) -> None:
    audit_record(
        actor=actor,
        action="case.patient_corrected",
        object_type="case",
        object_id=case.pk,
        site_id=case.site_id,
        case_id=case.pk,
        changed_fields=["patient"],
        # Ids of records: both stay linked in the trail.
        detail={
            "from": str(correction.from_patient_id),
            "to": str(correction.to_patient_id),
            "correction": str(correction.pk),
        },
    )


def _target(actor: Actor, site: Site, case: Case, fields: SubmissionFields) -> Patient:
    """The right patient's record, found or made, locked together with the present one."""
    identity = Identity(
        patient_id=fields.patient_id,
        patient_issuer=fields.patient_issuer or site.patient_issuer,
        patient_name=fields.patient_name,
        birth_date=fields.birth_date,
        sex=fields.sex,
    )
    named = Q(issuer=identity.patient_issuer, patient_id=identity.patient_id)
    both = Patient.objects.filter(site=site).filter(named | Q(pk=case.patient_id))
    # In one order, so that two corrections that cross do not wait for each other.
    list(both.select_for_update().order_by("pk"))
    return patient_for(actor=actor, site=site, identity=identity)


def _hashes(case: Case) -> set[str]:
    """The names of the locks on the bytes of the case's files."""
    return set(Image.objects.filter(case=case).values_list("sha256", flat=True))


def _refuse_conflicts(case: Case, target: Patient) -> None:
    """What only one patient can have must not end up with two."""
    others = Case.objects.filter(site_id=case.site_id).exclude(pk=case.pk).exclude(patient=target)
    if case.accession_number:
        same = others.filter(accession_number=case.accession_number)
        if case.accession_issuer:
            # A number without an issuer is the one the site uses: it matches any.
            same = same.filter(accession_issuer__in=["", case.accession_issuer])
        if same.exists():
            raise AccessionConflict(
                "Another case of another patient has the same accession number. Nothing was moved."
            )
    own = Image.objects.filter(case=case)
    studies = set(own.filter(header_overruled=False).values_list("study_instance_uid", flat=True))
    studies = {study for study in {*studies, case.study_instance_uid} if study}
    if cases_of_studies(others, sorted(studies)):
        raise AccessionConflict(
            "Another case of another patient holds images of the same study. Nothing was moved."
        )
    if Image.objects.filter(case__in=others, sha256__in=own.values("sha256")).exists():
        raise DuplicateOfOtherPatient(
            "Another case of another patient holds exactly the same image. Nothing was moved."
        )
