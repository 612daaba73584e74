"""Failed jobs that wait for a person, and trying them again."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from cases.access import Role
from cases.errors import NotFound, Overloaded, PermissionDenied, StateConflict
from cases.models import AuditEvent, Job, Site
from cases.selectors.dead_letters import (
    attempts_of,
    dead_letter_codes,
    dead_letter_count,
    dead_letter_list,
    dead_letter_page,
)
from cases.services.dead_letters import dead_letters_retry
from cases.services.jobs import job_cancel, job_rerun
from cases.states import JobState
from tests.factories import at_once, make_actor, make_site, stored_result, submit
from tests.failing import fail, failed_job

pytestmark = pytest.mark.django_db


@pytest.fixture
def site(db: None) -> Site:
    return make_site()


def test_a_failed_image_is_listed_until_it_is_asked_for_again(site: Site) -> None:
    admin, sender = make_actor(roles=["admin"], site=site), make_actor(site=site)
    job = failed_job(actor=sender)
    assert list(dead_letter_list(actor=admin)) == [job]
    assert dead_letter_count(actor=admin) == 1
    again = job_rerun(actor=sender, job_id=job.pk)
    assert dead_letter_count(actor=admin) == 0
    # Failed once more: the last word about the image is listed, and only that.
    fail(again)
    assert [row.pk for row in dead_letter_list(actor=admin)] == [again.pk]


def test_what_waits_runs_or_succeeded_is_no_dead_letter(site: Site) -> None:
    sender = make_actor(site=site)
    stored_result(submit(actor=sender).jobs.get())
    fail(submit(actor=sender).jobs.get(), transient=True)
    submit(actor=sender)
    assert not dead_letter_list(actor=make_actor(roles=["admin"], site=site)).exists()


def test_every_site_sees_its_own(site: Site) -> None:
    failed_job(actor=make_actor(site=site))
    elsewhere = make_actor(roles=["admin"])
    assert dead_letter_count(actor=elsewhere) == 0
    assert not dead_letter_list(actor=elsewhere).exists()
    assert dead_letter_codes(actor=elsewhere) == []


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.ADMIN])
def test_only_who_operates_sees_and_retries(site: Site, role: Role) -> None:
    actor = make_actor(roles=[role], site=site)
    with pytest.raises(PermissionDenied):
        dead_letter_list(actor=actor)
    with pytest.raises(PermissionDenied):
        dead_letters_retry(actor=actor, job_ids=[uuid.uuid4()])


def test_the_list_is_filtered_by_code_and_time(site: Site) -> None:
    admin, sender = make_actor(roles=["admin"], site=site), make_actor(site=site)
    crashed = failed_job(actor=sender)
    lost = failed_job(actor=sender, code="worker_lost")
    Job.objects.filter(pk=lost.pk).update(finished_at=Now() - timedelta(days=2))
    yesterday = timezone.now() - timedelta(days=1)
    assert list(dead_letter_list(actor=admin, code="worker_lost")) == [lost]
    assert list(dead_letter_list(actor=admin, since=yesterday)) == [crashed]
    assert list(dead_letter_list(actor=admin, until=yesterday)) == [lost]
    assert list(dead_letter_list(actor=admin)) == [crashed, lost]
    assert dead_letter_codes(actor=admin) == ["engine_crashed", "worker_lost"]


def test_pages_follow_each_other(site: Site) -> None:
    admin, sender = make_actor(roles=["admin"], site=site), make_actor(site=site)
    jobs = [failed_job(actor=sender) for _ in range(3)][::-1]
    first = dead_letter_page(actor=admin, size=2)
    assert (first.rows, first.has_newer, first.has_older) == (jobs[:2], False, True)
    second = dead_letter_page(actor=admin, size=2, older_than=jobs[1].pk)
    assert (second.rows, second.has_newer, second.has_older) == (jobs[2:], True, False)
    with pytest.raises(NotFound):
        dead_letter_page(actor=make_actor(roles=["admin"]), size=2, older_than=jobs[1].pk)


def test_the_history_tells_of_every_attempt(site: Site) -> None:
    job = submit(actor=make_actor(site=site)).jobs.get()
    fail(job, code="worker_lost", detail="Silent.", transient=True)
    Job.objects.filter(pk=job.pk).update(available_at=Now())
    fail(job)
    attempts = attempts_of([job])[job.pk]
    assert [(a.number, a.worker, a.reason) for a in attempts] == [
        (1, "test-worker", "worker_lost: Silent."),
        (2, "test-worker", "engine_crashed: It died."),
    ]
    assert attempts[0].began_at <= attempts[0].ended_at <= attempts[1].began_at


def test_a_page_costs_the_same_few_queries_however_many_failed(site: Site) -> None:
    admin, sender = make_actor(roles=["admin"], site=site), make_actor(site=site)

    def cost() -> int:
        with CaptureQueriesContext(
            connection,
        ) as queries:
            page = dead_letter_page(actor=admin, size=50)
            attempts_of(page.rows)
            dead_letter_count(actor=admin)
        return len(queries)

    failed_job(actor=sender)
    one = cost()
    for _ in range(3):
        failed_job(actor=sender)
    assert cost() == one


def test_a_retry_is_a_new_job_and_the_failed_one_stays(site: Site) -> None:
    admin = make_actor(roles=["admin"], site=site)
    job = failed_job(actor=make_actor(site=site))
    (retry,) = dead_letters_retry(actor=admin, job_ids=[job.pk])
    assert retry.new is not None and retry.error is None
    assert (retry.new.state, retry.new.rerun_of_id) == (JobState.PENDING, job.pk)
    job.refresh_from_db()
    assert (job.state, job.error_code) == (JobState.FAILED, "engine_crashed")
    event = AuditEvent.objects.get(action="job.retried")
    assert (event.object_id, event.actor_label) == (str(job.pk), admin.label)
    assert event.detail == {"code": "engine_crashed", "as": str(retry.new.pk)}
    assert event.case_id == job.image.case_id


def test_twice_is_once_also_after_the_new_job_has_ended(site: Site) -> None:
    admin = make_actor(roles=["admin"], site=site)
    job = failed_job(actor=make_actor(site=site))
    first = dead_letters_retry(actor=admin, job_ids=[job.pk, job.pk])
    assert len(first) == 1
    stored_result(first[0].new)
    second = dead_letters_retry(actor=admin, job_ids=[job.pk])
    assert second[0].new == first[0].new
    assert Job.objects.count() == 2
    assert AuditEvent.objects.filter(action="job.retried").count() == 1


@pytest.mark.django_db(transaction=True)
def test_two_who_retry_at_the_same_time_make_one_job(site: Site) -> None:
    admin = make_actor(roles=["admin"], site=site)
    job = failed_job(actor=make_actor(site=site))
    told = at_once(4, lambda: dead_letters_retry(actor=admin, job_ids=[job.pk])[0].new)
    assert len({new.pk for new in told}) == 1
    assert Job.objects.filter(rerun_of=job).count() == 1


def test_one_that_cannot_be_tried_again_keeps_no_other_from_it(site: Site) -> None:
    admin, sender = make_actor(roles=["admin"], site=site), make_actor(site=site)
    good = failed_job(actor=sender)
    elsewhere = failed_job()
    waiting = submit(actor=sender).jobs.get()
    told = dead_letters_retry(
        actor=admin, job_ids=[elsewhere.pk, waiting.pk, uuid.uuid4(), good.pk]
    )
    assert [type(retry.error) for retry in told] == [
        NotFound,
        StateConflict,
        NotFound,
        type(None),
    ]
    assert told[3].new is not None
    assert not Job.objects.filter(rerun_of=elsewhere).exists()


@pytest.mark.parametrize("end", ["failed", "cancelled"])
def test_a_retry_that_failed_as_well_is_no_success(site: Site, end: str) -> None:
    admin, sender = make_actor(roles=["admin"], site=site), make_actor(site=site)
    job = failed_job(actor=sender)
    first = dead_letters_retry(actor=admin, job_ids=[job.pk])[0].new
    assert first is not None
    assert dead_letters_retry(actor=admin, job_ids=[job.pk])[0].new == first
    if end == "failed":
        fail(first)
    else:
        job_cancel(actor=sender, job_id=first.pk)
    told = dead_letters_retry(actor=admin, job_ids=[job.pk])[0]
    assert told.new is None
    assert isinstance(told.error, StateConflict)
    assert end in told.error.detail
    assert job.reruns.count() == 1


def test_where_there_is_no_room_the_rest_is_not_tried(site: Site, settings: Any) -> None:
    admin, sender = make_actor(roles=["admin"], site=site), make_actor(site=site)
    jobs = [failed_job(actor=sender) for _ in range(3)]
    settings.BCWEB_MAX_QUEUE = 1
    told = dead_letters_retry(actor=admin, job_ids=[job.pk for job in jobs])
    assert told[0].new is not None
    assert all(isinstance(retry.error, Overloaded) for retry in told[1:])
    assert dead_letter_count(actor=admin) == 2
