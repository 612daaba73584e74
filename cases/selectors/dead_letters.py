"""Failed jobs that wait for a person: what went wrong, at which worker, after which attempts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db.models import Exists, OuterRef, Q, QuerySet

from cases.access import Actor, Capability
from cases.errors import NotFound
from cases.models import Job, JobEvent
from cases.selectors.portal import Page
from cases.states import JobState
from cases.vocabulary import JobKind

# More than this say no more than "many", and counting costs on every page.
MAX_COUNT = 99
# How far back is looked for them when counting: failed images that were read since are passed over.
LOOKED_AT = 500


@dataclass(frozen=True)
class Attempt:
    """One attempt at a job, from when a worker took it. ``reason``: how it ended, in words."""

    number: int
    worker: str
    began_at: datetime
    ended_at: datetime
    reason: str


def dead_letter_list(
    *,
    actor: Actor,
    code: str = "",
    since: datetime | None = None,
    until: datetime | None = None,
) -> QuerySet[Job]:
    """Images of the actor's site whose last reading failed, last failed first.

    ``code``: with this error only; ``since`` (included) and ``until`` (not included): failed then.
    Not those that were asked for again since, whatever became of it: what is here is nobody's.
    """
    actor.require(Capability.OPERATE)
    failed = Job.objects.filter(
        kind=JobKind.INFERENCE, state=JobState.FAILED, site_id=actor.own_site
    )
    if code:
        failed = failed.filter(error_code=code)
    if since is not None:
        failed = failed.filter(finished_at__gte=since)
    if until is not None:
        failed = failed.filter(finished_at__lt=until)
    return (
        _left_alone(failed).select_related("image__case__patient").order_by("-finished_at", "-id")
    )


def _left_alone(failed: QuerySet[Job]) -> QuerySet[Job]:
    later = Job.objects.filter(
        kind=JobKind.INFERENCE,
        image_id=OuterRef("image_id"),
        frame=OuterRef("frame"),
        created_at__gt=OuterRef("created_at"),
    )
    return failed.filter(~Exists(later), image__case__patient__erased_at__isnull=True)


def dead_letter_page(
    *,
    actor: Actor,
    size: int,
    older_than: UUID | None = None,
    code: str = "",
    since: datetime | None = None,
    until: datetime | None = None,
) -> Page[Job]:
    """``size`` of them, last failed first, from after the job ``older_than`` on.

    ``NotFound`` for an id that is no failed job of the site.
    """
    jobs = dead_letter_list(actor=actor, code=code, since=since, until=until)
    if older_than is not None:
        edge = Job.objects.filter(
            pk=older_than, site_id=actor.own_site, state=JobState.FAILED
        ).first()
        if edge is None or edge.finished_at is None:
            raise NotFound()
        at = edge.finished_at
        jobs = jobs.filter(finished_at__lte=at).filter(
            Q(finished_at__lt=at) | Q(finished_at=at, id__lt=edge.pk)
        )
    found = list(jobs[: size + 1])
    return Page(rows=found[:size], has_newer=older_than is not None, has_older=len(found) > size)


def dead_letter_count(*, actor: Actor) -> int:
    """How many there are among the last failures of the site; ``MAX_COUNT`` + 1 for more."""
    actor.require(Capability.OPERATE)
    last = (
        Job.objects.filter(kind=JobKind.INFERENCE, state=JobState.FAILED, site_id=actor.own_site)
        .order_by("-finished_at", "-id")
        .values("pk")[:LOOKED_AT]
    )
    return _left_alone(Job.objects.filter(pk__in=last))[: MAX_COUNT + 1].count()


def dead_letter_codes(*, actor: Actor) -> list[str]:
    """The error codes among the last failures of the site."""
    actor.require(Capability.OPERATE)
    last = Job.objects.filter(
        kind=JobKind.INFERENCE, state=JobState.FAILED, site_id=actor.own_site
    ).order_by("-finished_at", "-id")
    return sorted(set(last.values_list("error_code", flat=True)[:LOOKED_AT]))


def attempts_of(jobs: Sequence[Job]) -> dict[UUID, list[Attempt]]:
    """The attempts at each job, first one first. One query for all of them."""
    attempts: dict[UUID, list[Attempt]] = {job.pk: [] for job in jobs}
    begun: dict[UUID, JobEvent] = {}
    for event in JobEvent.objects.filter(job_id__in=list(attempts)).order_by("id"):
        if event.to_state == JobState.RUNNING:
            begun[event.job_id] = event
            continue
        start = begun.pop(event.job_id, None)
        if start is not None:
            attempts[event.job_id].append(
                Attempt(
                    number=start.attempt,
                    worker=start.actor,
                    began_at=start.at,
                    ended_at=event.at,
                    reason=event.reason,
                )
            )
    return attempts
