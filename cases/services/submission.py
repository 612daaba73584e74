"""Taking in a delivery of files: everything is stored, or nothing is."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.db import transaction

from cases.access import Actor, ActorKind, Capability
from cases.errors import FieldInvalid, PermissionDenied
from cases.models import Site, Submission
from cases.services.audit import audit_record
from cases.services.candidates import candidates_refresh
from cases.services.fields import SubmissionFields, reason_check
from cases.services.filing import case_for, image_store, issuer_for, patient_for
from cases.services.idempotency import request_fingerprint, submission_earlier
from cases.services.identity import Header, Identity, Told, identity_told
from cases.services.jobs import inference_jobs_create, live_model
from cases.services.locks import advisory_lock
from cases.services.places import finding_for, side_of
from cases.services.room import disk_full_is_overloaded, room_require
from cases.services.uploads import Checked, SortedFiles, Upload, inspect_all, upload_of
from cases.vocabulary import Laterality, PriorityRank

__all__ = ["Upload", "submission_create", "upload_of"]


@dataclass(frozen=True)
class _Delivery:
    """A checked delivery, ready to be stored."""

    fields: SubmissionFields
    told: Told
    files: SortedFiles
    sides: tuple[Laterality, ...]
    # Fields in which a person kept the form over a DICOM header, and why.
    overridden: tuple[str, ...]
    override_reason: str


@disk_full_is_overloaded()
@transaction.atomic
def submission_create(
    *,
    actor: Actor,
    fields: SubmissionFields,
    uploads: Sequence[Upload],
    idempotency_key: str = "",
    override_reason: str = "",
) -> Submission:
    """Check and store a delivery: case, images, bytes, a PENDING job each, audit; ring on commit.

    One transaction: a refusal leaves no row, byte or job. With an ``idempotency_key`` that this
    token (or user) used within 24 h the earlier submission is returned, if fields and files are
    the same; else ``IdempotencyConflict``; ``StateConflict`` while the first is still in
    progress; ``Overloaded`` where there is no room for more work (`room_require`) or the disk fills
    up meanwhile. ``override_reason`` keeps what the form tells where a DICOM header disagrees
    (people at the portal only). Raises the codes of the contract; a file's error names the file.

    The transaction is open while files are decoded, so that the key stays taken; it has written
    nothing by then and holds no row.
    """
    actor.require(Capability.SUBMIT)
    reason = reason_check(override_reason)
    if reason and actor.kind is ActorKind.TOKEN:
        raise PermissionDenied("Only a person at the portal can keep the form over the header.")
    if not uploads:
        raise FieldInvalid(errors={"file": ["Choose at least one file."]})
    fingerprint = request_fingerprint(fields, uploads, reason)
    if idempotency_key:
        owner = actor.token_id or actor.user_id
        earlier = submission_earlier(owner, idempotency_key, fingerprint)
        if earlier is not None:
            return earlier
    room_require(priority=PriorityRank[fields.priority.name])
    live_model()
    site = Site.objects.get(pk=actor.own_site)
    delivery = _check(site, fields, inspect_all(uploads, fields.on_bad_file), reason)
    return _store(
        actor=actor, site=site, delivery=delivery, key=idempotency_key, fingerprint=fingerprint
    )


def _check(site: Site, fields: SubmissionFields, files: SortedFiles, reason: str) -> _Delivery:
    """Form and headers brought together. Disagreement is refused unless a person gave a reason."""
    headers = [
        Header(position, checked.name, checked.image.dicom)
        for position, checked in enumerate(files.good)
        if checked.image.dicom is not None
    ]
    told = identity_told(Identity.from_fields(fields), headers, keep_form=bool(reason))
    if not fields.patient_id:
        _each_names_its_patient(files.good)
    if len(told.studies) > 1 and not told.identity.accession_number:
        sentence = "The files belong to several studies: enter the accession number of the case."
        raise FieldInvalid(sentence, errors={"accession_number": [sentence]})
    sides = tuple(side_of(fields, checked, keep_form=bool(reason)) for checked in files.good)
    overridden = set(told.overridden)
    if any(_overrules(fields, checked) for checked in files.good):
        overridden.add("laterality")
    return _Delivery(
        fields=fields,
        told=told,
        files=files,
        sides=sides,
        overridden=tuple(sorted(overridden)),
        override_reason=reason if overridden else "",
    )


def _each_names_its_patient(good: Sequence[Checked]) -> None:
    """Without a patient id in the form no file may be filed under another file's patient."""
    for checked in good:
        dicom = checked.image.dicom
        if dicom is None or not dicom.identity.patient_id:
            raise FieldInvalid(
                "Enter the patient id; this file does not carry one.",
                file=checked.name,
                errors={"patient_id": ["Enter the patient id; a file does not carry one."]},
            )


def _overrules(fields: SubmissionFields, checked: Checked) -> bool:
    told = checked.image.dicom.laterality if checked.image.dicom else ""
    return {fields.laterality.value, told} == {Laterality.LEFT.value, Laterality.RIGHT.value}


def _store(
    *, actor: Actor, site: Site, delivery: _Delivery, key: str, fingerprint: str
) -> Submission:
    fields, files = delivery.fields, delivery.files
    for name in sorted({name for checked in files.good for name in _byte_names(checked)}):
        # In one order for everybody: deliveries of the same bytes at once must see each other.
        advisory_lock("bytes", name, wait=True)
    identity = delivery.told.identity
    identity = replace(identity, patient_issuer=issuer_for(site=site, identity=identity))
    patient = patient_for(actor=actor, site=site, identity=identity)
    case = case_for(
        actor=actor,
        site=site,
        patient=patient,
        identity=identity,
        studies=delivery.told.studies,
        indication=fields.indication,
    )
    submission = Submission.objects.create(
        site=site,
        case=case,
        user_id=actor.user_id,
        token_id=actor.token_id,
        idempotency_owner=actor.token_id or actor.user_id,
        idempotency_key=key,
        fingerprint=fingerprint,
        skipped=files.skipped,
        override_reason=delivery.override_reason,
    )
    images = [
        image_store(
            case=case,
            submission=submission,
            finding=finding_for(case, fields, side),
            position=position,
            side=side,
            file=checked,
            overruled=position in delivery.told.overruled,
        )
        for position, (checked, side) in enumerate(zip(files.good, delivery.sides, strict=True))
    ]
    audit_record(
        actor=actor,
        action="submission.created",
        object_type="submission",
        object_id=submission.pk,
        site_id=site.pk,
        case_id=case.pk,
        changed_fields=fields.given(),
        detail=_audit_detail(delivery, len(images)),
    )
    if any(image.finding_id for image in images):
        # Perhaps of one whose outcome is known.
        candidates_refresh(actor=actor, case=case)
    inference_jobs_create(
        actor=actor,
        images=images,
        priority=PriorityRank[fields.priority.name],
        submission=submission,
    )
    return submission


def _byte_names(checked: Checked) -> list[str]:
    png = checked.image.frame_png
    frame = [hashlib.sha256(png).hexdigest()] if png is not None else []
    return [checked.upload.received.sha256, *frame]


def _audit_detail(delivery: _Delivery, images: int) -> dict[str, Any]:
    detail: dict[str, Any] = {
        "images": images,
        "skipped": [skipped["code"] for skipped in delivery.files.skipped],
    }
    if delivery.overridden:
        # The reason itself is free text: it stays with the submission, out of the trail.
        detail["overridden"] = list(delivery.overridden)
    return detail
