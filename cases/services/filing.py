"""Putting checked files in their place: patient, case, image, bytes.

Called inside the transaction of `submission_create`, which holds the locks on the bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from django.core.files import File
from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet

from cases import intake
from cases.access import Actor
from cases.errors import (
    AccessionConflict,
    DuplicateOfOtherPatient,
    IdentityMismatch,
    StateConflict,
)
from cases.models import Case, Finding, Image, Patient, Site, Submission
from cases.services.audit import audit_record
from cases.services.frames import frame_store
from cases.services.identity import Identity
from cases.services.uploads import Checked
from cases.storage import blob_name, store_once
from cases.vocabulary import Indication, Laterality


def issuer_for(*, site: Site, identity: Identity) -> str:
    """The issuer of the patient id: as told, else of this accession's case, else the site's own.

    A picture without header that joins a case by its accession number means that case's patient.
    """
    if identity.patient_issuer:
        return identity.patient_issuer
    known = None
    if identity.accession_number:
        known = Case.objects.filter(
            site=site,
            accession_number=identity.accession_number,
            patient__patient_id=identity.patient_id,
        ).select_related("patient")
    case = known.order_by("created_at", "id").first() if known is not None else None
    return case.patient.issuer if case else site.patient_issuer


def patient_for(*, actor: Actor, site: Site, identity: Identity) -> Patient:
    """The patient with this id and issuer; blanks of the record are filled, nothing is changed.

    Raises ``IdentityMismatch`` where the record has another date of birth: one of the two is
    the wrong patient, and a program must not choose.
    """
    patient, created = Patient.objects.get_or_create(
        site=site,
        issuer=identity.patient_issuer,
        patient_id=identity.patient_id,
        defaults={
            "name": identity.patient_name,
            "birth_date": identity.birth_date,
            "sex": identity.sex,
        },
    )
    changed: list[str] = ["patient_id", "issuer"] if created else []
    if not created:
        patient = Patient.objects.select_for_update().get(pk=patient.pk)
        if patient.erased_at is not None:
            # Between finding the record and holding it.
            raise StateConflict("The patient's record has just been erased. Send it again.")
        if (
            patient.birth_date is not None
            and identity.birth_date is not None
            and patient.birth_date != identity.birth_date
        ):
            raise IdentityMismatch(
                "The patient with this id is on record with another date of birth. "
                "Check the patient id.",
                errors={"birth_date": ["Differs from the patient on record."]},
            )
        changed = _fill_blanks(patient, identity)
    if changed:
        audit_record(
            actor=actor,
            action="patient.created" if created else "patient.completed",
            object_type="patient",
            object_id=patient.pk,
            site_id=site.pk,
            changed_fields=changed,
        )
    return patient


def _fill_blanks(patient: Patient, identity: Identity) -> list[str]:
    told: dict[str, Any] = {
        "name": identity.patient_name,
        "birth_date": identity.birth_date,
        "sex": identity.sex,
    }
    changed = [name for name, value in told.items() if value and not getattr(patient, name)]
    for name in changed:
        setattr(patient, name, told[name])
    if changed:
        patient.save(update_fields=changed)
    return changed


def case_for(
    *,
    actor: Actor,
    site: Site,
    patient: Patient,
    identity: Identity,
    studies: Sequence[str],
    indication: Indication | None,
) -> Case:
    """The case of this accession or of these studies, or a new one.

    Raises ``AccessionConflict`` where it belongs to another patient, or where the study is
    already filed under another accession number.
    """
    known = _known_case(site, patient, identity, studies)
    if known is not None:
        return _complete_case(actor, known, identity, studies, indication)
    try:
        with transaction.atomic():
            case = Case.objects.create(
                site=site,
                patient=patient,
                accession_number=identity.accession_number,
                accession_issuer=identity.accession_issuer if identity.accession_number else "",
                study_instance_uid=studies[0] if studies else "",
                indication=indication.value if indication else "",
            )
    except IntegrityError:
        # Another delivery made the same case a moment ago: it is the known one now.
        known = _known_case(site, patient, identity, studies)
        if known is None:
            raise AccessionConflict() from None
        return _complete_case(actor, known, identity, studies, indication)
    audit_record(
        actor=actor,
        action="case.created",
        object_type="case",
        object_id=case.pk,
        site_id=site.pk,
        case_id=case.pk,
    )
    return case


def _known_case(
    site: Site, patient: Patient, identity: Identity, studies: Sequence[str]
) -> Case | None:
    """The case of this site that has this accession number, or holds one of these studies.

    An accession number without an issuer means the one the site uses: it matches any issuer.
    """
    cases = Case.objects.select_for_update(of=("self",)).filter(site=site)
    by_accession = None
    if identity.accession_number:
        same = cases.filter(accession_number=identity.accession_number)
        if identity.accession_issuer:
            same = same.filter(accession_issuer__in=["", identity.accession_issuer])
        found = list(same.order_by("created_at", "id"))
        if any(case.patient_id != patient.pk for case in found):
            raise AccessionConflict()
        by_accession = found[0] if found else None
    holding = cases_of_studies(cases, studies)
    if any(case.patient_id != patient.pk for case in holding):
        raise AccessionConflict("This study is already filed under another patient.")
    if len(holding) > 1:
        raise AccessionConflict("These studies are already filed under several cases.")
    by_study = holding[0] if holding else None
    if not identity.accession_number or by_study is None or by_study == by_accession:
        return by_accession or by_study
    if by_accession is not None or by_study.accession_number:
        raise AccessionConflict(
            "This study is already filed under another accession number. "
            "Check the accession number."
        )
    return by_study


def cases_of_studies(cases: QuerySet[Case], studies: Sequence[str]) -> list[Case]:
    """The cases whose own study is among these, or that took images of them in.

    An image that a person filed against its header says nothing of where its study belongs.
    """
    if not studies:
        return []
    held = Image.objects.filter(study_instance_uid__in=studies, header_overruled=False)
    mine = Q(study_instance_uid__in=studies) | Q(pk__in=held.values("case_id"))
    return list(cases.filter(mine).order_by("created_at", "id"))


def _complete_case(
    actor: Actor,
    case: Case,
    identity: Identity,
    studies: Sequence[str],
    indication: Indication | None,
) -> Case:
    """Fill the blanks of ``case``; what it says stays."""
    told = {
        "accession_number": identity.accession_number,
        "accession_issuer": identity.accession_issuer if identity.accession_number else "",
        "study_instance_uid": studies[0] if studies else "",
        "indication": indication.value if indication else "",
    }
    changed = [name for name, value in told.items() if value and not getattr(case, name)]
    if case.accession_number:
        # Issuer and number go together: a known number keeps its own issuer.
        changed = [name for name in changed if name != "accession_issuer"]
    for name in changed:
        setattr(case, name, told[name])
    if changed:
        try:
            with transaction.atomic():
                case.save(update_fields=changed)
        except IntegrityError as error:
            # Another delivery gave the same number to another case a moment ago.
            raise AccessionConflict() from error
        audit_record(
            actor=actor,
            action="case.completed",
            object_type="case",
            object_id=case.pk,
            site_id=case.site_id,
            case_id=case.pk,
            changed_fields=changed,
        )
    return case


def image_store(
    *,
    case: Case,
    submission: Submission,
    finding: Finding | None,
    position: int,
    side: Laterality,
    file: Checked,
    overruled: bool,
) -> Image:
    """An image row with its bytes (shared where the same bytes are stored already).

    Raises ``DuplicateOfOtherPatient`` where the site has the same bytes for another patient.
    Other sites are not looked at: what they have is not told, not even by a refusal.
    """
    received, checked = file.upload.received, file.image
    here = Image.objects.filter(sha256=received.sha256, case__site_id=case.site_id)
    if here.exclude(case__patient_id=case.patient_id).exists():
        raise DuplicateOfOtherPatient(file=received.name)
    name = blob_name(received.sha256)
    with open(received.path, "rb") as data:
        store_once(name, File(data))
    image = Image.objects.create(
        case=case,
        submission=submission,
        finding=finding,
        position=position,
        file_name=received.name,
        sha256=received.sha256,
        size=received.size,
        storage_name=name,
        format=checked.format,
        media_type=checked.media_type,
        width=checked.width,
        height=checked.height,
        frames=checked.frames,
        frame=checked.frame,
        laterality=side.value,
        header_overruled=overruled,
        duplicate_of=here.order_by("created_at", "id").first(),
        **_header_columns(checked),
    )
    if checked.frame_png is not None:
        frame_store(image=image, index=checked.frame, png=checked.frame_png)
    return image


def _header_columns(checked: intake.CheckedImage) -> dict[str, Any]:
    dicom = checked.dicom
    if dicom is None:
        return {"facts": checked.facts}
    spacing = dicom.spacing_mm
    technical = asdict(dicom)
    technical.pop("identity")
    return {
        "study_instance_uid": dicom.study_instance_uid,
        "series_instance_uid": dicom.series_instance_uid,
        "sop_instance_uid": dicom.sop_instance_uid,
        "manufacturer": dicom.manufacturer[:64],
        "manufacturer_model": dicom.manufacturer_model[:64],
        "spacing_row_mm": spacing[0] if spacing else None,
        "spacing_col_mm": spacing[1] if spacing else None,
        "facts": technical,
    }
