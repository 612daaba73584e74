"""Schedules of trainings: kept in the database, fired by the scheduler, bound to conditions."""

from __future__ import annotations

import json
from datetime import datetime
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.utils import timezone
from django_celery_beat.models import CrontabSchedule, IntervalSchedule, PeriodicTask

from cases.access import Actor, ActorKind, Capability
from cases.errors import FieldInvalid, NotFound, StateConflict, UserFacingError
from cases.models import (
    ScheduleFiring,
    TrainingRun,
    TrainingSchedule,
    TrainingSnapshot,
)
from cases.selectors.snapshots import free, of_lineage, without_void
from cases.services.audit import audit_record
from cases.services.gates import gate_plan_for_run
from cases.services.schedule_fields import Lineage, ScheduleFields, Timing, in_window
from cases.services.schedule_people import schedule_edit_note
from cases.services.training import TrainingRunOn, training_run_request
from cases.services.training_fields import MAX_REASON, TrainingPlan
from cases.states import JobState
from cases.storage import read_bytes
from cases.vocabulary import FiringOutcome, IfRunning, SnapshotLineage, TrainingRecipe

TASK = "worker.tasks.fire_training_schedule"
QUEUE = "maintenance"
# A firing that no worker took for so long says nothing any more.
FIRING_LIFE_S = 3600
# Snapshots that a firing asks to train from, the newest first, while they are refused.
MAX_TRIED = 10


class SnapshotDamaged(StateConflict):
    """The document of a stored snapshot is gone or is not what was stored."""


@transaction.atomic
def training_schedule_create(*, actor: Actor, fields: ScheduleFields) -> TrainingSchedule:
    """Add a schedule, switched on or off as told; the scheduler heeds it within seconds.

    Who adds it stands behind the runs it starts, and approves none of their models. Raises
    ``FieldInvalid`` where the site has a schedule of this name, or no such gate plan.
    """
    actor.require(Capability.TRAIN)
    schedule = TrainingSchedule(
        site_id=actor.own_site, created_by=actor.label, created_by_user_id=actor.user_id
    )
    schedule.task = PeriodicTask.objects.create(
        name=f"training schedule {schedule.pk}",
        task=TASK,
        args=json.dumps([str(schedule.pk)]),
        queue=QUEUE,
        expire_seconds=FIRING_LIFE_S,
        enabled=fields.enabled,
        **_timing(fields.timing),
    )
    _fill(actor, schedule, fields)
    schedule_edit_note(actor=actor, schedule=schedule)
    _audit(actor, schedule, "created", {"enabled": fields.enabled})
    return schedule


@transaction.atomic
def training_schedule_change(
    *, actor: Actor, schedule_id: UUID, fields: ScheduleFields
) -> TrainingSchedule:
    """Change a schedule as a whole. Who does stands behind the runs it starts from then on.

    ``NotFound`` at another site, ``FieldInvalid`` as `training_schedule_create`.
    """
    schedule = _own(actor, schedule_id)
    task = schedule.task
    for name, value in _timing(fields.timing).items():
        setattr(task, name, value)
    task.enabled = fields.enabled
    # Saved one by one, not by UPDATE: that is what tells the scheduler.
    task.save()
    _fill(actor, schedule, fields)
    schedule_edit_note(actor=actor, schedule=schedule)
    _audit(actor, schedule, "changed", {"enabled": fields.enabled})
    return schedule


@transaction.atomic
def training_schedule_switch(*, actor: Actor, schedule_id: UUID, enabled: bool) -> TrainingSchedule:
    """Switch a schedule on or off. Twice is once. ``NotFound`` at another site.

    Who switches it on stands behind the runs it starts; switching off starts none.
    """
    schedule = _own(actor, schedule_id)
    if schedule.task.enabled != enabled:
        schedule.task.enabled = enabled
        schedule.task.save()
        if enabled:
            schedule_edit_note(actor=actor, schedule=schedule)
        _audit(actor, schedule, "switched", {"enabled": enabled})
    return schedule


def _own(actor: Actor, schedule_id: UUID) -> TrainingSchedule:
    actor.require(Capability.TRAIN)
    schedule = (
        TrainingSchedule.objects.select_for_update(of=("self",))
        .select_related("task")
        .filter(pk=schedule_id, site_id=actor.own_site)
        .first()
    )
    if schedule is None:
        raise NotFound()
    return schedule


def _timing(timing: Timing) -> dict[str, CrontabSchedule | IntervalSchedule | None]:
    """The scheduler's own rows for a timing; those that are there are shared."""
    if timing.cron is None:
        told = {"every": timing.every, "period": timing.period}
        interval = IntervalSchedule.objects.filter(**told).first()
        return {
            "crontab": None,
            "interval": interval or IntervalSchedule.objects.create(**told),
        }
    names = ("minute", "hour", "day_of_month", "month_of_year", "day_of_week")
    cron = dict(zip(names, timing.cron, strict=True)) | {
        "timezone": timezone.get_default_timezone()
    }
    crontab = CrontabSchedule.objects.filter(**cron).first()
    return {"interval": None, "crontab": crontab or CrontabSchedule.objects.create(**cron)}


def _fill(actor: Actor, schedule: TrainingSchedule, fields: ScheduleFields) -> None:
    schedule.name = fields.name
    for name, value in fields.plan.canonical().items():
        setattr(schedule, name, value)
    schedule.plan = (
        gate_plan_for_run(actor=actor, plan_id=fields.gate_plan_id, site_id=schedule.site_id)
        if fields.gate_plan_id
        else None
    )
    _lineage_check(fields.lineage)
    schedule.lineage, schedule.lineage_name = fields.lineage.kind.value, fields.lineage.name
    schedule.min_new_images = fields.min_new_images
    schedule.window_start, schedule.window_end = fields.window or (None, None)
    try:
        with transaction.atomic():
            schedule.save()
    except IntegrityError as error:
        raise FieldInvalid(errors={"name": ["There is a schedule of this name."]}) from error


def _lineage_check(lineage: Lineage) -> None:
    folders = TrainingSnapshot.objects.filter(role="", name=lineage.name)
    if lineage.kind is SnapshotLineage.IMPORTED and not folders.exists():
        raise FieldInvalid(errors={"lineage": ["No folder of this name was imported."]})


def _audit(actor: Actor, schedule: TrainingSchedule, verb: str, detail: dict[str, bool]) -> None:
    audit_record(
        actor=actor,
        action=f"schedule.{verb}",
        object_type="schedule",
        object_id=schedule.pk,
        site_id=schedule.site_id,
        detail=dict(detail),
    )


@transaction.atomic
def training_schedule_fire(*, actor: Actor, schedule_id: UUID) -> ScheduleFiring | None:
    """Look at the conditions of a schedule that fired, and ask for a training where they are met.

    What came of it, and why, is kept either way. None where the schedule was switched off since,
    or is gone. Another run that is on is not queued behind: the schedule fires again. Of the
    snapshots of the schedule's lineage the newest is taken that nothing speaks against: one whose
    pictures were taken back, or that shares some with a locked set, is passed over.
    """
    if actor.kind not in (ActorKind.WORKER, ActorKind.SYSTEM):
        actor.require(Capability.TRAIN)
    schedule = (
        TrainingSchedule.objects.select_for_update(of=("self",))
        .select_related("task")
        .filter(pk=schedule_id, task__enabled=True)
        .first()
    )
    if schedule is None:
        return None
    try:
        return _fire(schedule)
    except TrainingRunOn as error:
        return _firing(schedule, FiringOutcome.REFUSED, f"{error.case} The schedule fires again.")
    except UserFacingError as error:
        return _firing(schedule, FiringOutcome.REFUSED, _sentences(error))


def _fire(schedule: TrainingSchedule) -> ScheduleFiring:
    """Raises ``UserFacingError`` where no snapshot can be trained from, or no run be asked for."""
    # Nobody trains on what is locked, another site's or taken back, however new it is.
    usable = free(TrainingSnapshot.objects.exclude(data_root=""), site_id=schedule.site_id)
    own = _of_lineage(schedule, without_void(usable)).order_by("-created_at", "-id")
    refused: FieldInvalid | None = None
    for snapshot in own[:MAX_TRIED] or [None]:
        why_not, met = _conditions(schedule, snapshot)
        if snapshot is None or (why_not and refused is None):
            return _firing(schedule, FiringOutcome.NOT_MET, why_not)
        if why_not:
            # What the conditions ask for is only in what is refused.
            break
        if refused is not None:
            met = f"{met}; a newer one was passed over: {_sentences(refused)}"
        try:
            with transaction.atomic():
                run = _request(schedule, snapshot, met)
        except FieldInvalid as error:
            if "snapshot" not in (error.errors or {}):
                raise
            refused = refused or error
            continue
        return _firing(schedule, FiringOutcome.STARTED, met, run)
    assert refused is not None
    raise refused


def _request(schedule: TrainingSchedule, snapshot: TrainingSnapshot, met: str) -> TrainingRun:
    return training_run_request(
        actor=Actor(kind=ActorKind.SYSTEM, label=f"schedule {schedule.name}"),
        snapshot_id=snapshot.pk,
        plan=_plan(schedule),
        reason=f"schedule {schedule.name}: {met}"[:MAX_REASON],
        if_running=IfRunning.REFUSE,
        gate_plan_id=schedule.plan_id,
        site_id=schedule.site_id,
        schedule=schedule,
    )


def _sentences(error: UserFacingError) -> str:
    told = [text for texts in (error.errors or {}).values() for text in texts]
    return " ".join(told) or error.detail


def lineage_of(schedule: TrainingSchedule) -> Lineage:
    return Lineage(SnapshotLineage(schedule.lineage), schedule.lineage_name)


def _of_lineage(
    schedule: TrainingSchedule, snapshots: QuerySet[TrainingSnapshot]
) -> QuerySet[TrainingSnapshot]:
    return of_lineage(
        snapshots,
        kind=SnapshotLineage(schedule.lineage),
        name=schedule.lineage_name,
        site_id=schedule.site_id,
    )


def _firing(
    schedule: TrainingSchedule, outcome: FiringOutcome, why: str, run: TrainingRun | None = None
) -> ScheduleFiring:
    return ScheduleFiring.objects.create(schedule=schedule, outcome=outcome, why=why[:500], run=run)


def _plan(schedule: TrainingSchedule) -> TrainingPlan:
    return TrainingPlan(
        TrainingRecipe(schedule.recipe),
        schedule.init,
        schedule.seed,
        schedule.epochs,
        schedule.size,
        schedule.limit_images,
    )


def local_now() -> datetime:
    """The moment in the service's time zone, in which windows are told."""
    return timezone.localtime(timezone=timezone.get_default_timezone())


def _conditions(schedule: TrainingSchedule, snapshot: TrainingSnapshot | None) -> tuple[str, str]:
    """(why not, in a sentence; "" where all is met, what was met)."""
    now = local_now()
    start, end = schedule.window_start, schedule.window_end
    if start is not None and end is not None and not in_window(now.time(), start, end):
        return (
            f"It was {now:%H:%M}; this schedule trains from {start:%H:%M} to {end:%H:%M} "
            f"({now:%Z})."
        ), ""
    which = lineage_of(schedule).words
    if snapshot is None:
        if not which:
            return "There is no snapshot to train from: nobody has imported any pictures.", ""
        return (
            f"There is no snapshot{which} to train from: none was made yet, or each is locked or "
            "holds pictures that were taken back."
        ), ""
    if not schedule.min_new_images:
        return "", "no number of new images is asked for"
    # A training of another lineage has seen other pictures: beside it all of these would be new.
    finished = TrainingRun.objects.filter(
        job__state=JobState.SUCCEEDED,
        snapshot__in=_of_lineage(schedule, TrainingSnapshot.objects.all()),
    )
    last = finished.select_related("snapshot").order_by("-job__finished_at").first()
    new = images_new_in(snapshot, before=last.snapshot if last else None)
    since = "since the last finished training" if last else "and no training has finished yet"
    told = f"{new} new labelled images in the newest snapshot{which} {since}"
    if new < schedule.min_new_images:
        return f"{told[0].upper()}{told[1:]}; {schedule.min_new_images} are needed.", ""
    return "", told


def images_new_in(snapshot: TrainingSnapshot, *, before: TrainingSnapshot | None) -> int:
    """How many labelled pictures, by content, ``snapshot`` has and ``before`` has not."""
    if before is None:
        return len(_hashes(snapshot))
    if before.pk == snapshot.pk:
        return 0
    return len(_hashes(snapshot) - _hashes(before))


def _hashes(snapshot: TrainingSnapshot) -> set[str]:
    """The pictures of a stored snapshot, by content. Raises ``SnapshotDamaged``."""
    try:
        document = json.loads(read_bytes(snapshot.storage_name))
        return {entry["sha256"] for entry in document["files"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SnapshotDamaged(
            f"A stored snapshot is damaged ({snapshot.pk[:12]}): its new images cannot be counted."
        ) from error
