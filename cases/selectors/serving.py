"""Whether answers are suspended, now and at any time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from cases.access import Actor, Capability
from cases.models import Job, ServingEvent
from cases.selectors.jobs import JobGlance
from cases.states import JobState
from cases.vocabulary import JobKind, ServingChange


@dataclass(frozen=True)
class Suspension:
    """A stretch of time in which no image was taken; ``until`` None while it lasts."""

    since: datetime
    reason: str
    by: str
    until: datetime | None = None
    resumed_by: str = ""
    resume_reason: str = ""


def held_by_suspension(job: Job | JobGlance) -> bool:
    """Whether ``job`` is one that waits while answers are suspended."""
    return job.kind == JobKind.INFERENCE and job.state == JobState.PENDING


def suspension_now() -> Suspension | None:
    """The suspension that lasts now. One row by its key: every claim asks."""
    return _suspension(ServingEvent.objects.order_by("-id").first())


def suspension_at(at: datetime) -> Suspension | None:
    """The suspension that lasted at ``at``."""
    return _suspension(ServingEvent.objects.filter(at__lte=at).order_by("-at", "-id").first())


def _suspension(event: ServingEvent | None) -> Suspension | None:
    if event is None or event.change != ServingChange.SUSPENDED:
        return None
    return Suspension(since=event.at, reason=event.reason, by=event.actor)


def suspension_list(*, actor: Actor, limit: int = 200) -> list[Suspension]:
    """The latest suspensions, newest first, for who sees models or works the switch."""
    if not (actor.can(Capability.OPERATE) or actor.can(Capability.PROMOTE)):
        actor.require(Capability.VIEW_MODELS)
    found: list[Suspension] = []
    ended: ServingEvent | None = None
    for event in ServingEvent.objects.order_by("-id")[: 2 * limit]:
        if event.change == ServingChange.RESUMED:
            ended = event
            continue
        found.append(
            Suspension(
                since=event.at,
                reason=event.reason,
                by=event.actor,
                until=ended.at if ended else None,
                resumed_by=ended.actor if ended else "",
                resume_reason=ended.reason if ended else "",
            )
        )
        ended = None
    return found
