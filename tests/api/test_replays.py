"""Replay over HTTP: asked for, followed, told; the result itself stays."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cases.models import AuditEvent, Job, Result, Site
from cases.services.leases import engine_jobs_claim, job_fail
from cases.services.replays import replay_store
from tests.api.conftest import answer_waiting
from tests.api.contract import Api, problem
from tests.factories import WORKER, answer, make_actor, make_site, make_token, phantom_jpeg, submit

pytestmark = pytest.mark.django_db


@pytest.fixture
def result(site: Site) -> Result:
    submit(actor=make_actor(site=site))
    return answer_waiting()[0]


def path(result: Result) -> str:
    return f"/results/{result.pk}/replay/"


def work(malignant: float = 0.8, **change: Any) -> None:
    """A worker takes what waits and comes to this answer."""
    for claim in engine_jobs_claim(actor=WORKER, limit=8):
        told = replace(answer(malignant), **change)
        assert replay_store(actor=WORKER, job_id=claim.job_id, attempt=claim.attempt, answer=told)


def test_a_result_that_comes_out_again_is_equal(api: Api, result: Result) -> None:
    asked = api.post(path(result))
    body = asked.json()
    assert asked.status_code == 202
    assert asked.headers["Location"] == body["url"]
    assert asked.headers["Retry-After"] == "1"
    assert (body["state"], body["equal"], body["differences"]) == ("PENDING", None, None)
    assert api.get(body["url"]).json()["state"] == "PENDING"
    work(engine="onnxruntime-1-cpu")
    told = api.get(body["url"])
    body = told.json()
    assert "Retry-After" not in told.headers
    assert (body["state"], body["equal"], body["differences"]) == ("SUCCEEDED", True, [])
    assert (body["engine"], body["tolerance"]) == ("onnxruntime-1-cpu", 1e-3)
    assert body["result"] == str(result.pk)
    assert body["finished_at"] is not None
    again = api.get(body["url"], If_None_Match=told.headers["ETag"])
    assert again.status_code == 304
    job = api.get(body["job_url"]).json()
    assert (job["kind"], job["state"], job["result"]) == ("replay", "SUCCEEDED", None)
    assert (job["replay_of"], job["image"]) == (str(result.pk), None)


def test_what_does_not_come_out_again_is_told(api: Api, result: Result) -> None:
    before = api.get(f"/results/{result.pk}/").json()
    api.post(path(result))
    work(0.3)
    body = api.get(path(result)).json()
    assert body["equal"] is False
    found = {difference["what"]: difference for difference in body["differences"]}
    assert found["label"] == {
        "what": "label",
        "stored": "malignant",
        "now": "benign",
        "tolerance": None,
    }
    assert found["score_malignant"]["stored"] == 0.8
    assert api.get(f"/results/{result.pk}/").json() == before


def test_twice_is_once_while_it_waits(api: Api, result: Result) -> None:
    jobs = {api.post(path(result)).json()["job"] for _ in range(2)}
    assert len(jobs) == 1
    assert AuditEvent.objects.filter(action="replay.created").count() == 1


def test_a_replay_that_failed_says_why(api: Api, result: Result) -> None:
    api.post(path(result))
    (claim,) = engine_jobs_claim(actor=WORKER, limit=1)
    job_fail(
        actor=WORKER,
        job_id=claim.job_id,
        attempt=claim.attempt,
        code="storage_damaged",
        detail="The stored image is missing or damaged.",
        transient=False,
    )
    body = api.get(path(result)).json()
    assert (body["state"], body["equal"]) == ("FAILED", None)
    assert body["error"]["code"] == "storage_damaged"


def test_where_nobody_asked_or_nothing_is_there_is_nothing(api: Api, result: Result) -> None:
    problem(api.get(path(result)), 404, "not_found")
    nowhere = "/results/00000000-0000-4000-8000-000000000000/replay/"
    problem(api.post(nowhere), 404, "not_found")
    stranger = Api(make_token(site=make_site())[1])
    problem(stranger.post(path(result)), 404, "not_found")
    problem(stranger.get(path(result)), 404, "not_found")
    assert not Job.objects.filter(kind="replay").exists()


def test_a_token_that_may_only_submit_replays_its_own_results(site: Site, result: Result) -> None:
    token = make_token(site=site, scopes=["submit"])[1]
    problem(Api(token).post(path(result)), 404, "not_found")
    reader = Api(make_token(site=site, scopes=["read"])[1])
    problem(reader.post(path(result)), 403, "permission_denied")


def test_who_runs_the_queue_without_seeing_cases_sees_no_scores(site: Site, result: Result) -> None:
    operator = Api(make_token(site=site, roles=["admin"], scopes=["admin"])[1])
    assert operator.post(path(result)).status_code == 202
    work(0.3)
    body = operator.get(path(result)).json()
    assert (body["equal"], body["differences"]) == (False, None)


def test_a_result_tells_how_it_was_computed(api: Api, site: Site) -> None:
    early = submit(actor=make_actor(site=site)) and answer_waiting()[0]
    body = api.get(f"/results/{early.pk}/").json()
    for key in ("reason_code", "temperature", "minimum_score", "transform"):
        assert body[key] is None
    assert body["replay_url"].endswith(f"/api/v1/results/{early.pk}/replay/")


def test_jobs_are_listed_by_kind(api: Api, result: Result) -> None:
    job = api.post(path(result)).json()["job"]
    listed = api.get("/jobs/", {"kind": "replay"}).json()["results"]
    assert [row["id"] for row in listed] == [job]
    problem(api.post(f"/jobs/{job}/rerun/"), 409, "state_conflict")
    assert api.post(f"/jobs/{job}/cancel/").json()["state"] == "CANCELLED"


def test_reading_what_differs_is_reading_the_result(api: Api, site: Site, result: Result) -> None:
    api.post(path(result))
    assert api.get(path(result)).json()["differences"] is None
    reads = AuditEvent.objects.filter(action="result.read", object_id=str(result.pk))
    assert not reads.exists()
    work(0.3)
    for _ in range(2):
        assert api.get(path(result)).json()["differences"]
    assert [event.case_id for event in reads] == [result.image.case_id]
    operator = Api(make_token(site=site, roles=["admin"], scopes=["admin"])[1])
    assert operator.get(path(result)).json()["differences"] is None
    assert reads.count() == 1


def test_a_token_that_may_only_submit_follows_and_cancels_its_own_replay(site: Site) -> None:
    mine = Api(make_token(site=site, scopes=["submit"])[1])
    mine.submit([("image.jpg", phantom_jpeg())], patient_id="P1")
    own = answer_waiting()[0]
    asked = mine.post(path(own))
    assert asked.status_code == 202
    job = mine.get(asked.json()["job_url"])
    assert (job.status_code, job.json()["replay_of"]) == (200, str(own.pk))
    stranger = Api(make_token(site=site, scopes=["submit"])[1])
    problem(stranger.get(asked.json()["job_url"]), 404, "not_found")
    problem(stranger.post(f"/jobs/{asked.json()['job']}/cancel/"), 404, "not_found")
    cancelled = mine.post(f"/jobs/{asked.json()['job']}/cancel/")
    assert (cancelled.status_code, cancelled.json()["state"]) == (200, "CANCELLED")


def test_beyond_a_sites_share_of_replays_the_service_is_busy(
    api: Api, result: Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cases.services.replays.MAX_ACTIVE", 0)
    refused = api.post(path(result))
    problem(refused, 503, "overloaded")
    assert refused.headers["Retry-After"] == "60"
    assert not Job.objects.filter(kind="replay").exists()
