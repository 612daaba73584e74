"""Counts of the moves of jobs: each move once, whoever counts and however often."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from django.db import connection, transaction

from cases.models import JobEvent, JobTally
from cases.services import tallies
from cases.services.jobs import job_cancel
from cases.services.leases import engine_jobs_claim, job_fail
from cases.services.tallies import jobs_tally
from tests.factories import WORKER, at_once, make_actor, make_site, stored_result, submit


def moves() -> dict[str, int]:
    tally = JobTally.objects.first()
    return tally.counts["moves"].get("inference", {}) if tally else {}


def histogram(what: str) -> dict[str, Any]:
    return dict(JobTally.objects.get().counts[what]["inference"])


@pytest.mark.django_db
def test_each_move_is_counted_once() -> None:
    stored_result(submit().jobs.get())
    assert jobs_tally() == JobEvent.objects.count()
    assert moves() == {">PENDING": 1, "PENDING>RUNNING": 1, "RUNNING>SUCCEEDED": 1}
    assert sum(histogram("waiting")["buckets"]) == sum(histogram("running")["buckets"]) == 1
    assert jobs_tally() == 0
    stored_result(submit().jobs.get())
    jobs_tally()
    assert moves() == {">PENDING": 2, "PENDING>RUNNING": 2, "RUNNING>SUCCEEDED": 2}
    assert JobTally.objects.get().complete_at is not None


@pytest.mark.django_db
def test_retries_failures_and_cancelled_jobs_are_told_apart() -> None:
    site = make_site()
    actor = make_actor(site=site)
    submit(actor=actor)
    (claim,) = engine_jobs_claim(actor=WORKER, limit=1)
    told = {"code": "worker_fault", "detail": "x"}
    job_fail(actor=WORKER, job_id=claim.job_id, attempt=1, transient=True, **told)
    job_cancel(actor=actor, job_id=claim.job_id)
    submit(actor=actor)
    (claim,) = engine_jobs_claim(actor=WORKER, limit=1)
    job_fail(actor=WORKER, job_id=claim.job_id, attempt=1, transient=False, **told)
    jobs_tally()
    assert moves() == {
        ">PENDING": 2,
        "PENDING>RUNNING": 2,
        "RUNNING>PENDING": 1,
        "PENDING>CANCELLED": 1,
        "RUNNING>FAILED": 1,
    }
    # Neither a second attempt nor a cancelled job is a wait or a length.
    assert sum(histogram("waiting")["buckets"]) == 2
    assert sum(histogram("running")["buckets"]) == 1


@pytest.mark.django_db
def test_a_quiet_service_tells_that_its_counts_are_complete() -> None:
    assert jobs_tally() == 0
    submit()
    jobs_tally()
    before = JobTally.objects.get()
    assert jobs_tally() == 0
    after = JobTally.objects.get()
    assert after.counts == before.counts
    assert after.complete_at is not None
    assert before.complete_at is not None
    assert after.complete_at > before.complete_at


@pytest.mark.django_db
def test_a_backlog_is_counted_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tallies, "MOVES_AT_ONCE", 2)
    for _ in range(2):
        stored_result(submit().jobs.get())
    total = JobEvent.objects.count()
    assert jobs_tally(seconds=0) == 2
    assert JobTally.objects.get().complete_at is None
    assert jobs_tally(seconds=None) == total - 2
    assert sum(moves().values()) == total


@pytest.mark.django_db(transaction=True)
def test_a_move_that_is_committed_late_is_counted() -> None:
    submit()
    first = JobEvent.objects.get()
    written, go = threading.Event(), threading.Event()

    def late() -> None:
        try:
            with transaction.atomic():
                JobEvent.objects.create(
                    job=first.job, from_state="PENDING", to_state="RUNNING", attempt=1, actor="w"
                )
                written.set()
                assert go.wait(300)
        finally:
            connection.close()

    thread = threading.Thread(target=late)
    thread.start()
    try:
        assert written.wait(120)
        submit()
        assert jobs_tally(patience_s=0.2) == 0
    finally:
        go.set()
        thread.join(300)
    assert jobs_tally() == 3
    assert moves() == {">PENDING": 2, "PENDING>RUNNING": 1}


@pytest.mark.django_db(transaction=True)
def test_two_at_once_count_nothing_twice() -> None:
    for _ in range(3):
        submit()
    assert sum(at_once(3, jobs_tally)) == 3
    assert moves() == {">PENDING": 3}
