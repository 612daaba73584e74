"""Schedules with gate plans, and who may not approve what comes of the runs they start."""

from __future__ import annotations

import hashlib
import importlib
import json
from pathlib import Path
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction

from cases import migrations
from cases.access import SYSTEM, Actor, ActorKind
from cases.errors import FieldInvalid, PermissionDenied, StateConflict
from cases.models import (
    GatePlan,
    ModelVersion,
    ScheduleEdit,
    Site,
    TrainingOrderer,
    TrainingRun,
    TrainingSchedule,
)
from cases.selectors.schedules import editors_of
from cases.services.promotion import promotion_decline
from cases.services.schedule_fields import schedule_fields_parse
from cases.services.schedules import (
    training_schedule_change,
    training_schedule_create,
    training_schedule_fire,
    training_schedule_switch,
)
from cases.services.training_work import TrainingNews, training_claim, training_succeed
from cases.states import ModelState
from tests.cases.governing import approved, approver, asked
from tests.factories import WORKER, live_model, make_actor, make_site
from tests.gates import make_locked_set, make_plan
from tests.training import card_of, make_run, make_snapshot, trained

pytestmark = pytest.mark.django_db

SCHEDULE = {"name": "nightly", "cron": "30 2 * * 1", "init": "none"}


@pytest.fixture
def site(db: None) -> Site:
    live_model()
    return make_site()


def both_roles(site: Site) -> Actor:
    """A person who may train and approve."""
    return make_actor(roles=["admin", "approver"], site=site)


def make_schedule(actor: Actor, **raw: Any) -> TrainingSchedule:
    return training_schedule_create(actor=actor, fields=schedule_fields_parse(SCHEDULE | raw))


def change(schedule: TrainingSchedule, actor: Actor, **raw: Any) -> TrainingSchedule:
    return training_schedule_change(
        actor=actor, schedule_id=schedule.pk, fields=schedule_fields_parse(SCHEDULE | raw)
    )


def switch(schedule: TrainingSchedule, actor: Actor, *, on: bool) -> None:
    training_schedule_switch(actor=actor, schedule_id=schedule.pk, enabled=on)


def fired(schedule: TrainingSchedule) -> TrainingRun:
    firing = training_schedule_fire(actor=WORKER, schedule_id=schedule.pk)
    assert firing is not None
    assert firing.run is not None, firing.why
    return firing.run


def judged(run: TrainingRun, state: str = "passed") -> ModelVersion:
    """The CANDIDATE of a run with a plan, and its verdict."""
    claim = training_claim(actor=WORKER)
    assert claim is not None
    assert claim.job_id == run.pk
    weights = f"trained {run.pk}".encode()
    sha256 = hashlib.sha256(weights).hexdigest()
    report = {
        "state": state,
        "limits": [],
        "plan_sha256": run.plan_sha256,
        "models": {"candidate": {"version": "new", "sha256": sha256, "seen": 0}},
    }
    model = training_succeed(
        actor=WORKER,
        claim=claim,
        weights=weights,
        card=card_of(weights, f"v-{run.pk.hex[:8]}"),
        news=TrainingNews(),
        report=json.dumps(report).encode(),
    )
    assert model is not None
    return model


# A plan for the runs of a schedule


def test_a_scheduled_run_freezes_the_plan_of_its_schedule(site: Site) -> None:
    plan = make_plan(site=site)
    make_snapshot()
    schedule = make_schedule(make_actor(roles=["admin"], site=site), plan=str(plan.pk))
    run = fired(schedule)
    assert (run.plan, run.plan_sha256, run.schedule) == (plan, plan.sha256, schedule)
    model = judged(run)
    assert (model.gate.state, model.gate.plan_sha256) == ("passed", plan.sha256)
    approved(asked(model))
    model.refresh_from_db()
    assert model.state == ModelState.ACTIVE


def test_what_misses_its_plan_and_what_has_none_cannot_go_live(site: Site) -> None:
    plan = make_plan(site=site)
    make_snapshot()
    admin = make_actor(roles=["admin"], site=site)
    failed = judged(fired(make_schedule(admin, plan=str(plan.pk))), "failed")
    with pytest.raises(StateConflict, match="gate of this model failed"):
        asked(failed)
    run = fired(make_schedule(admin, name="without"))
    assert (run.plan, run.plan_sha256) == (None, "")
    with pytest.raises(StateConflict, match="No gate was run"):
        asked(trained(run))


def test_a_change_of_plan_holds_for_the_next_run_and_leaves_the_one_before(site: Site) -> None:
    admin = make_actor(roles=["admin"], site=site)
    first = make_plan(site=site)
    second = make_plan(first.locked_set, site=site)
    make_snapshot()
    schedule = make_schedule(admin, plan=str(first.pk))
    before = fired(schedule)
    change(schedule, admin, plan=str(second.pk))
    before.refresh_from_db()
    assert before.plan == first
    judged(before)
    after = fired(schedule)
    assert after.plan == second
    judged(after)
    change(schedule, admin)
    assert fired(schedule).plan is None


def test_a_plan_that_is_not_the_sites_is_refused_by_field(site: Site) -> None:
    admin = make_actor(roles=["admin"], site=site)
    elsewhere = make_plan()
    for typed in (str(elsewhere.pk), "00000000-0000-4000-8000-000000000000", "spring"):
        with pytest.raises(FieldInvalid) as error:
            make_schedule(admin, plan=typed)
        assert list(error.value.errors or {}) == ["plan"]
    assert not TrainingSchedule.objects.exists()
    own = make_plan(make_locked_set(300), site=site)
    assert make_schedule(admin, plan=str(own.pk)).plan == GatePlan.objects.get(pk=own.pk)


# Who stands behind its runs


def test_who_changed_a_schedule_does_not_approve_what_it_started_then(site: Site) -> None:
    adder, editor, other = both_roles(site), both_roles(site), approver(site)
    make_snapshot()
    schedule = make_schedule(adder)
    change(schedule, editor, epochs="3")
    model = trained(fired(schedule))
    request = asked(model, ModelState.SHADOW)
    for barred in (adder, editor):
        with pytest.raises(PermissionDenied, match="changed the schedule"):
            approved(request, by=barred)
    model.refresh_from_db()
    assert model.state == ModelState.CANDIDATE
    approved(request, by=other)
    model.refresh_from_db()
    assert model.state == ModelState.SHADOW


def test_they_may_decline_it(site: Site) -> None:
    adder, editor = both_roles(site), both_roles(site)
    make_snapshot()
    schedule = make_schedule(adder)
    change(schedule, editor)
    request = asked(trained(fired(schedule)), ModelState.SHADOW)
    promotion_decline(actor=editor, request_id=request.pk, reason="I would not.")


def test_a_change_after_it_fired_bars_from_later_runs_only(site: Site) -> None:
    editor = both_roles(site)
    make_snapshot()
    schedule = make_schedule(both_roles(site))
    before = fired(schedule)
    change(schedule, editor)
    model = trained(before)
    approved(asked(model, ModelState.SHADOW), by=editor)
    model.refresh_from_db()
    assert model.state == ModelState.SHADOW
    ModelVersion.objects.filter(pk=model.pk).update(state=ModelState.REJECTED)
    later = trained(fired(schedule))
    with pytest.raises(PermissionDenied):
        approved(asked(later, ModelState.SHADOW), by=editor)


def test_switching_it_on_orders_its_runs_and_switching_it_off_does_not(site: Site) -> None:
    off, on = both_roles(site), both_roles(site)
    make_snapshot()
    schedule = make_schedule(both_roles(site))
    switch(schedule, off, on=False)
    # Off already: nothing happens, and nobody did it.
    switch(schedule, on, on=False)
    assert editors_of(schedule) == [schedule.created_by]
    switch(schedule, on, on=True)
    run = fired(schedule)
    request = asked(trained(run), ModelState.SHADOW)
    with pytest.raises(PermissionDenied):
        approved(request, by=on)
    approved(request, by=off)


def test_the_schedules_of_others_bar_nobody(site: Site) -> None:
    adder, editor = both_roles(site), both_roles(site)
    make_snapshot()
    change(make_schedule(editor, name="another"), editor, name="another")
    run = fired(make_schedule(adder))
    assert [row.user_id for row in run.orderers.all()] == [adder.user_id]
    approved(asked(trained(run), ModelState.SHADOW), by=editor)


def test_a_person_counts_once_and_a_run_by_hand_has_no_editors(site: Site) -> None:
    adder = both_roles(site)
    make_snapshot()
    schedule = make_schedule(adder)
    for epochs in ("2", "3"):
        change(schedule, adder, epochs=epochs)
    assert fired(schedule).orderers.count() == 1
    trained(TrainingRun.objects.get())
    assert not make_run(actor=adder).orderers.exists()
    # A command is no person, and can approve nothing.
    command = Actor(
        kind=ActorKind.COMMAND, label="a command", site_id=site.pk, capabilities=frozenset()
    )
    change(schedule, command)
    assert editors_of(schedule) == [adder.label]


def test_neither_trail_can_be_rewritten(site: Site) -> None:
    make_snapshot()
    fired(make_schedule(both_roles(site)))
    for rows in (ScheduleEdit.objects.all(), TrainingOrderer.objects.all()):
        assert rows.exists()
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
            rows.delete()
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
            rows.update(user_id=SYSTEM.user_id or make_actor().user_id)


@pytest.mark.django_db(transaction=True)
def test_edits_of_before_are_taken_from_the_audit_trail() -> None:
    live_model()
    site = make_site()
    adder, editor, late = both_roles(site), both_roles(site), both_roles(site)
    make_snapshot()
    schedule = make_schedule(adder)
    change(schedule, editor)
    switch(schedule, late, on=False)
    switch(schedule, editor, on=True)
    run = fired(schedule)
    change(schedule, late)
    tables = ("cases_trainingorderer", "cases_scheduleedit")
    (file,) = Path(migrations.__file__ or "").parent.glob("*_separation.py")
    backfill = importlib.import_module(f"cases.migrations.{file.stem}").BACKFILL
    with connection.cursor() as cursor:
        for table in tables:
            cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
            cursor.execute(f"DELETE FROM {table}")
            for name in ("append_only", "append_only_truncate"):
                cursor.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {name}")
        cursor.execute(backfill)
    edits = [row.user_id for row in ScheduleEdit.objects.order_by("id")]
    assert edits == [adder.user_id, editor.user_id, editor.user_id, late.user_id]
    behind = {row.user_id for row in run.orderers.all()}
    assert behind == {adder.user_id, editor.user_id}
