"""The one function that changes the state of a job, and what every move leaves behind."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models.functions import Now

from cases.access import Actor
from cases.models import Job, JobEvent
from cases.services.audit import audit_record
from cases.services.outbox import deliveries_make
from cases.states import JOB, JobState
from cases.vocabulary import JobKind


def jobs_move(
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
        jobs_record(moved, before, actor=actor, reason=reason)
        return moved


def jobs_record(
    moved: Sequence[Job], before: dict[UUID, str], *, actor: Actor, reason: str
) -> None:
    """Write an event for each moved job, and what webhooks are told of it."""
    events = [
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
    ]
    JobEvent.objects.bulk_create(events)
    deliveries_make(events)


def job_audit(actor: Actor, job: Job, action: str, detail: dict[str, Any] | None = None) -> None:
    """Audit what happened to a job. A replay's trail is under its result, as ``replay.…``; so is
    that of a job in shadow, as ``shadow.…``; a training's is ``training_run.…``, a freeze's
    ``freeze.…``."""
    told, kind, about = dict(detail or {}), "job", job.pk
    if job.kind == JobKind.TRAINING:
        action, kind = action.replace("job.", "training_run."), "training_run"
    elif job.kind == JobKind.FREEZE:
        action, kind = action.replace("job.", "freeze."), "freeze"
    image = job.image
    result, noun = (job.replay_of, "replay.") if job.replay_of else (job.shadow_of, "shadow.")
    if result is not None:
        action, kind, about = action.replace("job.", noun), "result", result.pk
        told["job"] = str(job.pk)
        image = result.image
    audit_record(
        actor=actor,
        action=action,
        object_type=kind,
        object_id=about,
        site_id=job.site_id,
        case_id=image.case_id if image else None,
        changed_fields=["state"],
        detail=told or None,
    )
