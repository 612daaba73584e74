"""Every move of a job: create, claim, heartbeat, finish, release, cancel, rerun, sweep.

All times are the database's: a worker with a wrong clock cannot hold or lose a lease by it.
``_move`` is the one function that changes a state.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import F, Value
from django.db.models.functions import Coalesce, Now

from cases import queue
from cases.access import Actor, Capability
from cases.errors import NotFound, Overloaded, StateConflict
from cases.models import Image, Job, JobEvent, ModelVersion, Submission
from cases.services.audit import audit_record
from cases.services.frames import frame_ensure
from cases.states import JOB, JobState, ModelState
from cases.vocabulary import JobKind, PriorityRank

# How long a job may be overtaken by later ones of higher priority (docs/adr/0003).
GRACE: dict[PriorityRank, timedelta] = {
    PriorityRank.STAT: timedelta(0),
    PriorityRank.URGENT: timedelta(minutes=10),
    PriorityRank.ROUTINE: timedelta(minutes=60),
}
RETRY_PAUSE = timedelta(seconds=3)


@dataclass(frozen=True)
class Claim:
    """One job in a worker's hands: the fence is the pair of id and attempt."""

    job_id: UUID
    attempt: int
    image_id: UUID
    frame: int
    storage_name: str
    model_version_id: UUID
    request_id: str


def _move(
    job_ids: Iterable[UUID],
    *,
    to: JobState,
    sources: frozenset[JobState],
    actor: Actor,
    reason: str = "",
    fence: int | None = None,
    **changes: Any,
) -> list[Job]:
    """Move those of ``job_ids`` that are in ``sources`` (and at attempt ``fence``) to ``to``.

    A conditional UPDATE: whoever comes second moves nothing. Writes a `JobEvent` per moved job
    in the same transaction. Returns the moved jobs as they are now. Raises ``ValueError`` for a
    move the lifecycle does not know.
    """
    for source in sources:
        if not JOB.allows(source, to):
            raise ValueError(f"job: {source} -> {to} is not a legal move")
    with transaction.atomic():
        rows = Job.objects.select_for_update().filter(pk__in=list(job_ids), state__in=sources)
        if fence is not None:
            rows = rows.filter(attempt=fence)
        before = {row.pk: row.state for row in rows.order_by("pk")}
        if not before:
            return []
        changes["lease_expires_at"] = changes.get("lease_expires_at")
        if to in JOB.final:
            changes["finished_at"] = Now()
        Job.objects.filter(pk__in=before).update(state=to, **changes)
        moved = list(Job.objects.filter(pk__in=before))
        _record(moved, before, actor=actor, reason=reason)
        return moved


def _record(moved: Sequence[Job], before: dict[UUID, str], *, actor: Actor, reason: str) -> None:
    JobEvent.objects.bulk_create(
        JobEvent(
            job=job,
            from_state=before.get(job.pk, ""),
            to_state=job.state,
            attempt=job.attempt,
            actor=actor.label,
            reason=reason[:500],
            request_id=actor.request_id or job.request_id,
        )
        for job in moved
    )


def live_model() -> ModelVersion:
    """The ACTIVE model. Raises ``Overloaded`` (503) where none is live."""
    model = ModelVersion.objects.filter(state=ModelState.ACTIVE).first()
    if model is None:
        raise Overloaded("No model is live at the moment. Nothing was taken in.")
    return model


@transaction.atomic
def inference_jobs_create(
    *,
    actor: Actor,
    images: Sequence[Image],
    priority: PriorityRank,
    submission: Submission | None,
    frame: int | None = None,
    rerun_of: Job | None = None,
) -> list[Job]:
    """A PENDING job per image for the live model; rings on commit.

    ``frame`` None: each image's representative frame. Raises ``StateConflict`` where such a job
    is waiting or running already.
    """
    model = live_model()
    jobs = [
        Job(
            kind=JobKind.INFERENCE,
            site_id=image.case.site_id,
            submission=submission,
            image=image,
            frame=image.frame if frame is None else frame,
            model_version=model,
            rerun_of=rerun_of,
            priority=priority,
            due_at=Now() + Value(GRACE[priority]),
            max_attempts=settings.BCWEB_MAX_ATTEMPTS,
            request_id=actor.request_id,
        )
        for image in images
    ]
    try:
        with transaction.atomic():
            Job.objects.bulk_create(jobs)
    except IntegrityError as error:
        raise StateConflict("This image is already waiting for an answer.") from error
    _record(jobs, {}, actor=actor, reason="")
    for job in jobs:
        audit_record(
            actor=actor,
            action="job.created",
            object_type="job",
            object_id=job.pk,
            site_id=job.site_id,
            case_id=job.image.case_id if job.image else None,
        )
    queue.ring_on_commit(
        kind=JobKind.INFERENCE, job_ids=[job.pk for job in jobs], priority=priority
    )
    return jobs


@transaction.atomic
def inference_jobs_claim(*, actor: Actor, limit: int) -> list[Claim]:
    """Take up to ``limit`` waiting jobs of one model, most due first: PENDING -> RUNNING.

    Rows another worker is taking are skipped. Returns what this worker now holds, for
    ``BCWEB_LEASE_SECONDS`` at a time.
    """
    waiting = Job.objects.filter(
        kind=JobKind.INFERENCE, state=JobState.PENDING, available_at__lte=Now()
    ).order_by("due_at", "id")
    rows = list(
        waiting.select_for_update(skip_locked=True, of=("self",)).values_list(
            "pk", "model_version_id"
        )[:limit]
    )
    if not rows:
        return []
    # One batch runs on one model; jobs of another version are the next batch.
    chosen = [pk for pk, model in rows if model == rows[0][1]]
    moved = _move(
        chosen,
        to=JobState.RUNNING,
        sources=frozenset({JobState.PENDING}),
        actor=actor,
        worker=actor.label[:120],
        attempt=F("attempt") + 1,
        lease_expires_at=Now() + Value(timedelta(seconds=settings.BCWEB_LEASE_SECONDS)),
        started_at=Coalesce(F("started_at"), Now()),
    )
    return _claims(moved, chosen)


def _claims(moved: Sequence[Job], order: Sequence[UUID]) -> list[Claim]:
    images = {
        image.pk: image
        for image in Image.objects.filter(
            pk__in=[job.image_id for job in moved if job.image_id]
        ).prefetch_related("frame_rows")
    }
    claims = []
    for job in sorted(moved, key=lambda job: order.index(job.pk)):
        assert job.image_id is not None and job.frame is not None
        assert job.model_version_id is not None
        image = images[job.image_id]
        frames = {frame.index: frame.storage_name for frame in image.frame_rows.all()}
        claims.append(
            Claim(
                job_id=job.pk,
                attempt=job.attempt,
                image_id=job.image_id,
                frame=job.frame,
                storage_name=frames.get(job.frame, image.storage_name),
                model_version_id=job.model_version_id,
                request_id=job.request_id,
            )
        )
    return claims


def jobs_heartbeat(*, claims: Sequence[Claim]) -> frozenset[UUID]:
    """Extend the leases still held. Returns the ids still held: the rest was taken or cancelled."""
    held: set[UUID] = set()
    lease = Now() + Value(timedelta(seconds=settings.BCWEB_LEASE_SECONDS))
    for claim in claims:
        # RUNNING stays RUNNING: no move, so no event.
        if Job.objects.filter(
            pk=claim.job_id, attempt=claim.attempt, state=JobState.RUNNING
        ).update(lease_expires_at=lease):
            held.add(claim.job_id)
    return frozenset(held)


@transaction.atomic
def job_fence_to_succeeded(*, actor: Actor, job_id: UUID, attempt: int) -> Job | None:
    """RUNNING -> SUCCEEDED for the holder of ``attempt``; None where another took over.

    Only `results.result_store` calls it, in the transaction that stores the result.
    """
    moved = _move(
        [job_id],
        to=JobState.SUCCEEDED,
        sources=frozenset({JobState.RUNNING}),
        actor=actor,
        fence=attempt,
    )
    return moved[0] if moved else None


@transaction.atomic
def job_fail(
    *, actor: Actor, job_id: UUID, attempt: int, code: str, detail: str, transient: bool
) -> JobState | None:
    """End an attempt that went wrong.

    ``transient`` and attempts left: RUNNING -> PENDING after a pause; else RUNNING -> FAILED
    with ``code`` and ``detail`` (no patient data). Returns the new state, or None where another
    attempt holds the job.
    """
    job = Job.objects.select_for_update().filter(pk=job_id).first()
    if job is None:
        return None
    again = transient and job.attempt < job.max_attempts
    moved = _move(
        [job_id],
        to=JobState.PENDING if again else JobState.FAILED,
        sources=frozenset({JobState.RUNNING}),
        actor=actor,
        reason=f"{code}: {detail}",
        fence=attempt,
        worker="",
        error_code=code[:40],
        error_detail=detail[:500],
        available_at=Now() + Value(RETRY_PAUSE * attempt),
    )
    if not moved:
        return None
    if not again:
        _audit_end(actor, moved[0], "job.failed", detail={"code": code})
    return JobState(moved[0].state)


@transaction.atomic
def jobs_release(*, actor: Actor, claims: Sequence[Claim], reason: str) -> None:
    """Give back jobs that were taken but not begun (shutdown): the attempt does not count."""
    for claim in claims:
        _move(
            [claim.job_id],
            to=JobState.PENDING,
            sources=frozenset({JobState.RUNNING}),
            actor=actor,
            reason=reason,
            fence=claim.attempt,
            worker="",
            attempt=F("attempt") - 1,
        )
    queue.ring_on_commit(kind=JobKind.INFERENCE, job_ids=[claim.job_id for claim in claims])


def _audit_end(actor: Actor, job: Job, action: str, detail: dict[str, Any] | None = None) -> None:
    audit_record(
        actor=actor,
        action=action,
        object_type="job",
        object_id=job.pk,
        site_id=job.site_id,
        case_id=job.image.case_id if job.image else None,
        changed_fields=["state"],
        detail=detail,
    )


def _job_for(actor: Actor, job_id: UUID) -> Job:
    jobs = Job.objects.select_related("image__case")
    if actor.site_id is not None:
        jobs = jobs.filter(site_id=actor.site_id)
    job = jobs.filter(pk=job_id).first()
    if job is None:
        raise NotFound()
    return job


@transaction.atomic
def job_cancel(*, actor: Actor, job_id: UUID) -> Job:
    """PENDING | RUNNING -> CANCELLED. A running attempt is fenced out and stores nothing.

    Twice is once: a cancelled job is returned as it is. ``StateConflict`` where the job has
    ended otherwise, ``NotFound`` at another site.
    """
    _require_any(actor, Capability.SUBMIT, Capability.OPERATE)
    job = _job_for(actor, job_id)
    moved = _move(
        [job_id],
        to=JobState.CANCELLED,
        sources=frozenset({JobState.PENDING, JobState.RUNNING}),
        actor=actor,
    )
    if moved:
        _audit_end(actor, moved[0], "job.cancelled")
        return moved[0]
    job.refresh_from_db()
    if job.state != JobState.CANCELLED:
        raise StateConflict(f"The job has already ended ({job.state}) and cannot be cancelled.")
    return job


@transaction.atomic
def job_rerun(*, actor: Actor, job_id: UUID, frame: int | None = None) -> Job:
    """A new PENDING job for the same image on the live model; the old one stays.

    ``frame``: another frame of a cine (its lossless picture is made now); None: the same one.

    ``StateConflict`` while the old one, or another for the same image, is waiting or running.
    """
    _require_any(actor, Capability.SUBMIT, Capability.OPERATE)
    old = _job_for(actor, job_id)
    if JobState(old.state) not in JOB.final or old.image is None:
        raise StateConflict("The job has not ended yet; wait for it or cancel it first.")
    wanted = old.frame if frame is None else frame
    if frame is not None:
        frame_ensure(image=old.image, index=frame)
    return inference_jobs_create(
        actor=actor,
        images=[old.image],
        priority=PriorityRank(old.priority),
        submission=old.submission,
        frame=wanted,
        rerun_of=old,
    )[0]


def _require_any(actor: Actor, *capabilities: Capability) -> None:
    if not any(actor.can(capability) for capability in capabilities):
        actor.require(capabilities[0])


def jobs_sweep(*, actor: Actor) -> dict[str, int]:
    """Take back what a dead worker held, and ring for what nobody holds.

    Leases past their end: RUNNING -> PENDING, or FAILED (`worker_lost`) where the attempts are
    used up. Safe to run at any time and twice at once.
    """
    lost = list(
        Job.objects.filter(state=JobState.RUNNING, lease_expires_at__lt=Now()).values_list(
            "pk", "attempt"
        )[:500]
    )
    counts = {"requeued": 0, "failed": 0, "rung": 0}
    for job_id, attempt in lost:
        with transaction.atomic():
            # The lease may have been extended since: look again under the row's lock.
            still = (
                Job.objects.select_for_update(skip_locked=True)
                .filter(pk=job_id, attempt=attempt, lease_expires_at__lt=Now())
                .exists()
            )
            if not still:
                continue
            state = job_fail(
                actor=actor,
                job_id=job_id,
                attempt=attempt,
                code="worker_lost",
                detail="The worker stopped answering while it had the job.",
                transient=True,
            )
        if state is not None:
            counts["requeued" if state == JobState.PENDING else "failed"] += 1
    waiting = list(
        Job.objects.filter(
            kind=JobKind.INFERENCE,
            state=JobState.PENDING,
            available_at__lte=Now() - timedelta(seconds=2),
        )
        .order_by("due_at", "id")
        .values_list("pk", flat=True)[: queue.MAX_RINGS]
    )
    if waiting:
        queue.ring(kind=JobKind.INFERENCE, job_ids=waiting)
        counts["rung"] = len(waiting)
    return counts
