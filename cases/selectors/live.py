"""What those who wait for news may wait for, and how things stand when they begin."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from django.db.models import Max, QuerySet

from cases.access import Actor, Capability
from cases.errors import NotFound
from cases.events.seats import JobNow
from cases.models import Case, Image, Job, JobEvent
from cases.selectors.cases import submissions_seen
from cases.selectors.jobs import job_glance
from cases.states import JOB, JobState
from cases.vocabulary import JobKind


def job_waitable(*, actor: Actor, job_id: UUID) -> None:
    """``NotFound`` where the actor may not see this job."""
    job_glance(actor=actor, job_id=job_id)


def submission_waitable(*, actor: Actor, submission_id: UUID) -> None:
    """``NotFound`` where the actor may not see this submission: as ``submission_get``."""
    if not submissions_seen(actor).filter(pk=submission_id).exists():
        raise NotFound()


def case_waitable(*, actor: Actor, case_id: UUID) -> list[UUID]:
    """The images of the case, or ``NotFound``: moves of their jobs are news of the case."""
    actor.require(Capability.VIEW_CASES)
    if not Case.objects.filter(pk=case_id, site_id=actor.own_site).exists():
        raise NotFound()
    return list(Image.objects.filter(case_id=case_id).order_by().values_list("pk", flat=True))


def site_waitable(*, actor: Actor) -> UUID:
    """The site whose jobs the actor may list."""
    if not actor.can(Capability.OPERATE):
        actor.require(Capability.VIEW_CASES)
    return actor.own_site


def job_now(*, job_id: UUID) -> list[JobNow]:
    return _now(Job.objects.filter(pk=job_id))


def submission_now(*, submission_id: UUID) -> list[JobNow]:
    return _now(Job.objects.filter(submission_id=submission_id))


def case_now(*, image_ids: Sequence[UUID]) -> list[JobNow]:
    return _now(Job.objects.filter(image_id__in=image_ids))


def _now(jobs: QuerySet[Job]) -> list[JobNow]:
    """The jobs and the last move known of each, oldest job first. The caller has let the actor
    see them.

    The moves are read first: news of one that comes in between is told once more, never left out.
    """
    jobs = jobs.exclude(kind=JobKind.SHADOW)
    moves = JobEvent.objects.filter(job__in=jobs.order_by().values("pk")).order_by()
    last = {row["job_id"]: row["last"] for row in moves.values("job_id").annotate(last=Max("pk"))}
    rows = jobs.order_by("created_at", "image__position", "id").values_list(
        "pk", "kind", "state", "attempt"
    )
    return [
        JobNow(
            id=job_id,
            kind=kind,
            state=state,
            attempt=attempt,
            event=last.get(job_id, 0),
            is_final=JobState(state) in JOB.final,
        )
        for job_id, kind, state, attempt in rows
    ]
