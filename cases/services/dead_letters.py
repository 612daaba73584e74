"""Trying failed jobs again: one, or all that were chosen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db import transaction

from cases.access import Actor, Capability
from cases.errors import NotFound, Overloaded, StateConflict, UserFacingError
from cases.models import Job
from cases.services.audit import audit_record
from cases.services.jobs import job_rerun
from cases.states import JobState
from cases.vocabulary import JobKind

MAX_AT_ONCE = 200


@dataclass(frozen=True)
class Retry:
    """What became of one: the new job, or why there is none."""

    job_id: UUID
    new: Job | None = None
    error: UserFacingError | None = None


def dead_letters_retry(*, actor: Actor, job_ids: Sequence[UUID]) -> list[Retry]:
    """A new PENDING job for each FAILED one, by `jobs.job_rerun`; the failed one stays.

    Each in a transaction of its own: one that cannot be tried again keeps no other from it. Twice
    is once: a job that was retried gives the job it was retried as, unless that one has failed or
    was cancelled. ``PermissionDenied`` without the capability to operate; all else is told per job,
    in the given order: ``NotFound`` at another site, ``StateConflict`` where it has not failed or
    its retry has, the codes of `job_rerun`. Once there is no room, the rest is not tried.
    """
    actor.require(Capability.OPERATE)
    told: list[Retry] = []
    full: Overloaded | None = None
    for job_id in dict.fromkeys(job_ids):
        if full is not None:
            told.append(Retry(job_id, error=full))
            continue
        try:
            told.append(Retry(job_id, new=_retry(actor, job_id)))
        except UserFacingError as error:
            full = error if isinstance(error, Overloaded) else None
            told.append(Retry(job_id, error=error))
    return told


@transaction.atomic
def _retry(actor: Actor, job_id: UUID) -> Job:
    # Locked, so that of two retries at once the second finds the job of the first.
    job = (
        Job.objects.select_for_update()
        .filter(pk=job_id, site_id=actor.own_site, kind=JobKind.INFERENCE)
        .first()
    )
    if job is None:
        raise NotFound()
    if job.state != JobState.FAILED:
        raise StateConflict(f"The job has not failed ({job.state.lower()}).")
    # Of the same frame: another frame of a cine is another question.
    earlier = list(job.reruns.filter(frame=job.frame).order_by("created_at"))
    for again in earlier:
        if again.state not in (JobState.FAILED, JobState.CANCELLED):
            return again
    if earlier:
        raise StateConflict(
            f"The job was tried again before, and that is {earlier[-1].state.lower()} too: it is "
            "the newest one that can be tried again."
        )
    new = job_rerun(actor=actor, job_id=job.pk)
    audit_record(
        actor=actor,
        action="job.retried",
        object_type="job",
        object_id=job.pk,
        site_id=job.site_id,
        case_id=job.image.case_id if job.image else None,
        detail={"code": job.error_code, "as": str(new.pk)},
    )
    return new
