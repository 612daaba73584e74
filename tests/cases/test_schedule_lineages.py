"""Of which snapshots a schedule takes the newest, and which it passes over."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.db import IntegrityError, transaction

from cases.access import SYSTEM, Actor
from cases.errors import FieldInvalid
from cases.models import ScheduleFiring, Site, TrainingRun, TrainingSchedule, TrainingSnapshot
from cases.services.schedule_fields import schedule_fields_parse
from cases.services.schedules import (
    training_schedule_change,
    training_schedule_create,
    training_schedule_fire,
)
from cases.services.snapshots import snapshot_register
from cases.services.training import training_run_cancel
from tests.curation import accepted, actors, frozen_into, taken_back
from tests.factories import WORKER, live_model, make_actor, make_site
from tests.gates import make_plan
from tests.training import document_of, make_run, trained

pytestmark = pytest.mark.django_db


@pytest.fixture
def site(db: None) -> Site:
    live_model()
    return make_site()


@pytest.fixture
def people(site: Site) -> tuple[Actor, Actor]:
    return actors(site)


def snapshot_of(
    name: str, *, images: int = 6, first: int = 0, role: str = "", site: Site | None = None
) -> TrainingSnapshot:
    document = document_of(images, first=first)
    made, _ = snapshot_register(
        actor=SYSTEM,
        document=document,
        content=json.dumps(document).encode(),
        name=name,
        data_root=f"/data/{name}",
        role=role,
        site_id=site.pk if site else None,
    )
    return made


def make_schedule(actor: Actor, lineage: str, **raw: Any) -> TrainingSchedule:
    told = {"name": f"nightly {lineage}", "cron": "30 2 * * 1", "lineage": lineage, **raw}
    return training_schedule_create(actor=actor, fields=schedule_fields_parse(told))


def fire(schedule: TrainingSchedule) -> ScheduleFiring:
    firing = training_schedule_fire(actor=WORKER, schedule_id=schedule.pk)
    assert firing is not None
    return firing


def taken_by(schedule: TrainingSchedule) -> TrainingSnapshot | None:
    """The snapshot of the run that it starts, which is called off at once."""
    firing = fire(schedule)
    if firing.run is None:
        return None
    training_run_cancel(actor=SYSTEM, run_id=firing.run.pk, reason="It was seen.")
    return firing.run.snapshot


def test_each_schedule_takes_the_newest_of_its_own_lineage(
    people: tuple[Actor, Actor], site: Site
) -> None:
    snapshot_of("clinic")
    clinic = snapshot_of("clinic", first=10)
    own = snapshot_of("frozen", first=20, role="training", site=site)
    # Not theirs, newer: locked, and another site's.
    snapshot_of("frozen", first=30, role="locked", site=site)
    snapshot_of("frozen", first=40, role="training", site=make_site())
    atlas = snapshot_of("atlas", first=50)
    for lineage, expected in (
        ("imported:clinic", clinic),
        ("frozen", own),
        ("imported:atlas", atlas),
        ("any", atlas),
    ):
        assert taken_by(make_schedule(people[1], lineage)) == expected, lineage


def test_where_its_lineage_has_none_it_says_so_and_takes_no_other(
    people: tuple[Actor, Actor],
) -> None:
    snapshot_of("clinic")
    firing = fire(make_schedule(people[1], "frozen"))
    assert (firing.outcome, firing.run) == ("not_met", None)
    assert firing.why.startswith("There is no snapshot of accepted images to train from")


def test_new_images_are_counted_within_the_lineage(people: tuple[Actor, Actor], site: Site) -> None:
    first = snapshot_of("clinic")
    trained(make_run(snapshot=first))
    # A training of another kind in between has seen other pictures.
    trained(make_run(snapshot=snapshot_of("atlas", first=50)))
    schedule = make_schedule(people[1], "imported:clinic", min_new_images="3")
    snapshot_of("clinic", images=8)
    firing = fire(schedule)
    assert firing.outcome == "not_met"
    assert firing.why.startswith(
        "2 new labelled images in the newest snapshot of the imported folder clinic since"
    )
    snapshot_of("clinic", images=9)
    assert fire(schedule).outcome == "started"


def test_one_of_which_a_picture_was_taken_back_is_passed_over(
    people: tuple[Actor, Actor], site: Site
) -> None:
    reader, admin = people
    candidate = accepted(reader=reader, admin=admin)
    older = snapshot_of("frozen", role="training", site=site)
    newest = snapshot_of("frozen", first=10, role="training", site=site)
    frozen_into(newest, candidate, admin=admin, role="training")
    schedule = make_schedule(admin, "frozen")
    assert taken_by(schedule) == newest
    taken_back("opted out", candidate, reader=reader, admin=admin)
    assert taken_by(schedule) == older


def test_one_that_shares_pictures_with_a_locked_set_is_passed_over_and_it_is_told(
    people: tuple[Actor, Actor],
) -> None:
    older = snapshot_of("clinic")
    make_plan(snapshot_of("a test", first=100), actor=people[1])
    snapshot_of("clinic", images=8, first=98)
    firing = fire(make_schedule(people[1], "imported:clinic"))
    assert firing.run is not None
    assert firing.run.snapshot == older
    assert "a newer one was passed over: It shares 6 pictures with the locked set" in firing.why
    assert len(firing.run.reason) <= 500


def test_where_each_is_refused_the_firing_says_why(people: tuple[Actor, Actor]) -> None:
    make_plan(snapshot_of("a test", first=100), actor=people[1])
    snapshot_of("clinic", images=8, first=98)
    firing = fire(make_schedule(people[1], "imported:clinic"))
    assert (firing.outcome, firing.run) == ("refused", None)
    assert firing.why.startswith("It shares 6 pictures with the locked set")
    assert not TrainingRun.objects.exists()


@pytest.mark.parametrize(
    "lineage", ["newest", "imported", "imported:", "imported:nowhere", "frozen:clinic", "any:x"]
)
def test_what_is_no_lineage_is_named_by_field(people: tuple[Actor, Actor], lineage: str) -> None:
    snapshot_of("clinic")
    with pytest.raises(FieldInvalid) as refused:
        make_schedule(people[1], lineage)
    assert list(refused.value.errors or {}) == ["lineage"]
    made = make_schedule(people[1], "imported:clinic")
    with pytest.raises(FieldInvalid):
        training_schedule_change(
            actor=people[1],
            schedule_id=made.pk,
            fields=schedule_fields_parse(
                {"name": "x", "cron": "30 2 * * 1", "lineage": "imported:nowhere"}
            ),
        )
    made.refresh_from_db()
    assert (made.lineage, made.lineage_name) == ("imported", "clinic")


def test_the_database_holds_a_lineage_to_its_folder(people: tuple[Actor, Actor]) -> None:
    schedule = make_schedule(people[1], "frozen")
    rows = TrainingSchedule.objects.filter(pk=schedule.pk)
    for wrong in (
        {"lineage": "newest"},
        {"lineage": "imported"},
        {"lineage_name": "clinic"},
    ):
        with pytest.raises(IntegrityError, match="trainingschedule"), transaction.atomic():
            rows.update(**wrong)


def test_a_frozen_snapshot_of_the_name_of_a_folder_is_not_of_its_lineage(
    people: tuple[Actor, Actor], site: Site
) -> None:
    clinic = snapshot_of("clinic")
    snapshot_of("clinic", first=10, role="training", site=site)
    assert taken_by(make_schedule(people[1], "imported:clinic")) == clinic
    with pytest.raises(FieldInvalid):
        make_schedule(make_actor(roles=["admin"], site=site), "imported:frozen")
