"""Reads that only the portal's pages need: pages of a list, places in the queue, a case's past."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar
from uuid import UUID

from django.db.models import Q
from django.db.models.functions import Now

from cases.access import Actor, Capability
from cases.models import IDEMPOTENCY_LIFE, AuditEvent, Case, Job, Submission
from cases.selectors.audit import case_audit
from cases.selectors.jobs import MAX_POSITION
from cases.selectors.reader_first import events_shown
from cases.states import JobState
from cases.vocabulary import ENGINE_KINDS

T = TypeVar("T")

# More arrivals than this are "more than": counting them all says nothing.
MAX_NEWER = 99
# What somebody looked at is in the history, not among the steps of a case; nor is what a reader
# does with a draft, which is theirs alone until it is signed.
ASIDE = (
    "case.compared",
    "case.report_viewed",
    "case.viewed",
    "image.viewed",
    "image.frames_viewed",
    "image.downloaded",
    "outcome.listed",
    "reading.discarded",
    "reading.draft_saved",
    "reading.listed",
    "result.read",
)
# Checks of stored answers, and what a model in shadow was asked, are no steps of a case either.
CHECKS = ("replay.", "shadow.")


@dataclass(frozen=True)
class Page(Generic[T]):
    """A stretch of a list, newest first, and whether there is more on either side."""

    rows: Sequence[T]
    has_newer: bool
    has_older: bool


def queue_positions(jobs: Collection[Job]) -> dict[UUID, int]:
    """How many jobs go before each of ``jobs`` that is waiting; left out beyond 1,000.

    One query for all of them.
    """
    waiting = {job.pk for job in jobs if job.state == JobState.PENDING}
    if not waiting:
        return {}
    # Readings and replays stand in one line. A stretch of each, so that both come from the index.
    first, *others = [
        Job.objects.filter(kind=kind, state=JobState.PENDING)
        .order_by("due_at", "id")
        .values_list("due_at", "pk")[: MAX_POSITION + 1]
        for kind in ENGINE_KINDS
    ]
    queue = first.union(*others, all=True).order_by("due_at", "pk")[: MAX_POSITION + 1]
    return {job_id: place for place, (_, job_id) in enumerate(queue) if job_id in waiting}


def submission_of_key(*, actor: Actor, key: str) -> Submission | None:
    """What this person submitted with the form of this key, if it is stored by now."""
    actor.require(Capability.SUBMIT)
    return (
        Submission.objects.filter(
            idempotency_owner=actor.user_id,
            idempotency_key=key,
            created_at__gt=Now() - IDEMPOTENCY_LIFE,
        )
        .order_by("-created_at")
        .first()
    )


def submissions_of_note(*, case: Case) -> list[Submission]:
    """Deliveries to a case the actor may see that skipped files or overruled a header.

    Newest first; one query.
    """
    deliveries = Submission.objects.filter(case=case).exclude(override_reason="", skipped=[])
    return list(deliveries.order_by("-created_at", "-id"))


def case_steps(*, actor: Actor, case_id: UUID, limit: int) -> Sequence[AuditEvent]:
    """The last steps of a case, newest first, without who looked at it, whose draft is under way
    or which answer was checked."""
    aside = Q(action__in=ASIDE)
    for prefix in CHECKS:
        aside |= Q(action__startswith=prefix)
    steps = case_audit(case_id=case_id).exclude(aside).order_by("-id")[:limit]
    return events_shown(actor=actor, events=list(steps))


def case_events(
    *, actor: Actor, case_id: UUID, limit: int, older_than: int | None = None
) -> Page[AuditEvent]:
    """What happened to a case the actor may see, newest first."""
    events = case_audit(case_id=case_id).order_by("-id")
    if older_than is not None:
        events = events.filter(id__lt=older_than)
    found = list(events[: limit + 1])
    shown = events_shown(actor=actor, events=found[:limit])
    return Page(rows=shown, has_newer=older_than is not None, has_older=len(found) > limit)
