"""Erasing a patient's data: bytes and identity go, a tombstone in ids and numbers stays."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from cases.access import Actor, Capability
from cases.errors import Erased, NotFound, PermissionDenied, StateConflict
from cases.models import (
    Case,
    Finding,
    FindingOutcome,
    Frame,
    FrozenPicture,
    IdentityOpening,
    Image,
    Job,
    Patient,
    PatientCorrection,
    PatientErasure,
    Reading,
    Result,
    ResultWithdrawal,
    Submission,
)
from cases.services.audit import audit_record
from cases.services.candidates import candidates_erase
from cases.services.locks import advisory_lock
from cases.services.moves import job_audit, jobs_move
from cases.services.review import reason_required
from cases.states import JOB, JobState
from cases.storage import bytes_lock, uploads

CHANGED = "What would be erased has changed since the page was drawn. Look at the numbers again."


@dataclass(frozen=True)
class ErasurePlan:
    """What an erasure would take, in numbers. ``token`` changes whenever they or the ids do."""

    patient: Patient
    case_ids: tuple[UUID, ...]
    image_ids: tuple[UUID, ...]
    # SHA-256 of the patient's files and frames: the names of the locks on their bytes.
    hashes: frozenset[str]
    # Names in the storage that belong to these images.
    names: frozenset[str]
    counts: dict[str, int]

    @property
    def token(self) -> str:
        seen = (self.case_ids, self.image_ids, sorted(self.names), sorted(self.counts.items()))
        return hashlib.sha256(repr(seen).encode()).hexdigest()[:16]


def erasure_plan(*, actor: Actor, case_id: UUID) -> ErasurePlan:
    """What erasing the patient of this case would take. Nothing is changed.

    ``NotFound`` at another site, ``Erased`` where it was done, ``PermissionDenied`` without ERASE.
    """
    actor.require(Capability.ERASE)
    cases = Case.objects.filter(pk=case_id, site_id=actor.own_site)
    case = cases.select_related("patient").first()
    if case is None:
        raise NotFound()
    if case.patient.erased_at is not None:
        raise Erased()
    return _plan(case.patient)


@transaction.atomic
def patient_erase(*, actor: Actor, case_id: UUID, reason: str, token: str) -> PatientErasure:
    """The patient of this case -> erased, for good.

    Deletes files, frames, previews, heatmaps and drafts; empties identity, file names, UIDs,
    header facts and every free text; cancels what waits or runs (PENDING | RUNNING -> CANCELLED).
    Rows stay with their ids, and with them scores, categories and outcomes. Bytes that another
    patient's record shares stay with that record.

    ``token`` is that of the plan somebody agreed to: ``StateConflict`` where it would be another
    by now. ``FieldInvalid`` without a reason, ``NotFound``, ``Erased``, and ``PermissionDenied``
    without ERASE or for a token: it takes a person at the portal.
    """
    if actor.user_id is None or actor.token_id is not None:
        raise PermissionDenied("Erasing takes a person at the portal.")
    seen = erasure_plan(actor=actor, case_id=case_id)
    why = reason_required(reason)
    for name in sorted(seen.hashes):
        # As submissions do, and before any row, as they do: no delivery may rely on these bytes
        # between our look at who else needs them and their end.
        advisory_lock("bytes", name, wait=True)
    patient = Patient.objects.select_for_update().get(pk=seen.patient.pk)
    if patient.erased_at is not None:
        raise Erased()
    list(Case.objects.select_for_update().filter(patient=patient).order_by("pk"))
    plan = _plan(patient)
    if plan.token != token or not plan.hashes <= seen.hashes or case_id not in plan.case_ids:
        raise StateConflict(CHANGED)
    # Jobs before images, as a worker locks them when it stores an answer.
    _cancel_jobs(actor, plan)
    list(Image.objects.select_for_update().filter(case__patient=patient).order_by("pk"))
    if _plan(patient).names != plan.names or _active_jobs(list(plan.image_ids)).exists():
        # Somebody asked for another frame or a replay at this very moment.
        raise StateConflict(CHANGED)
    _blank(patient, plan)
    candidates_erase(actor=actor, case_ids=plan.case_ids)
    _delete_bytes(plan)
    erasure = PatientErasure.objects.create(
        patient=patient,
        site_id=patient.site_id,
        reason=why,
        counts=plan.counts,
        ids={
            "cases": [str(pk) for pk in plan.case_ids],
            "images": [str(pk) for pk in plan.image_ids],
        },
        erased_by_id=actor.user_id,
    )
    _audit(actor, patient, plan)
    return erasure


def _plan(patient: Patient) -> ErasurePlan:
    cases = list(patient.cases.order_by("pk").values_list("pk", flat=True))
    images = list(Image.objects.filter(case_id__in=cases).order_by("pk"))
    ids = [image.pk for image in images]
    frames = list(Frame.objects.filter(image_id__in=ids))
    results = Result.objects.filter(image_id__in=ids)
    readings = Reading.objects.filter(case_id__in=cases)
    counts = {
        "cases": len(cases),
        "images": len(images),
        "frames": len(frames),
        "bytes": sum({image.sha256: image.size for image in images}.values()),
        "results": results.count(),
        "heatmaps": results.filter(heatmap__isnull=False).count(),
        "readings": readings.filter(signed_at__isnull=False).count(),
        "drafts": readings.filter(signed_at__isnull=True).count(),
        "findings": Finding.objects.filter(case_id__in=cases).count(),
        "outcomes": FindingOutcome.objects.filter(case_id__in=cases).count(),
        # They stay in the folders of snapshots, and nobody is shown them or trains on them.
        "frozen": FrozenPicture.objects.filter(candidate__image_id__in=ids).count(),
        "jobs_waiting": _active_jobs(ids).count(),
    }
    previews = {f"previews/{i.sha256}-{index}.png" for i in images for index in range(i.frames)}
    stored = {image.storage_name for image in images} | {frame.storage_name for frame in frames}
    return ErasurePlan(
        patient=patient,
        case_ids=tuple(cases),
        image_ids=tuple(ids),
        hashes=frozenset({i.sha256 for i in images} | {frame.sha256 for frame in frames}),
        names=frozenset(stored | previews),
        counts=counts,
    )


def _active_jobs(image_ids: list[UUID]) -> QuerySet[Job]:
    about = (
        Q(image_id__in=image_ids)
        | Q(replay_of__image_id__in=image_ids)
        | Q(shadow_of__image_id__in=image_ids)
    )
    return Job.objects.filter(about, state__in=[state.value for state in JOB.active])


def _cancel_jobs(actor: Actor, plan: ErasurePlan) -> None:
    moved = jobs_move(
        _active_jobs(list(plan.image_ids)).values_list("pk", flat=True),
        to=JobState.CANCELLED,
        sources=frozenset(JOB.active),
        actor=actor,
        reason="the patient's data is erased",
    )
    for job in moved:
        job_audit(actor, job, "job.cancelled")


def _blank(patient: Patient, plan: ErasurePlan) -> None:
    """Identity and free text, in every table that has any. The patient first: the database lets
    append-only rows be emptied only once it is marked as erased."""
    Patient.objects.filter(pk=patient.pk).update(
        patient_id="", issuer="", name="", birth_date=None, sex="", erased_at=Now()
    )
    cases, images = list(plan.case_ids), list(plan.image_ids)
    Case.objects.filter(pk__in=cases).update(
        accession_number="", accession_issuer="", study_instance_uid=""
    )
    Submission.objects.filter(case_id__in=cases).update(
        skipped=[], override_reason="", fingerprint="", idempotency_key=""
    )
    Image.objects.filter(pk__in=images).update(
        file_name="",
        sha256="",
        storage_name="",
        study_instance_uid="",
        series_instance_uid="",
        sop_instance_uid="",
        facts={},
        phash=None,
    )
    Frame.objects.filter(image_id__in=images).delete()
    Reading.objects.filter(case_id__in=cases, signed_at__isnull=True).delete()
    Reading.objects.filter(case_id__in=cases).exclude(text="").update(text="")
    FindingOutcome.objects.filter(case_id__in=cases).exclude(reason="").update(reason="")
    ResultWithdrawal.objects.filter(case_id__in=cases).exclude(reason="").update(reason="")
    IdentityOpening.objects.filter(case_id__in=cases).exclude(reason="").update(reason="")
    # Also of cases that were under this patient for a while: their reasons speak of both records.
    under = Q(from_patient=patient) | Q(to_patient=patient)
    moved = PatientCorrection.objects.filter(Q(case_id__in=cases) | under)
    moved.exclude(reason="").update(reason="")
    Result.objects.filter(image_id__in=images, heatmap__isnull=False).update(heatmap=None)


def _delete_bytes(plan: ErasurePlan) -> None:
    """The bytes that no other record needs. Their rows have let go of them by now.

    Who relies on the same bytes for another record without "bytes" locks (another frame of a cine)
    has them held until that record is there: waited for before it is asked who needs them.
    """
    for name in sorted(plan.names):
        advisory_lock(*bytes_lock(name), wait=True)
    still = set(Image.objects.filter(sha256__in=plan.hashes).values_list("sha256", flat=True))
    needed = set(
        Image.objects.filter(storage_name__in=plan.names).values_list("storage_name", flat=True)
    ) | set(
        Frame.objects.filter(storage_name__in=plan.names).values_list("storage_name", flat=True)
    )
    unneeded = sorted(plan.names - needed)
    uploads().delete_all([name for name in unneeded if _hash_in(name) not in still])


def _hash_in(name: str) -> str:
    return name.removeprefix("previews/").rpartition("-")[0]


def _audit(actor: Actor, patient: Patient, plan: ErasurePlan) -> None:
    audit_record(
        actor=actor,
        action="patient.erased",
        object_type="patient",
        object_id=patient.pk,
        site_id=patient.site_id,
        changed_fields=["patient_id", "issuer", "name", "birth_date", "sex"],
        detail=dict[str, Any](plan.counts),
    )
    for case_id in plan.case_ids:
        audit_record(
            actor=actor,
            action="case.erased",
            object_type="case",
            object_id=case_id,
            site_id=patient.site_id,
            case_id=case_id,
            changed_fields=["accession_number", "accession_issuer", "study_instance_uid"],
            detail={"patient": str(patient.pk)},
        )
