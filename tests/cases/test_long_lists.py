"""Long queues and long lists: the database walks an index, whatever the length."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.db.models import QuerySet
from django.test.utils import CaptureQueriesContext

from cases.models import AuditEvent, Case, Image, Job, Submission, WorklistEntry
from cases.selectors.audit import audit_list
from cases.selectors.cases import submission_list
from cases.selectors.jobs import job_list
from cases.selectors.worklist import Cursor, in_order, worklist, worklist_page
from cases.services.leases import engine_jobs_claim
from cases.services.worklist import worklist_fold
from cases.worklisting import Order, worklist_filters_parse
from tests.factories import WORKER, make_actor, submit

pytestmark = pytest.mark.django_db

MANY = 3_000


def copies(image: Image, count: int, **changes: str) -> None:
    """So many jobs like the one of ``image``, past the services: measuring is all they are for."""
    told = {
        "id": "gen_random_uuid()",
        "frame": "n",
        "due_at": "now() - n * interval '1 second'",
        "created_at": "now() - n * interval '1 second'",
        **changes,
    }
    columns = [field.column for field in Job._meta.concrete_fields]
    source = ", ".join(told.get(column, f"job.{column}") for column in columns)
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO cases_job ({', '.join(columns)}) SELECT {source} "
            f"FROM cases_job AS job, generate_series(1, {count}) AS n WHERE job.image_id = %s "
            "AND job.frame = 0",
            [image.pk],
        )
        cursor.execute("ANALYZE cases_job")


def plan(rows: QuerySet[Any]) -> str:
    return rows.explain()


def test_a_claim_reads_the_head_of_the_queue_and_sorts_nothing() -> None:
    job = submit().jobs.get()
    copies(job.image, MANY)
    waiting = Job.objects.filter(kind="inference", state="PENDING").order_by("due_at", "id")
    told = plan(waiting[:8])
    assert "job_queue" in told
    assert "Sort" not in told
    with CaptureQueriesContext(connection) as caught:
        claims = engine_jobs_claim(actor=WORKER, limit=8)
    assert len(claims) == 8
    assert len(caught) <= 10
    # The oldest due first.
    due = Job.objects.filter(pk__in=[claim.job_id for claim in claims]).values_list(flat=True)
    assert len(due) == 8
    left = Job.objects.filter(state="PENDING").order_by("due_at").first()
    assert left is not None
    assert left.frame == MANY - 8


@pytest.mark.parametrize(
    ("narrow", "index"),
    [
        (lambda jobs: jobs, "job_of_site"),
        (lambda jobs: jobs.filter(kind="replay"), "job_of_site_by_kind"),
        (lambda jobs: jobs.filter(state="CANCELLED"), "job_of_site_unanswered"),
    ],
)
def test_a_list_of_jobs_is_read_in_order_also_of_what_is_rare(
    narrow: Callable[[QuerySet[Job]], QuerySet[Job]], index: str
) -> None:
    actor = make_actor()
    job = submit(actor=actor).jobs.get()
    copies(
        job.image, MANY, state="'SUCCEEDED'", finished_at="now()", attempt="1", started_at="now()"
    )
    told = plan(narrow(job_list(actor=actor))[:51])
    assert index in told, told
    assert "Sort" not in told, told


def test_submissions_of_a_site_are_read_in_both_orders_from_an_index() -> None:
    actor = make_actor()
    first = submit(actor=actor)
    Submission.objects.bulk_create(
        Submission(site=first.site, case=first.case, user=first.user, fingerprint="x")
        for _ in range(MANY)
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE cases_submission")
    falling = submission_list(actor=actor)
    for rows in (falling, falling.order_by("created_at", "id")):
        told = rows[:51].explain()
        assert "submission_of_site" in told, told
        assert "Sort" not in told, told


def test_rare_actions_of_the_trail_are_found_without_walking_it() -> None:
    actor = make_actor(roles=["auditor"])
    AuditEvent.objects.bulk_create(
        AuditEvent(
            actor_kind="user",
            actor_label="x",
            action="case.viewed",
            object_type="case",
            object_id=str(uuid.uuid4()),
            site_id=actor.site_id,
        )
        for _ in range(MANY)
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE cases_auditevent")
    told = plan(audit_list(actor=actor).filter(action="token.revoked")[:51])
    assert "audit_of_action" in told, told
    assert "Seq Scan" not in told, told


def many_cases(case: Case) -> None:
    """So many cases of the patient of ``case``, as the worklist keeps them: all done and routine,
    a third of them read."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO cases_case (id, site_id, patient_id, accession_number, accession_issuer, "
            "study_instance_uid, indication, created_at) SELECT gen_random_uuid(), site_id, "
            "patient_id, '', '', '', '', now() - n * interval '1 minute' FROM cases_case, "
            "generate_series(1, %s) AS n WHERE id = %s",
            [MANY, case.pk],
        )
        cursor.execute("DELETE FROM cases_worklistchange")
        cursor.execute(
            "INSERT INTO cases_worklistentry (case_id, site_id, arrived_at, priority, state, "
            "answer, top_score, rank, place) SELECT id, site_id, created_at, 2, 'done', 'below', "
            "random() / 3, CASE WHEN n % 3 = 0 THEN 3 ELSE 2 END, n FROM (SELECT *, row_number() "
            "OVER () AS n FROM cases_case WHERE accession_number = '') AS made"
        )
        cursor.execute("ANALYZE cases_worklistentry")


@pytest.mark.parametrize(
    ("query", "index"),
    [
        ({}, "worklist_order"),
        ({"reading": "unread"}, "worklist_order"),
        ({"reading": "signed"}, "worklist_order"),
        ({"order": "newest"}, "worklist_newest"),
        ({"order": "newest", "period": "today"}, "worklist_newest"),
        ({"order": "score"}, "worklist_score"),
        ({"order": "newest", "state": "waiting"}, "worklist_unfinished"),
        ({"order": "newest", "answer": "refused"}, "worklist_unanswered"),
        ({"order": "newest", "priority": "stat"}, "worklist_urgent"),
    ],
)
def test_each_order_and_each_rare_filter_of_the_worklist_has_its_index(
    query: dict[str, str], index: str
) -> None:
    actor = make_actor()
    case = submit(actor=actor, accession_number="A-1", priority="stat").case
    worklist_fold()
    many_cases(case)
    filters = worklist_filters_parse(query)
    told = plan(in_order(worklist(actor=actor, filters=filters), filters.order)[:31])
    assert index in told, told
    assert "Sort" not in told, told
    assert "Seq Scan" not in told, told


@pytest.mark.parametrize("order", list(Order))
def test_a_page_far_down_begins_at_its_place_and_costs_what_the_first_one_costs(
    order: Order,
) -> None:
    actor = make_actor()
    many_cases(submit(actor=actor, accession_number="A-1").case)
    worklist_fold()
    filters = worklist_filters_parse({"order": order.value})
    entries = in_order(worklist(actor=actor, filters=filters), order)
    every = list(entries.values_list("case_id", flat=True))
    assert len(every) == MANY
    at = 2 * MANY // 3
    cursor = Cursor.of(WorklistEntry.objects.get(case_id=every[at]), order).encode()

    def page(**where: str) -> tuple[list[Any], int]:
        with CaptureQueriesContext(connection) as caught:
            found = worklist_page(actor=actor, filters=filters, size=30, **where)
        assert (found.has_newer, found.has_older) == (bool(where), True)
        return [entry.case_id for entry in found.rows], len(caught)

    first, queries = page()
    assert first == every[:30]
    assert page(after=cursor) == (every[at + 1 : at + 31], queries)
    assert page(before=cursor) == (every[at - 30 : at], queries)
