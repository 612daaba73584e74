"""Schedules of trainings: stored for the scheduler, fired, held back by their conditions."""

from __future__ import annotations

import json
from datetime import date, datetime, time, timedelta
from typing import Any

import pytest
from django.utils import timezone
from django_celery_beat.models import CrontabSchedule, PeriodicTask
from django_celery_beat.schedulers import DatabaseScheduler, ModelEntry
from django_celery_beat.tzcrontab import TzAwareCrontab

from bcweb.celery import app
from cases.access import Actor, ActorKind
from cases.errors import FieldInvalid, NotFound, PermissionDenied
from cases.models import (
    AuditEvent,
    Blob,
    BlobChunk,
    Job,
    ScheduleFiring,
    TrainingRun,
    TrainingSchedule,
)
from cases.selectors.schedules import schedule_get, schedule_list
from cases.services import schedules
from cases.services.schedule_fields import in_window, schedule_fields_parse
from cases.services.schedules import (
    training_schedule_change,
    training_schedule_create,
    training_schedule_fire,
    training_schedule_switch,
)
from cases.services.training_work import TrainingNews, training_claim, training_succeed
from cases.states import JobState
from cases.storage import uploads
from tests.factories import live_model, make_actor, make_site
from tests.training import card_of, make_run, make_snapshot
from worker.tasks import fire_training_schedule

pytestmark = pytest.mark.django_db

WORKER = Actor(kind=ActorKind.WORKER, label="scheduler")


def make_schedule(actor: Actor | None = None, **raw: Any) -> TrainingSchedule:
    live_model()
    fields = schedule_fields_parse({"name": "nightly", "cron": "30 2 * * 1", **raw})
    return training_schedule_create(actor=actor or make_actor(roles=["admin"]), fields=fields)


def fire(schedule: TrainingSchedule) -> ScheduleFiring:
    firing = training_schedule_fire(actor=WORKER, schedule_id=schedule.pk)
    assert firing is not None
    return firing


# Stored for the scheduler


def test_a_schedule_is_a_row_of_the_scheduler() -> None:
    admin = make_actor(roles=["admin"])
    made = make_schedule(admin)
    task = PeriodicTask.objects.get(pk=made.task_id)
    assert (task.task, json.loads(task.args), task.enabled) == (
        "worker.tasks.fire_training_schedule",
        [str(made.pk)],
        True,
    )
    assert task.queue == "maintenance"
    assert task.crontab is not None
    assert (task.crontab.minute, task.crontab.hour, task.crontab.day_of_week) == ("30", "2", "1")
    event = AuditEvent.objects.get(action="schedule.created")
    assert (event.object_id, event.user_id) == (str(made.pk), admin.user_id)


def test_a_schedule_changes_from_cron_to_interval_and_is_switched() -> None:
    admin = make_actor(roles=["admin"])
    made = make_schedule(admin)
    fields = schedule_fields_parse(
        {"name": "often", "timing": "interval", "every": "6", "period": "hours", "epochs": "3"}
    )
    training_schedule_change(actor=admin, schedule_id=made.pk, fields=fields)
    task = PeriodicTask.objects.get(pk=made.task_id)
    assert task.crontab is None
    assert task.interval is not None
    assert (task.interval.every, task.interval.period) == (6, "hours")
    made.refresh_from_db()
    assert (made.name, made.epochs) == ("often", 3)
    for _ in range(2):
        training_schedule_switch(actor=admin, schedule_id=made.pk, enabled=False)
    assert not PeriodicTask.objects.get(pk=made.task_id).enabled
    assert AuditEvent.objects.filter(action="schedule.switched").count() == 1
    assert training_schedule_fire(actor=WORKER, schedule_id=made.pk) is None


def test_two_schedules_at_the_same_time_share_its_row_and_a_name_is_taken_once() -> None:
    admin = make_actor(roles=["admin"])
    make_schedule(admin)
    make_schedule(admin, name="another")
    assert CrontabSchedule.objects.filter(minute="30").count() == 1
    with pytest.raises(FieldInvalid) as error:
        make_schedule(admin)
    assert list(error.value.errors or {}) == ["name"]
    make_schedule()  # another site's
    assert TrainingSchedule.objects.count() == 3


@pytest.mark.parametrize(
    ("raw", "field"),
    [
        ({"name": " "}, "name"),
        ({"name": "x" * 81}, "name"),
        ({"cron": "30 2 * *"}, "cron"),
        ({"cron": "61 2 * * 1"}, "cron"),
        ({"cron": "30 25 * * 1"}, "cron"),
        ({"cron": "30 2 * * 9"}, "cron"),
        ({"cron": "*/0 * * * *"}, "cron"),
        ({"cron": "; rm * * *"}, "cron"),
        ({"timing": "interval", "every": "0"}, "every"),
        ({"timing": "interval", "every": "x"}, "every"),
        ({"timing": "interval", "every": "1", "period": "microseconds"}, "period"),
        ({"min_new_images": "-1"}, "min_new_images"),
        ({"window_start": "22:00"}, "window_end"),
        ({"window_start": "25:00", "window_end": "06:00"}, "window_start"),
        ({"recipe": "best"}, "recipe"),
        ({"size": "33"}, "size"),
    ],
)
def test_what_cannot_be_is_named_by_field(raw: dict[str, Any], field: str) -> None:
    with pytest.raises(FieldInvalid) as error:
        make_schedule(**raw)
    assert list(error.value.errors or {}) == [field]
    assert not PeriodicTask.objects.filter(task=schedules.TASK).exists()


@pytest.mark.parametrize("role", ["sonographer", "radiologist", "approver", "auditor"])
def test_only_administrators_keep_schedules(role: str) -> None:
    with pytest.raises(PermissionDenied):
        make_schedule(make_actor(roles=[role]))
    made = make_schedule()
    with pytest.raises(PermissionDenied):
        training_schedule_switch(actor=make_actor(roles=[role]), schedule_id=made.pk, enabled=False)


def test_another_sites_schedule_is_not_there() -> None:
    made, stranger = make_schedule(), make_actor(roles=["admin"], site=make_site())
    assert not schedule_list(actor=stranger).exists()
    for act in (
        lambda: schedule_get(actor=stranger, schedule_id=made.pk),
        lambda: training_schedule_switch(actor=stranger, schedule_id=made.pk, enabled=False),
    ):
        with pytest.raises(NotFound):
            act()


# Fired


def test_a_firing_starts_a_training_from_the_newest_snapshot_and_says_so() -> None:
    make_snapshot(6)
    newest = make_snapshot(9)
    made = make_schedule(epochs="2", init="none", min_new_images="9")
    firing = fire(made)
    run = TrainingRun.objects.get()
    assert (firing.outcome, firing.run) == ("started", run)
    assert "9 new labelled images" in firing.why
    assert (run.snapshot, run.epochs, run.init, run.schedule) == (newest, 2, "none", made)
    assert run.requested_by == "schedule nightly"
    assert run.requested_by_user_id == made.created_by_user_id
    assert run.job.site_id == made.site_id


def finish_a_run(**more: Any) -> None:
    make_run(**more)
    claim = training_claim(actor=WORKER)
    assert claim is not None
    training_succeed(
        actor=WORKER, claim=claim, weights=b"x", card=card_of(b"x"), news=TrainingNews()
    )


def test_with_too_few_new_images_it_says_how_many_and_starts_nothing() -> None:
    snapshot = make_snapshot(6)
    finish_a_run(snapshot=snapshot)
    made = make_schedule(min_new_images="4")
    firing = fire(made)
    assert (firing.outcome, firing.run) == ("not_met", None)
    assert firing.why == (
        "0 new labelled images in the newest snapshot since the last finished training; "
        "4 are needed."
    )
    make_snapshot(9)  # three more
    assert fire(made).outcome == "not_met"
    make_snapshot(10)
    assert fire(made).outcome == "started"
    assert TrainingRun.objects.count() == 2


def test_without_any_snapshot_it_says_so() -> None:
    make_snapshot(data_root="")
    firing = fire(make_schedule())
    assert (firing.outcome, "no snapshot" in firing.why) == ("not_met", True)


@pytest.mark.parametrize("fault", ["gone", "cut", "other"])
def test_a_damaged_snapshot_is_told_by_the_firing_and_counted_only_where_it_matters(
    fault: str,
) -> None:
    finish_a_run(snapshot=make_snapshot(6))
    newest = make_snapshot(9)
    counts, plain = make_schedule(min_new_images="1"), make_schedule(name="always")
    if fault == "gone":
        uploads().delete(newest.storage_name)
    else:
        data = b"{" if fault == "cut" else b"[]"
        Blob.objects.filter(pk=newest.storage_name).update(size=len(data))
        BlobChunk.objects.filter(blob_id=newest.storage_name).update(data=data)
    firing = fire(counts)
    assert (firing.outcome, firing.run) == ("refused", None)
    assert "stored snapshot is damaged" in firing.why
    assert newest.pk[:12] in firing.why
    shown = schedule_get(actor=make_actor(site=counts.site), schedule_id=counts.pk)
    assert shown.last_outcome == "refused"
    # What counts nothing need not read it; the run itself checks its data.
    assert fire(plain).outcome == "started"


@pytest.mark.parametrize(
    ("at", "inside"), [("21:59", False), ("22:00", True), ("05:59", True), ("06:00", False)]
)
def test_outside_its_window_it_starts_nothing(
    at: str, inside: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_snapshot()
    zone = timezone.get_default_timezone()
    aware = datetime.combine(date(2026, 1, 2), time.fromisoformat(at), tzinfo=zone)
    monkeypatch.setattr(schedules, "local_now", lambda: aware)
    firing = fire(make_schedule(window_start="22:00", window_end="06:00"))
    assert firing.outcome == ("started" if inside else "not_met")
    if not inside:
        assert at in firing.why
        assert "22:00 to 06:00" in firing.why


def test_a_window_within_a_day_and_one_that_is_the_whole_day() -> None:
    assert in_window(time(9), time(8), time(10))
    assert not in_window(time(10), time(8), time(10))
    assert in_window(time(3), time(8), time(8))


def test_while_a_training_is_on_nothing_is_started_and_that_run_is_named() -> None:
    admin = make_actor(roles=["admin"])
    on = make_run(actor=admin)
    firing = fire(make_schedule(admin))
    assert firing.outcome == "refused"
    # Nobody is there who could queue it.
    assert firing.why == (
        f"Training run {on.pk}, asked for by {on.requested_by}, waits already. "
        "The schedule fires again."
    )
    assert Job.objects.filter(state=JobState.PENDING).count() == 1


# The scheduler itself


def scheduler() -> DatabaseScheduler:
    made = DatabaseScheduler(app=app, lazy=False)
    # It would store its times once more when the tests have ended, and their database with them.
    made._finalize.cancel()
    return made


@pytest.mark.django_db(transaction=True)
def test_what_the_settings_schedule_is_among_the_rows() -> None:
    found = scheduler()
    sweep = PeriodicTask.objects.get(name="sweep")
    assert (sweep.task, sweep.queue, sweep.enabled) == ("worker.tasks.sweep", "maintenance", True)
    assert sweep.expire_seconds
    assert "sweep" in found.schedule


@pytest.mark.django_db(transaction=True)
def test_a_schedule_added_while_the_scheduler_runs_fires_without_a_restart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The last middle of a minute, and no later: when the next one begins it is due once more.
    now = timezone.now()
    moment = now - timedelta(seconds=(now.second + 30) % 60)
    monkeypatch.setattr(TzAwareCrontab, "nowfunc", lambda self: moment.astimezone(self.tz))
    monkeypatch.setattr(ModelEntry, "_default_now", lambda self: moment)
    running = scheduler()
    assert running.schedule is not None
    running.schedule_changed()
    sent: list[tuple[str, Any]] = []
    monkeypatch.setattr(
        running,
        "apply_async",
        lambda entry, **_: sent.append((entry.task, entry.args)),
    )
    snapshot = make_snapshot()
    made = make_schedule(cron="* * * * *", min_new_images="7")
    PeriodicTask.objects.filter(pk=made.task_id).update(last_run_at=moment - timedelta(minutes=5))
    # One tick sends at most one message.
    for _ in range(5):
        running.tick()
    ours = [(task, args) for task, args in sent if task == schedules.TASK]
    assert ours == [(schedules.TASK, [str(made.pk)])]
    # What a worker does with the message.
    fire_training_schedule(*ours[0][1])
    shown = schedule_get(actor=make_actor(site=made.site), schedule_id=made.pk)
    assert shown.last_outcome == "not_met"
    assert f"{snapshot.images} new labelled images" in shown.last_why
    assert not TrainingRun.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_schedule_that_is_switched_off_leaves_the_running_scheduler() -> None:
    running = scheduler()
    admin = make_actor(roles=["admin"])
    made = make_schedule(admin, cron="* * * * *")
    assert running.schedule_changed()
    name = f"training schedule {made.pk}"
    assert name in running.all_as_schedule()
    training_schedule_switch(actor=admin, schedule_id=made.pk, enabled=False)
    assert running.schedule_changed()
    assert name not in running.all_as_schedule()
