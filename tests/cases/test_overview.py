"""What administrators look at first: figures from the rows, in a set number of queries."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from cases.access import Actor
from cases.errors import PermissionDenied
from cases.models import JobEvent, ServiceHeartbeat, Site
from cases.models.tallies import hour_key
from cases.reports.hours_plot import HourBar, hours_svg, hours_title
from cases.selectors.overview import (
    disks_now,
    hours_now,
    live_model,
    next_firing,
    queue_now,
    workers_now,
)
from cases.services import tallies
from cases.services.leases import engine_jobs_claim
from cases.services.pulse import pulse_beat
from cases.services.schedule_fields import schedule_fields_parse
from cases.services.schedules import training_schedule_create, training_schedule_switch
from cases.services.tallies import jobs_tally
from tests.factories import WORKER, make_actor, newer_model, stored_result, submit
from tests.failing import failed_job

pytestmark = pytest.mark.django_db


@pytest.fixture
def admin() -> Actor:
    return make_actor(roles=["admin"])


def test_workers_are_told_with_what_they_hold(admin: Actor) -> None:
    submit()
    engine_jobs_claim(actor=WORKER, limit=5)
    details = {"engine": "onnx", "model": "m1", "host": "h"}
    pulse_beat(name=WORKER.label, kind="inference", ready=True, details=details)
    pulse_beat(name="beat@h:2", kind="beat", ready=True, details={})
    pulse_beat(name="training@h:3", kind="training", ready=False, details={})
    ServiceHeartbeat.objects.filter(name="beat@h:2").update(
        seen_at=timezone.now() - timedelta(minutes=5)
    )
    pulse_beat(name="gone@h:4", kind="webhooks", ready=True, details={})
    ServiceHeartbeat.objects.filter(name="gone@h:4").update(
        seen_at=timezone.now() - timedelta(hours=2)
    )
    workers = {worker.kind: worker for worker in workers_now(actor=admin)}
    assert set(workers) == {"inference", "beat", "training"}
    held = [(doing.kind, doing.jobs) for doing in workers["inference"].doing]
    assert held == [("inference", 1)]
    assert (workers["inference"].engine, workers["inference"].model) == ("onnx", "m1")
    assert (workers["inference"].alive, workers["beat"].alive) == (True, False)
    assert not workers["training"].ready


def test_hours_are_counted_once_each_move(admin: Actor) -> None:
    stored_result(submit().jobs.get())
    failed_job()
    jobs_tally()
    jobs_tally()
    hours = hours_now(actor=admin)
    assert len(hours.hours) == 24
    assert (hours.done, hours.failed) == (1, 1)
    # Each in the hour of its move: an hour may have ended since.
    moves = JobEvent.objects.filter(to_state__in=["SUCCEEDED", "FAILED"])
    moved = {move.to_state: hour_key(move.at) for move in moves}
    for hour in hours.hours:
        here = [hour_key(hour.begin) == moved[state] for state in ("SUCCEEDED", "FAILED")]
        assert [hour.done, hour.failed] == here
    assert hours.at is not None


def test_hours_of_long_ago_are_dropped_and_a_new_service_has_none(admin: Actor) -> None:
    assert hours_now(actor=admin).at is None
    counts: dict[str, Any] = {}
    start = datetime.fromisoformat("2026-03-01T00:30:00+01:00")
    for n in range(tallies.HOURS_KEPT + 5):
        tallies._hour(counts, "inference", "FAILED", start + timedelta(hours=n))
    kept = counts["hours"]["inference"]
    assert len(kept) == tallies.HOURS_KEPT
    assert hour_key(start) not in kept
    assert min(kept) == hour_key(start + timedelta(hours=5)) == "2026-03-01T04"


def test_the_queue_is_told_by_priority(admin: Actor) -> None:
    submit()
    submit(priority="stat")
    told = {(row.kind, row.priority): row.jobs for row in queue_now(actor=admin)}
    assert told == {("inference", 0): 1, ("inference", 2): 1}


def test_the_live_model_is_told_with_its_time(admin: Actor) -> None:
    assert live_model(actor=admin) is None
    newer_model("one", b"1")
    newer_model("two", b"2")
    model = live_model(actor=admin)
    assert model is not None
    assert model.version == "two"
    assert model.since is not None


def test_the_next_training_is_that_of_the_schedule_that_fires_first(admin: Actor) -> None:
    assert next_firing(actor=admin) is None
    newer_model("one", b"1")
    made = {}
    for name, raw in {
        "yearly": {"cron": "30 2 1 1 *"},
        "soon": {"timing": "interval", "every": "3", "period": "hours"},
    }.items():
        fields = schedule_fields_parse({"name": name, **raw})
        made[name] = training_schedule_create(actor=admin, fields=fields)
    now = timezone.now()
    firing = next_firing(actor=admin)
    assert firing is not None
    assert firing.schedule == made["soon"]
    assert timedelta(hours=2.9) < firing.at - now < timedelta(hours=3.1)
    training_schedule_switch(actor=admin, schedule_id=made["soon"].pk, enabled=False)
    firing = next_firing(actor=admin)
    assert firing is not None
    assert firing.schedule == made["yearly"]
    local = timezone.localtime(firing.at)
    assert (local.month, local.day, local.hour, local.minute) == (1, 1, 2, 30)
    assert next_firing(actor=make_actor(roles=["admin"])) is None


def test_a_disk_that_holds_both_is_told_once(admin: Actor, settings: Any, tmp_path: Path) -> None:
    settings.FILE_UPLOAD_TEMP_DIR = str(tmp_path)
    settings.POSTGRES_DATA = None
    (only,) = disks_now(actor=admin)
    assert (only.holds, only.reserve, only.is_short) == (("uploads",), 0, False)
    settings.POSTGRES_DATA = tmp_path
    settings.BCWEB_RESERVE_MB = 10**9
    (both,) = disks_now(actor=admin)
    assert both.holds == ("uploads", "database")
    assert both.is_short


@pytest.mark.parametrize("role", ["radiologist", "approver", "auditor"])
def test_the_figures_are_for_who_operates(role: str) -> None:
    actor = make_actor(roles=[role])
    for ask in (queue_now, workers_now, hours_now, disks_now):
        with pytest.raises(PermissionDenied):
            ask(actor=actor)


def test_asking_takes_as_many_queries_however_much_there_is(admin: Actor) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as caught:
            for ask in (queue_now, workers_now, hours_now, live_model, next_firing):
                ask(actor=admin)
        return len(caught)

    before = queries()
    for n in range(3):
        submit(actor=make_actor(site=Site.objects.get(pk=admin.site_id)))
        pulse_beat(name=f"inference@h:{n}", kind="inference", ready=True, details={})
    engine_jobs_claim(actor=WORKER, limit=2)
    assert queries() == before


def test_the_plot_stands_for_its_numbers() -> None:
    bars = [HourBar("08:00", 0, 0), HourBar("09:00", 12, 0), HourBar("10:00", 3, 2)]
    assert hours_title(bars) == "15 images read, 2 failed; most from 09:00 on (12)"
    svg = hours_svg(bars)
    assert svg.count("hours-bar") == 2
    assert svg.count("hours-failed") == 1
    assert "2×" in svg
    assert "style" not in svg
    assert "1,234 images read, 0 failed; most from 08:00 on (1,234)" in hours_svg(
        [HourBar("08:00", 1234, 0)]
    )
    assert hours_svg([HourBar("08:00", 0, 0)]) == ""
    assert hours_title([HourBar("08:00", 0, 0)]) == "No image was read in these hours"
    assert hours_svg([HourBar("08:00", 1, 0)]).count("hours-grid") == 2
