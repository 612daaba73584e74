"""The worker's side of a freeze: claim, heartbeat, draw a picture, store, give back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Coalesce, Now

from cases import queue
from cases.access import Actor
from cases.errors import Erased
from cases.models import (
    FrozenPicture,
    Image,
    Job,
    Patient,
    PatientPartition,
    SnapshotFreeze,
    TrainingCandidate,
    TrainingSnapshot,
)
from cases.services.audit import audit_record
from cases.services.clock import clock_now
from cases.services.curation import crop, curation_lock
from cases.services.freeze_selection import (
    CannotFreezeError,
    FreezeItem,
    FreezeSelection,
    freeze_select,
)
from cases.services.leases import job_fence_to_succeeded, lease_end
from cases.services.locks import advisory_lock
from cases.services.moves import jobs_move
from cases.services.patient_keys import patient_key_id
from cases.services.previews import frame_png
from cases.services.snapshots import snapshot_register
from cases.states import JobState
from cases.vocabulary import MODEL_LINE, JobKind


def _changed() -> CannotFreezeError:
    return CannotFreezeError(
        "selection_changed",
        "What was accepted, or who takes part, changed while the pictures were being made.",
        transient=True,
    )


@dataclass(frozen=True)
class FreezeClaim:
    """A freeze in a worker's hands: the fence is the pair of id and attempt."""

    freeze: SnapshotFreeze
    attempt: int

    @property
    def job_id(self) -> UUID:
        job_id: UUID = self.freeze.job_id
        return job_id


@dataclass(frozen=True)
class KeptPicture:
    """A picture that made it into the snapshot, by the SHA-256 of its file."""

    item: FreezeItem
    sha256: str


@transaction.atomic
def freeze_claim(*, actor: Actor) -> FreezeClaim | None:
    """PENDING -> RUNNING for the freeze that waits longest; None where none does or one runs."""
    advisory_lock("freeze-claim", wait=True)
    freezes = Job.objects.filter(kind=JobKind.FREEZE)
    if freezes.filter(state=JobState.RUNNING).exists():
        return None
    job = (
        freezes.filter(state=JobState.PENDING, available_at__lte=Now())
        .select_for_update(skip_locked=True, of=("self",))
        .order_by("due_at", "id")
        .first()
    )
    if job is None:
        return None
    (moved,) = jobs_move(
        [job.pk],
        to=JobState.RUNNING,
        sources=frozenset({JobState.PENDING}),
        actor=actor,
        worker=actor.label[:120],
        attempt=F("attempt") + 1,
        lease_expires_at=lease_end(),
        started_at=Coalesce(F("started_at"), Now()),
    )
    freeze = SnapshotFreeze.objects.select_related("job__site").get(pk=moved.pk)
    return FreezeClaim(freeze, moved.attempt)


def freeze_heartbeat(*, claim: FreezeClaim, done: int, of: int) -> bool:
    """Extend the lease and tell how many pictures are made; False where it is no longer held."""
    # RUNNING stays RUNNING: no move, so no event.
    held = Job.objects.filter(pk=claim.job_id, attempt=claim.attempt, state=JobState.RUNNING)
    return bool(held.update(lease_expires_at=lease_end(), progress={"done": done, "of": of}))


@transaction.atomic
def freeze_release(*, actor: Actor, claim: FreezeClaim, reason: str) -> None:
    """RUNNING -> PENDING for a freeze whose worker must stop; it gets another attempt instead."""
    jobs_move(
        [claim.job_id],
        to=JobState.PENDING,
        sources=frozenset({JobState.RUNNING}),
        actor=actor,
        reason=reason,
        fence=claim.attempt,
        worker="",
        max_attempts=F("max_attempts") + 1,
        available_at=Now(),
    )
    queue.ring_on_commit(kind=JobKind.FREEZE, job_ids=[claim.job_id])


def freeze_picture(*, item: FreezeItem) -> bytes:
    """The accepted part of an image as a PNG without metadata.

    Raises ``CannotFreezeError`` where its patient's data was erased since it was selected, and
    ``OSError`` where the stored bytes are damaged.
    """
    image = Image.objects.select_related("case__patient").get(pk=item.image_id)
    try:
        return crop(frame_png(image=image, index=image.frame), item.box)
    except (Erased, FileNotFoundError):
        image.case.patient.refresh_from_db()
        if image.case.patient.erased_at is not None:
            raise _changed() from None
        raise


@transaction.atomic
def freeze_store(
    *,
    actor: Actor,
    claim: FreezeClaim,
    selection: FreezeSelection,
    kept: Iterable[KeptPicture],
    dropped: Mapping[str, int],
    document: Mapping[str, Any],
    content: bytes,
    data_root: str,
) -> TrainingSnapshot | None:
    """RUNNING -> SUCCEEDED with the snapshot, for the holder of the attempt; else None.

    Every patient of a kept picture is on the snapshot's side from now on. Raises
    ``CannotFreezeError`` (``selection_changed``, may be tried again) where a decision, a patient's
    part in research, or what is locked has changed since ``selection``.
    """
    kept = list(kept)
    # First the fence: its row lock keeps the sweeper away while we wait for others.
    job = job_fence_to_succeeded(actor=actor, job_id=claim.job_id, attempt=claim.attempt)
    if job is None:
        return None
    freeze = SnapshotFreeze.objects.select_related("job__site").get(pk=claim.job_id)
    _still(freeze, selection, kept)
    snapshot, _ = snapshot_register(
        actor=actor,
        document=document,
        content=content,
        name=freeze.name,
        data_root=data_root,
        role=freeze.role,
        made_by=freeze.requested_by,
        site_id=job.site_id,
    )
    if snapshot.role != freeze.role:
        raise CannotFreezeError("same_as_another", "A snapshot of the same pictures is there.")
    _sides_store(freeze, kept)
    FrozenPicture.objects.bulk_create(_frozen(freeze, picture) for picture in kept)
    left_out = {**selection.left_out, **{why: n for why, n in dropped.items() if n}}
    SnapshotFreeze.objects.filter(pk=freeze.pk).update(snapshot=snapshot, left_out=left_out)
    audit_record(
        actor=actor,
        action="freeze.succeeded",
        object_type="freeze",
        object_id=freeze.pk,
        site_id=job.site_id,
        changed_fields=["state"],
        detail={
            "snapshot": snapshot.pk,
            "role": freeze.role,
            "images": len(kept),
            "left_out": left_out,
        },
    )
    return snapshot


def _still(freeze: SnapshotFreeze, selection: FreezeSelection, kept: list[KeptPicture]) -> None:
    """Hold everything the selection rests on until the transaction ends, and look again.

    Patients before candidates, as an erasure locks them.
    """
    # Nobody locks or asks to train from a snapshot meanwhile; no freeze of another site decides
    # about the same patients.
    advisory_lock("training", MODEL_LINE, wait=True)
    advisory_lock("freeze-store", wait=True)
    curation_lock(freeze.job.site_id)
    images = [picture.item.image_id for picture in kept]
    patients = Patient.objects.filter(cases__images__in=images).order_by("pk")
    pks = sorted(set(patients.values_list("pk", flat=True)))
    list(Patient.objects.select_for_update(no_key=True).filter(pk__in=pks).order_by("pk"))
    candidates = TrainingCandidate.objects.filter(image_id__in=images).order_by("pk")
    list(candidates.select_for_update(no_key=True, of=("self",)))
    if not freeze_select(freeze).holds((p.item for p in kept), selection.against):
        raise _changed()


def _sides_store(freeze: SnapshotFreeze, kept: list[KeptPicture]) -> None:
    keys = {picture.item.patient_key for picture in kept}
    known = set(PatientPartition.objects.filter(pk__in=keys).values_list("pk", flat=True))
    key_id = patient_key_id()
    PatientPartition.objects.bulk_create(
        PatientPartition(
            patient_key=key, role=freeze.role, key_id=key_id, freeze=freeze, at=clock_now()
        )
        for key in sorted(keys - known)
    )


def _frozen(freeze: SnapshotFreeze, picture: KeptPicture) -> FrozenPicture:
    item = picture.item
    return FrozenPicture(
        freeze=freeze,
        candidate_id=item.candidate_id,
        outcome_id=item.outcome_id,
        patient_key=item.patient_key,
        role=freeze.role,
        label=item.label,
        basis=item.basis,
        sha256=picture.sha256,
        at=clock_now(),
    )
