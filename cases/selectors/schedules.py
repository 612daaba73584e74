"""Reading schedules and what came of their firings."""

from __future__ import annotations

from uuid import UUID

from django.db.models import OuterRef, QuerySet, Subquery

from cases.access import Actor, Capability
from cases.errors import NotFound
from cases.models import ScheduleEdit, ScheduleFiring, TrainingSchedule


def schedule_list(*, actor: Actor) -> QuerySet[TrainingSchedule]:
    """The schedules of the actor's site by name, each with its last firing's outcome and reason."""
    if not actor.can(Capability.TRAIN):
        actor.require(Capability.VIEW_MODELS)
    last = ScheduleFiring.objects.filter(schedule=OuterRef("pk")).order_by("-id")
    return (
        TrainingSchedule.objects.filter(site_id=actor.own_site)
        .select_related("task__crontab", "task__interval", "plan")
        .annotate(
            last_at=Subquery(last.values("at")[:1]),
            last_outcome=Subquery(last.values("outcome")[:1]),
            last_why=Subquery(last.values("why")[:1]),
        )
        .order_by("name", "id")
    )


def schedule_get(*, actor: Actor, schedule_id: UUID) -> TrainingSchedule:
    """One schedule. ``NotFound`` at another site."""
    schedule = schedule_list(actor=actor).filter(pk=schedule_id).first()
    if schedule is None:
        raise NotFound()
    return schedule


def firings_of(schedule: TrainingSchedule, *, limit: int) -> list[ScheduleFiring]:
    """The last firings, newest first. The caller has let the actor see the schedule."""
    return list(schedule.firings.select_related("run").order_by("-id")[:limit])


def editors_of(schedule: TrainingSchedule) -> list[str]:
    """User names of who stands behind its next run: who added, changed or switched it on. The
    caller has let the actor see the schedule."""
    edits = ScheduleEdit.objects.filter(schedule=schedule).order_by("user__username")
    return list(edits.values_list("user__username", flat=True).distinct())
