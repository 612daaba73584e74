"""`/metrics` of the service itself: queue, jobs, requests, workers, seals, storage."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlsplit

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from prometheus_client.parser import text_string_to_metric_families

from bcweb import metrics, metrics_folder
from cases.models import AuditSeal
from cases.services.leases import engine_jobs_claim
from cases.services.pulse import pulse_beat
from cases.services.seals import audit_seal
from cases.services.tallies import jobs_tally
from tests.factories import WORKER, make_actor, make_site, make_user, stored_result, submit
from tests.live import free_port, wait_for

pytestmark = pytest.mark.django_db
TOKEN = "a-token-for-prometheus-of-40-characters!"
ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def counted_anew(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    settings.BCWEB_METRICS_TOKEN = TOKEN
    monkeypatch.setattr(metrics, "KEPT_S", 0.0)
    metrics.kept.forget()
    yield
    metrics.kept.forget()


Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def parsed(text: str) -> Samples:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def scrape() -> str:
    response = Client().get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
    assert response.status_code == 200
    return response.content.decode()


def value(name: str, samples: Samples | None = None, **labels: str) -> float | None:
    found = parsed(scrape()) if samples is None else samples
    return found.get((f"bcweb_{name}", frozenset(labels.items())))


def test_the_queue_is_told_by_kind_and_priority() -> None:
    for priority in ("routine", "routine", "stat"):
        submit(priority=priority)
    found = parsed(scrape())
    assert value("queue_jobs", found, kind="inference", priority="routine") == 2
    assert value("queue_jobs", found, kind="inference", priority="stat") == 1
    assert value("queue_jobs", found, kind="training", priority="urgent") == 0
    assert value("jobs", found, kind="inference", state="PENDING") == 3
    engine_jobs_claim(actor=WORKER, limit=1)
    found = parsed(scrape())
    assert value("queue_jobs", found, kind="inference", priority="stat") == 0
    assert value("queue_oldest_seconds", found, kind="inference", priority="stat") == 0
    assert value("jobs", found, kind="inference", state="RUNNING") == 1


@pytest.mark.django_db(transaction=True)
def test_the_oldest_waiting_job_ages() -> None:
    submit()
    wait_for("the job to age", lambda: (age() or 0) > 0.01)


def age() -> float | None:
    return value("queue_oldest_seconds", kind="inference", priority="routine")


def test_what_jobs_became_is_told_as_counters_and_histograms() -> None:
    assert value("jobs_created_total", kind="inference") == 0
    stored_result(submit().jobs.get())
    submit()
    jobs_tally()
    found = parsed(scrape())
    assert value("jobs_created_total", found, kind="inference") == 2
    assert value("job_attempts_total", found, kind="inference") == 1
    assert value("job_retries_total", found, kind="inference") == 0
    assert value("jobs_ended_total", found, kind="inference", state="SUCCEEDED") == 1
    assert value("jobs_ended_total", found, kind="inference", state="FAILED") == 0
    for name in ("job_waiting_seconds", "job_running_seconds"):
        assert value(f"{name}_count", found, kind="inference") == 1
        assert value(f"{name}_bucket", found, kind="inference", le="86400") == 1
        assert value(f"{name}_sum", found, kind="inference") is not None
        assert value(f"{name}_count", found, kind="training") == 0
    assert value("jobs_counted_timestamp_seconds", found) is not None


def test_counters_are_the_same_in_a_process_that_has_just_counted_the_rest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Processes keep gauges for a while, each since a moment of its own."""
    monkeypatch.setattr(metrics, "KEPT_S", 600.0)
    metrics.kept.forget()
    before = parsed(scrape())
    submit()
    jobs_tally()
    after = parsed(scrape())
    here = {"kind": "inference", "priority": "routine"}
    made = [value("jobs_created_total", found, kind="inference") for found in (before, after)]
    assert made == [0, 1]
    assert value("queue_jobs", before, **here) == value("queue_jobs", after, **here) == 0


def test_workers_that_are_there_are_told() -> None:
    assert value("workers", kind="inference") == 0
    pulse_beat(name="inference@here:1", kind="inference", ready=True, details={})
    pulse_beat(name="inference@here:2", kind="inference", ready=False, details={})
    assert value("workers", kind="inference") == 1
    # Those that are missing are told, so that an alert can be raised.
    assert value("workers", kind="beat") == value("workers", kind="webhooks") == 0


def test_how_far_the_audit_is_sealed_is_told() -> None:
    submit()
    found = parsed(scrape())
    assert (value("audit_seals", found), value("audit_last_seal_timestamp_seconds", found)) == (
        0,
        None,
    )
    assert (value("audit_unsealed_events", found) or 0) > 1
    audit_seal()
    found = parsed(scrape())
    assert (value("audit_seals", found), value("audit_unsealed_events", found)) == (1, 0)
    assert value("audit_unsealed_seconds", found) == 0
    sealed_at = AuditSeal.objects.get().sealed_at.timestamp()
    assert value("audit_last_seal_timestamp_seconds", found) == pytest.approx(sealed_at)


def test_room_and_sizes_are_told() -> None:
    submit()
    found = parsed(scrape())
    for name in ("uploads_bytes", "database_bytes", "disk_free_bytes", "disk_bytes"):
        assert (value(name, found) or 0) > 0, name


def test_requests_are_counted_by_route_and_never_by_path() -> None:
    site = make_site()
    submission = submit(actor=make_actor(site=site))
    client = Client()
    client.force_login(make_user(roles=["radiologist"], site=site))
    route = {"method": "GET", "route": "case-detail"}
    before = value("http_requests_total", **route, status="200") or 0
    slow = value("http_request_seconds_count", **route) or 0
    assert client.get(f"/cases/{submission.case_id}/").status_code == 200
    client.get("/no/such/SECRET-PATH")
    client.get("/api/v1/no/such/SECRET-PATH")
    client.get("/static/SECRET-PATH.css")
    client.generic("BREW", "/healthz")
    text = scrape()
    found = parsed(text)
    assert value("http_requests_total", found, **route, status="200") == before + 1
    assert value("http_request_seconds_count", found, **route) == slow + 1
    assert value("http_requests_total", found, method="GET", route="unmatched", status="404")
    assert value("http_requests_total", found, method="GET", route="static", status="404")
    assert value("http_requests_total", found, method="other", route="healthz", status="405")
    assert "SECRET-PATH" not in text
    assert "BREW" not in text
    assert str(submission.case_id) not in text


def test_no_patient_is_told_and_no_more_is_asked_for_more() -> None:
    actor = make_actor(site=make_site())

    def answered(*numbers: int) -> None:
        for number in numbers:
            submission = submit(actor=actor, patient_id=f"SECRET-{number}")
            stored_result(submission.jobs.get())

    answered(1)
    jobs_tally()
    audit_seal()
    with CaptureQueriesContext(connection) as few:
        scrape()
    answered(2, 3, 4)
    with CaptureQueriesContext(connection) as more:
        text = scrape()
    assert len(more) == len(few)
    assert "SECRET" not in text


# --- Several processes -------------------------------------------------------------------------


def test_a_killed_servers_counts_are_removed_by_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics_folder, "_SHARED", tmp_path)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    dead, own = metrics_folder.of_server(ended.pid), metrics_folder.of_server(os.getpid())
    other = tmp_path / "somebody-elses"
    for folder in (dead, own, other):
        folder.mkdir()
        (folder / "counter_1.db").touch()
    metrics_folder.make(own)
    assert sorted(tmp_path.iterdir()) == sorted([own, other])
    assert list(own.iterdir()) == []
    assert own.stat().st_mode & 0o777 == 0o700


def _get(url: str, **headers: str) -> str:
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=120) as got:
        return str(got.read().decode())


def _answers(url: str) -> bool:
    try:
        return bool(_get(url))
    except (URLError, OSError):
        return False


@pytest.mark.django_db(transaction=True)
def test_the_processes_of_a_web_server_count_together() -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    name = str(connection.settings_dict["NAME"])
    database = urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{name}").geturl()
    server = subprocess.Popen(
        [
            *(sys.executable, "-m", "gunicorn", "bcweb.wsgi:application", "--preload"),
            *("--config", "python:bcweb.gunicorn", "--workers", "2", "--threads", "2"),
            *("--worker-class", "gthread", "--no-control-socket", "--timeout", "120"),
            *("--bind", f"127.0.0.1:{port}"),
        ],
        cwd=ROOT,
        env=os.environ | {"DATABASE_URL": database, "BCWEB_METRICS_TOKEN": TOKEN},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    folder = metrics_folder.of_server(server.pid)
    told = {"method": "GET", "route": "healthz", "status": "200"}

    def counted() -> float | None:
        text = _get(f"{url}/metrics", Authorization=f"Bearer {TOKEN}")
        return value("http_requests_total", parsed(text), **told)

    def unless_cut_off() -> float | None:
        try:
            return counted()
        except OSError:
            return None

    try:
        wait_for("the server", lambda: _answers(f"{url}/healthz"), seconds=400, every=0.5)
        begun = counted()
        assert begun is not None
        for _ in range(12):
            _get(f"{url}/healthz")
        # Whoever answers: all of them know all.
        assert {counted() for _ in range(6)} == {begun + 12}
        counting = {path.stem.rpartition("_")[2] for path in folder.glob("counter_*.db")}
        # What a killed process has counted stays counted.
        os.kill(int(next(iter(counting))), signal.SIGKILL)
        assert wait_for("an answer", unless_cut_off) == begun + 12
    finally:
        server.terminate()
        server.wait(60)
    assert not folder.exists()
