"""`/dead-letters/`: failed jobs with their attempts, and trying them again."""

from __future__ import annotations

import pytest

from cases.models import Job, Site
from tests.api.contract import Api, problem
from tests.factories import make_actor, make_token, submit
from tests.failing import failed_job

pytestmark = pytest.mark.django_db


@pytest.fixture
def operator(site: Site) -> Api:
    return Api(make_token(site=site, roles=["admin"], scopes=["admin"])[1])


def test_a_failed_job_tells_its_reason_and_every_attempt(operator: Api, site: Site) -> None:
    job = failed_job(actor=make_actor(site=site))
    (shown,) = operator.get("/dead-letters/").json()["results"]
    assert shown["id"] == str(job.pk)
    assert shown["case"] == str(job.image.case_id)
    assert shown["error"] == {"code": "engine_crashed", "detail": "It died."}
    (attempt,) = shown["attempts"]
    assert (attempt["number"], attempt["worker"]) == (1, "test-worker")
    assert attempt["reason"] == "engine_crashed: It died."


def test_the_list_is_filtered_and_paged(operator: Api, site: Site) -> None:
    sender = make_actor(site=site)
    lost = failed_job(actor=sender, code="worker_lost")
    crashed = [failed_job(actor=sender) for _ in range(2)]
    found = operator.get("/dead-letters/", {"code": "worker_lost"}).json()["results"]
    assert [row["id"] for row in found] == [str(lost.pk)]
    first = operator.get("/dead-letters/", {"page_size": 2}).json()
    assert [row["id"] for row in first["results"]] == [str(job.pk) for job in crashed[::-1]]
    assert [row["id"] for row in operator.get(first["next"]).json()["results"]] == [str(lost.pk)]
    later = {"since": "2100-01-01T00:00:00Z"}
    assert operator.get("/dead-letters/", later).json()["results"] == []
    problem(operator.get("/dead-letters/", {"since": "yesterday"}), 422, "field_invalid")


def test_chosen_jobs_are_tried_again_and_twice_is_once(operator: Api, site: Site) -> None:
    sender = make_actor(site=site)
    jobs = [failed_job(actor=sender) for _ in range(2)]
    waiting = submit(actor=sender).jobs.get()
    asked = {"jobs": [str(job.pk) for job in (*jobs, waiting)]}
    told = operator.post("/dead-letters/retry/", asked).json()["results"]
    assert [row["job"] for row in told] == asked["jobs"]
    assert told[2]["retried_as"] is None
    assert told[2]["error"]["code"] == "state_conflict"
    assert operator.get(f"/jobs/{told[0]['retried_as']}/").json()["rerun_of"] == str(jobs[0].pk)
    assert operator.get("/dead-letters/").json()["results"] == []
    again = operator.post("/dead-letters/retry/", asked).json()["results"]
    assert again == told
    assert Job.objects.count() == 5


@pytest.mark.parametrize("body", [{}, {"jobs": []}, {"jobs": ["x"]}, {"jobs": "x"}])
def test_what_names_no_jobs_is_refused(operator: Api, body: dict[str, object]) -> None:
    problem(operator.post("/dead-letters/retry/", body), 422, "field_invalid")


def test_a_token_without_the_scope_may_not(api: Api) -> None:
    problem(api.get("/dead-letters/"), 403, "permission_denied")
    problem(api.post("/dead-letters/retry/", {"jobs": []}), 403, "permission_denied")
