"""Putting checked files in their place: patient, case, image, bytes.

Called inside the transaction of `submission_create`, which holds the locks on the bytes.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from django.core.files import File
from django.db import IntegrityError, transaction

from cases import intake
from cases.access import Actor
from cases.errors import AccessionConflict, DuplicateOfOtherPatient, IdentityMismatch
from cases.models import Case, Finding, Image, Patient, Site, Submission
from cases.services.audit import audit_record
from cases.services.frames import frame_store
from cases.services.identity import Identity
from cases.storage import blob_name, uploads
from cases.vocabulary import Indication, Laterality


@dataclass(frozen=True)
class StoredFile:
    received: intake.ReceivedFile
    checked: intake.CheckedImage


def patient_for(*, actor: Actor, site: Site, identity: Identity) -> Patient:
    """The patient with this id and issuer; blanks of the record are filled, nothing is changed.

    Raises ``IdentityMismatch`` where the record has another date of birth: one of the two is
    the wrong patient, and a program must not choose.
    """
    patient, created = Patient.objects.get_or_create(
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
    indication: Indication | None,
) -> Case:
    """The case of this accession or study, or a new one.

    Raises ``AccessionConflict`` where it belongs to another patient, or where the study is
    already filed under another accession number.
    """
    known = _known_case(site, identity)
    if known is not None:
        if known.patient_id != patient.pk:
            raise AccessionConflict()
        _complete_case(actor, known, identity, indication)
        return known
    try:
        with transaction.atomic():
            case = Case.objects.create(
                site=site,
                patient=patient,
                accession_number=identity.accession_number,
                accession_issuer=identity.accession_issuer if identity.accession_number else "",
                study_instance_uid=identity.study_instance_uid,
                indication=indication.value if indication else "",
            )
    except IntegrityError:
        # Another delivery made the same case a moment ago: it is the known one now.
        known = _known_case(site, identity)
        if known is None or known.patient_id != patient.pk:
            raise AccessionConflict() from None
        return known
    audit_record(
        actor=actor,
        action="case.created",
        object_type="case",
        object_id=case.pk,
        site_id=site.pk,
        case_id=case.pk,
    )
    return case


def _known_case(site: Site, identity: Identity) -> Case | None:
    cases = Case.objects.select_for_update(of=("self",)).filter(site=site)
    by_study = None
    if identity.study_instance_uid:
        by_study = cases.filter(study_instance_uid=identity.study_instance_uid).first()
    if not identity.accession_number:
        return by_study
    by_accession = cases.filter(
        accession_issuer=identity.accession_issuer, accession_number=identity.accession_number
    ).first()
    if by_study is not None and by_study != by_accession:
        if by_accession is not None or by_study.accession_number:
            raise AccessionConflict(
                "This study is already filed under another accession number. "
                "Check the accession number."
            )
        return by_study
    return by_accession


def _complete_case(
    actor: Actor, case: Case, identity: Identity, indication: Indication | None
) -> None:
    told = {
        "accession_number": identity.accession_number,
        "accession_issuer": identity.accession_issuer if identity.accession_number else "",
        "study_instance_uid": identity.study_instance_uid,
        "indication": indication.value if indication else "",
    }
    changed = [name for name, value in told.items() if value and not getattr(case, name)]
    if case.accession_number:
        # Issuer and number go together: a known number keeps its own issuer.
        changed = [name for name in changed if name != "accession_issuer"]
    for name in changed:
        setattr(case, name, told[name])
    if changed:
        case.save(update_fields=changed)
        audit_record(
            actor=actor,
            action="case.completed",
            object_type="case",
            object_id=case.pk,
            site_id=case.site_id,
            case_id=case.pk,
            changed_fields=changed,
        )


def image_store(
    *,
    case: Case,
    submission: Submission,
    finding: Finding | None,
    position: int,
    laterality: Laterality,
    stored: StoredFile,
) -> Image:
    """An image row with its bytes (shared where the same bytes are stored already).

    Raises ``DuplicateOfOtherPatient`` where the same bytes are another patient's.
    """
    received, checked = stored.received, stored.checked
    twin = (
        Image.objects.filter(sha256=received.sha256)
        .select_related("case")
        .order_by("created_at", "id")
        .first()
    )
    if twin is not None and twin.case.patient_id != case.patient_id:
        raise DuplicateOfOtherPatient(file=received.name)
    name = blob_name(received.sha256)
    if twin is None and not uploads().exists(name):
        with open(received.path, "rb") as file:
            uploads().save(name, File(file))
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
        duplicate_of=_first_here(case, received.sha256) if twin else None,
        **_header_columns(checked, laterality),
    )
    if checked.frame_png is not None:
        frame_store(image=image, index=checked.frame, png=checked.frame_png)
    return image


def _first_here(case: Case, sha256: str) -> Image | None:
    """The first image with these bytes at the case's own site: another site's is not told."""
    here = Image.objects.filter(sha256=sha256, case__site_id=case.site_id)
    return here.order_by("created_at", "id").first()


def _header_columns(checked: intake.CheckedImage, laterality: Laterality) -> dict[str, Any]:
    dicom = checked.dicom
    if dicom is None:
        return {"laterality": laterality.value, "facts": checked.facts}
    spacing = dicom.spacing_mm
    technical = asdict(dicom)
    technical.pop("identity")
    side = laterality.value
    if laterality is Laterality.UNKNOWN and dicom.laterality:
        side = dicom.laterality
    return {
        "laterality": side,
        "study_instance_uid": dicom.study_instance_uid,
        "series_instance_uid": dicom.series_instance_uid,
        "sop_instance_uid": dicom.sop_instance_uid,
        "manufacturer": dicom.manufacturer[:64],
        "manufacturer_model": dicom.manufacturer_model[:64],
        "spacing_row_mm": spacing[0] if spacing else None,
        "spacing_col_mm": spacing[1] if spacing else None,
        "facts": technical,
    }
