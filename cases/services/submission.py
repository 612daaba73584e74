"""Taking in a delivery of files: everything is stored, or nothing is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Max
from django.db.models.functions import Now

from cases import intake
from cases.access import Actor, ActorKind, Capability
from cases.errors import (
    FILE_ERROR_CODES,
    FieldInvalid,
    FileTooLarge,
    IdempotencyConflict,
    PermissionDenied,
    StateConflict,
    UserFacingError,
)
from cases.intake.upload import HashedUploadedFile, received
from cases.models import Case, Finding, Site, Submission
from cases.services.audit import audit_record
from cases.services.fields import SubmissionFields
from cases.services.filing import StoredFile, case_for, image_store, patient_for
from cases.services.identity import Identity, identity_merge
from cases.services.jobs import inference_jobs_create, live_model
from cases.services.limits import limits
from cases.vocabulary import OnBadFile, PriorityRank

IDEMPOTENCY_LIFE = timedelta(hours=24)


@dataclass(frozen=True)
class Upload:
    """A file as it came in: hashed while streaming, not yet looked at."""

    received: intake.ReceivedFile
    too_large: bool = False


def upload_of(file: HashedUploadedFile) -> Upload:
    """An HTTP upload (request.FILES) as this service takes it; the caller closes the file.

    Raises ``Overloaded`` where the disk had no room for the bytes.
    """
    if file.too_large:
        counted = intake.ReceivedFile(
            name=file.display_name,
            path=Path(file.temporary_file_path()),
            size=file.size or 0,
            sha256=file.sha256,
        )
        return Upload(counted, too_large=True)
    return Upload(received(file))


@dataclass(frozen=True)
class Checked:
    upload: Upload
    image: intake.CheckedImage


@dataclass
class _Sorted:
    good: list[Checked] = field(default_factory=list)
    skipped: list[dict[str, str]] = field(default_factory=list)


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
    token (or user) used within 24 h the earlier submission is returned, if fields and file
    hashes are the same; else ``IdempotencyConflict``; ``StateConflict`` while the first is still
    in progress. ``override_reason`` keeps the form where a DICOM header disagrees (people at the
    portal only). Raises the codes of the contract; a file's error names the file.
    """
    actor.require(Capability.SUBMIT)
    if override_reason and actor.kind is ActorKind.TOKEN:
        raise PermissionDenied("Only a person at the portal can keep the form over the header.")
    if not uploads:
        raise FieldInvalid(errors={"file": ["Choose at least one file."]})
    owner = actor.token_id or actor.user_id
    fingerprint = _fingerprint(fields, uploads, override_reason)
    if idempotency_key:
        earlier = _earlier(owner, idempotency_key, fingerprint)
        if earlier is not None:
            return earlier
    live_model()
    site = Site.objects.get(pk=actor.own_site)
    sorted_files = _inspect_all(uploads, fields.on_bad_file)
    identity = _identity(site, fields, sorted_files.good, override_reason)
    return _store(
        actor=actor,
        site=site,
        fields=fields,
        identity=identity,
        files=sorted_files,
        owner=owner,
        idempotency_key=idempotency_key,
        fingerprint=fingerprint,
        override_reason=override_reason,
    )


def _fingerprint(fields: SubmissionFields, uploads: Sequence[Upload], reason: str) -> str:
    content = {
        "fields": fields.canonical(),
        "files": [upload.received.sha256 for upload in uploads],
        "override": reason,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def advisory_lock(*parts: str, wait: bool) -> bool:
    """A lock on a name until this transaction ends. False where ``wait`` is off and it is taken."""
    digest = hashlib.sha256("\0".join(parts).encode()).digest()
    number = int.from_bytes(digest[:8], "big", signed=True)
    with connection.cursor() as cursor:
        if wait:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [number])
            return True
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [number])
        row = cursor.fetchone()
        return bool(row and row[0])


def _earlier(owner: UUID | None, key: str, fingerprint: str) -> Submission | None:
    if not advisory_lock("idempotency", str(owner), key, wait=False):
        raise StateConflict(
            "A request with this Idempotency-Key is still in progress. Try again in a moment.",
            retry_after=1,
        )
    earlier = (
        Submission.objects.filter(
            idempotency_owner=owner,
            idempotency_key=key,
            created_at__gt=Now() - IDEMPOTENCY_LIFE,
        )
        .order_by("-created_at")
        .first()
    )
    if earlier is not None and earlier.fingerprint != fingerprint:
        raise IdempotencyConflict()
    return earlier


def _inspect_all(uploads: Sequence[Upload], on_bad_file: OnBadFile) -> _Sorted:
    """Decode every file in the sandbox; a bad one refuses all, or is skipped and reported."""
    files = _Sorted()
    first_error: UserFacingError | None = None
    for upload in uploads:
        try:
            if upload.too_large:
                megabytes = settings.BCWEB_MAX_UPLOAD_BYTES // 1024**2
                raise FileTooLarge(
                    f"The file is larger than the {megabytes} MB this service accepts."
                )
            files.good.append(Checked(upload, intake.inspect(upload.received, limits())))
        except UserFacingError as error:
            error.file = upload.received.name
            if error.code not in FILE_ERROR_CODES or on_bad_file is OnBadFile.REJECT_ALL:
                raise
            first_error = first_error or error
            files.skipped.append(
                {"file": upload.received.name, "code": error.code, "detail": error.detail}
            )
    if not files.good and first_error is not None:
        raise first_error
    return files


def _identity(
    site: Site, fields: SubmissionFields, good: Sequence[Checked], override_reason: str
) -> Identity:
    """Form and headers as one identity. Disagreement is refused unless a person gave a reason."""
    identity = Identity.from_fields(fields)
    for checked in good:
        if checked.image.dicom is not None:
            identity = identity_merge(
                identity,
                checked.image.dicom,
                file=checked.upload.received.name,
                keep_form=bool(override_reason),
            )
    if not identity.patient_id:
        raise FieldInvalid(
            errors={"patient_id": ["Enter the patient id; the file does not carry one."]}
        )
    issuer = identity.patient_issuer or site.patient_issuer
    return replace(identity, patient_issuer=issuer)


def _store(
    *,
    actor: Actor,
    site: Site,
    fields: SubmissionFields,
    identity: Identity,
    files: _Sorted,
    owner: UUID | None,
    idempotency_key: str,
    fingerprint: str,
    override_reason: str,
) -> Submission:
    # In one order for everybody: two deliveries of the same bytes at once must see each other.
    for sha256 in sorted({checked.upload.received.sha256 for checked in files.good}):
        advisory_lock("bytes", sha256, wait=True)
    patient = patient_for(actor=actor, site=site, identity=identity)
    case = case_for(
        actor=actor, site=site, patient=patient, identity=identity, indication=fields.indication
    )
    finding = _finding_for(case, fields)
    submission = Submission.objects.create(
        site=site,
        case=case,
        user_id=actor.user_id,
        token_id=actor.token_id,
        idempotency_owner=owner,
        idempotency_key=idempotency_key,
        fingerprint=fingerprint,
        skipped=files.skipped,
        override_reason=override_reason,
    )
    images = [
        image_store(
            case=case,
            submission=submission,
            finding=finding,
            position=position,
            laterality=fields.laterality,
            stored=StoredFile(checked.upload.received, checked.image),
        )
        for position, checked in enumerate(files.good)
    ]
    audit_record(
        actor=actor,
        action="submission.created",
        object_type="submission",
        object_id=submission.pk,
        site_id=site.pk,
        case_id=case.pk,
        changed_fields=_given(fields),
        detail=_audit_detail(images_n=len(images), files=files, reason=override_reason),
    )
    inference_jobs_create(
        actor=actor,
        images=images,
        priority=PriorityRank[fields.priority.name],
        submission=submission,
    )
    return submission


def _given(fields: SubmissionFields) -> list[str]:
    return sorted(name for name, value in fields.canonical().items() if value)


def _audit_detail(*, images_n: int, files: _Sorted, reason: str) -> dict[str, Any]:
    detail: dict[str, Any] = {
        "images": images_n,
        "skipped": [skipped["code"] for skipped in files.skipped],
    }
    if reason:
        # The reason itself is free text: it stays with the submission, out of the trail.
        detail["identity_override"] = True
    return detail


def _finding_for(case: Case, fields: SubmissionFields) -> Finding | None:
    """The finding the fields point at: the case's own one at this place, or a new one."""
    if not fields.has_location:
        return None
    place = {
        "laterality": fields.laterality.value,
        "clock_position": fields.clock_position,
        "quadrant": fields.quadrant.value if fields.quadrant else "",
        "nipple_distance_mm": fields.nipple_distance_mm,
    }
    known = Finding.objects.filter(case=case, **place).first()
    if known is not None:
        return known
    last = Finding.objects.filter(case=case).aggregate(last=Max("number"))["last"] or 0
    return Finding.objects.create(case=case, number=last + 1, **place)
