"""Who stands behind a schedule: whoever added, changed or switched it on, for the runs it starts
from then on. None of them is the second person who approves what comes of those runs."""

from __future__ import annotations

from cases.access import Actor
from cases.models import ScheduleEdit, TrainingOrderer, TrainingRun, TrainingSchedule
from cases.services.clock import clock_now


def schedule_edit_note(*, actor: Actor, schedule: TrainingSchedule) -> None:
    """Note an edit, in the caller's transaction, which holds the schedule's row.

    An actor that is no person (a command) stands behind nothing: it can approve nothing either.
    """
    if actor.user_id is not None:
        ScheduleEdit.objects.create(schedule=schedule, user_id=actor.user_id, at=clock_now())


def orderers_freeze(*, run: TrainingRun, schedule: TrainingSchedule) -> None:
    """Keep with ``run`` who has edited ``schedule`` up to now, in the caller's transaction."""
    editors = ScheduleEdit.objects.filter(schedule=schedule).order_by("user_id")
    TrainingOrderer.objects.bulk_create(
        TrainingOrderer(run=run, user_id=user_id)
        for user_id in editors.values_list("user_id", flat=True).distinct()
    )
