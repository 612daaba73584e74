"""Jobs over HTTP: the poll, its ETag, the queue, cancel and rerun."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from cases.models import AuditEvent, Job, ResultRead, Site
from cases.selectors import jobs as selectors
from cases.services.leases import engine_jobs_claim, job_fail
from tests.api.conftest import answer_waiting
from tests.api.contract import Api, problem
from tests.factories import WORKER, make_actor, make_token, make_user, phantom_jpeg, submit
from tests.phantoms import dicom_bytes

pytestmark = pytest.mark.django_db

CONTRACT = {
    "id", "kind", "state", "attempt", "priority", "queue_position", "progress", "created_at",
    "started_at", "finished_at", "error", "result",
}  # fmt: skip


def one_job(site: Site, **fields: Any) -> Job:
    return submit(actor=make_actor(site=site), **fields).jobs.get()


def test_a_waiting_job_says_so(api: Api, site: Site) -> None:
    job = one_job(site, priority="urgent")
    response = api.get(f"/jobs/{job.pk}/")
    body = response.json()
    assert set(body) >= CONTRACT
    assert body["id"] == str(job.pk)
    assert (body["kind"], body["state"], body["attempt"]) == ("inference", "PENDING", 0)
    assert (body["priority"], body["queue_position"]) == ("urgent", 0)
    assert body["created_at"].endswith("Z")
    for key in ("progress", "started_at", "finished_at", "error", "result"):
        assert body[key] is None
    assert response.headers["Retry-After"] == "1"
    assert response.headers["ETag"].startswith('W/"')


def test_a_succeeded_job_carries_the_contracts_result(api: Api, site: Site) -> None:
    job = one_job(site)
    result = answer_waiting()[0]
    response = api.get(f"/jobs/{job.pk}/")
    body = response.json()
    model = result.model_version
    assert body["result"] == {
        "id": str(result.pk),
        "outcome": "answered",
        "reason": None,
        "label": "malignant",
        "probabilities": {
            "benign": pytest.approx(0.14),
            "malignant": 0.8,
            "normal": pytest.approx(0.06),
        },
        "operating_point": {"threshold": 0.4, "sensitivity": 0.95},
        "frame": 0,
        "heatmap_url": f"http://testserver/api/v1/results/{result.pk}/heatmap/",
        "model": {"id": str(model.pk), "version": model.version, "sha256": model.sha256},
        "engine": "test-engine",
        "preprocessing": "test",
        "duration_ms": 71.5,
        "withdrawn": None,
        "research_use_only": True,
    }
    assert (body["state"], body["attempt"], body["queue_position"]) == ("SUCCEEDED", 1, None)
    assert body["started_at"] <= body["finished_at"]
    assert "Retry-After" not in response.headers


def test_the_label_follows_the_operating_point(api: Api, site: Site) -> None:
    job = one_job(site)
    answer_waiting({job.image_id: 0.41} if job.image_id else None)
    result = api.get(f"/jobs/{job.pk}/").json()["result"]
    assert result["label"] == "malignant"
    assert max(result["probabilities"], key=result["probabilities"].get) != "malignant"


def test_a_refused_image_is_a_success_without_label(api: Api, site: Site) -> None:
    job = one_job(site)
    answer_waiting(outcome="refused", reason="not an ultrasound")
    body = api.get(f"/jobs/{job.pk}/").json()
    assert (body["state"], body["result"]["outcome"]) == ("SUCCEEDED", "refused")
    assert body["result"]["reason"] == "not an ultrasound"
    assert body["result"]["label"] is body["result"]["probabilities"] is None
    assert body["result"]["heatmap_url"] is None


def test_an_abstained_image_keeps_its_scores_and_reason(api: Api, site: Site) -> None:
    job = one_job(site)
    answer_waiting(outcome="abstained", reason="too uncertain")
    result = api.get(f"/jobs/{job.pk}/").json()["result"]
    assert (result["outcome"], result["reason"]) == ("abstained", "too uncertain")
    assert result["probabilities"] is not None


def test_a_failed_job_says_why_and_a_retried_one_does_not(api: Api, site: Site) -> None:
    job = one_job(site)
    claim = engine_jobs_claim(actor=WORKER, limit=1)[0]
    fault: dict[str, Any] = {"actor": WORKER, "job_id": job.pk, "attempt": claim.attempt}
    job_fail(**fault, code="engine_crashed", detail="It crashed.", transient=True)
    body = api.get(f"/jobs/{job.pk}/").json()
    assert (body["state"], body["attempt"], body["error"]) == ("PENDING", 1, None)
    Job.objects.update(available_at=job.created_at)
    fault["attempt"] = engine_jobs_claim(actor=WORKER, limit=1)[0].attempt
    job_fail(**fault, code="engine_crashed", detail="It crashed.", transient=False)
    body = api.get(f"/jobs/{job.pk}/").json()
    assert (body["state"], body["attempt"]) == ("FAILED", 2)
    assert body["error"] == {"code": "engine_crashed", "detail": "It crashed."}


# Polling


def test_an_unchanged_job_is_304_without_body(api: Api, site: Site) -> None:
    job = one_job(site)
    etag = api.get(f"/jobs/{job.pk}/").headers["ETag"]
    for header in (etag, f'"x", {etag}', etag.removeprefix("W/"), "*"):
        again = api.get(f"/jobs/{job.pk}/", If_None_Match=header)
        assert (again.status_code, again.content) == (304, b"")
        assert (again.headers["ETag"], again.headers["Retry-After"]) == (etag, "1")
    assert api.get(f"/jobs/{job.pk}/", If_None_Match='W/"other"').status_code == 200


def test_every_move_changes_the_etag(api: Api, site: Site) -> None:
    job = one_job(site)
    etags = [api.get(f"/jobs/{job.pk}/").headers["ETag"]]
    claim = engine_jobs_claim(actor=WORKER, limit=1)[0]
    etags.append(api.get(f"/jobs/{job.pk}/").headers["ETag"])
    job_fail(
        actor=WORKER, job_id=job.pk, attempt=claim.attempt, code="x", detail="x", transient=False
    )
    etags.append(api.get(f"/jobs/{job.pk}/").headers["ETag"])
    assert len(set(etags)) == 3


def test_the_etag_ignores_the_place_in_the_queue(api: Api, site: Site) -> None:
    first, second = one_job(site), one_job(site)
    before = api.get(f"/jobs/{second.pk}/")
    assert before.json()["queue_position"] == 1
    engine_jobs_claim(actor=WORKER, limit=1)
    after = api.get(f"/jobs/{second.pk}/", If_None_Match=before.headers["ETag"])
    assert after.status_code == 304
    assert api.get(f"/jobs/{second.pk}/").json()["queue_position"] == 0
    assert api.get(f"/jobs/{first.pk}/").json()["queue_position"] is None


def test_a_place_beyond_the_limit_is_null(
    api: Api, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selectors, "MAX_POSITION", 1)
    jobs = [one_job(site) for _ in range(3)]
    places = [api.get(f"/jobs/{job.pk}/").json()["queue_position"] for job in jobs]
    assert places == [0, 1, None]


def test_a_poll_costs_the_same_few_queries_however_long_the_queue(api: Api, site: Site) -> None:
    job = one_job(site)
    path = f"/jobs/{job.pk}/"
    etag = api.get(path).headers["ETag"]

    def cost(**headers: Any) -> int:
        with CaptureQueriesContext(
            connection,
        ) as captured:
            api.get(path, **headers)
        return len(captured)

    # Token and roles, the job, the switch that suspends answers; the place in the queue.
    assert cost(If_None_Match=etag) == 3
    assert cost() == 4
    for _ in range(5):
        one_job(site)
    assert cost(If_None_Match=etag) == 3
    assert cost() == 4
    answer_waiting()
    assert api.get(path).json()["state"] == "SUCCEEDED"
    # Token and roles, job with result and model, "has this token read it".
    assert cost() == 3


def test_a_tokens_first_read_of_a_result_is_audited_once(api: Api, site: Site) -> None:
    job = one_job(site)
    api.get(f"/jobs/{job.pk}/")
    assert not AuditEvent.objects.filter(action="result.read").exists()
    result = answer_waiting()[0]
    etag = api.get(f"/jobs/{job.pk}/").headers["ETag"]
    api.get(f"/jobs/{job.pk}/")
    api.get(f"/jobs/{job.pk}/", If_None_Match=etag)
    event = AuditEvent.objects.get(action="result.read")
    assert event.object_id == str(result.pk)
    assert event.case_id == result.image.case_id
    assert event.token_id is not None
    Api(make_token(site=site)[1]).get(f"/results/{result.pk}/")
    assert AuditEvent.objects.filter(action="result.read").count() == 2
    assert ResultRead.objects.count() == 2


def test_a_persons_first_read_of_a_result_is_audited_once(site: Site) -> None:
    job = one_job(site)
    answer_waiting()
    client = Client()
    client.force_login(make_user(roles=["radiologist"], site=site))
    for _ in range(2):
        Api(client=client).get(f"/jobs/{job.pk}/")
    assert AuditEvent.objects.get(action="result.read").token_id is None


def test_who_runs_the_queue_without_seeing_cases_sees_no_result(site: Site) -> None:
    job = one_job(site)
    answer_waiting()
    operator = Api(make_token(site=site, roles=["admin"], scopes=["admin"])[1])
    body = operator.get(f"/jobs/{job.pk}/").json()
    assert (body["state"], body["result"]) == ("SUCCEEDED", None)
    assert not ResultRead.objects.exists()


# The list


def test_the_list_shows_the_sites_jobs_newest_first(api: Api, site: Site) -> None:
    first, second = one_job(site), one_job(site)
    submit()
    answer_waiting()
    body = api.get("/jobs/").json()
    assert [job["id"] for job in body["results"]] == [str(second.pk), str(first.pk)]
    assert body["results"][0]["result"]["url"].endswith(f"/results/{second.result.pk}/")
    assert "queue_position" not in body["results"][0]
    # Naming a result by its address is not reading it.
    assert not ResultRead.objects.exists()


def test_the_list_is_filtered_by_state_and_kind(api: Api, site: Site) -> None:
    done = one_job(site)
    answer_waiting()
    waiting = one_job(site)

    def ids(**query: str) -> list[str]:
        return [job["id"] for job in api.get("/jobs/", query).json()["results"]]

    assert ids(state="PENDING") == [str(waiting.pk)]
    assert ids(state="SUCCEEDED", kind="inference") == [str(done.pk)]
    assert ids(kind="training") == []
    body = problem(api.get("/jobs/", {"state": "DONE", "kind": "x"}), 422, "field_invalid")
    assert set(body["errors"]) == {"state", "kind"}


# Cancel and rerun


def test_a_waiting_job_is_cancelled_once(api: Api, site: Site) -> None:
    job = one_job(site)
    for _ in range(2):
        response = api.post(f"/jobs/{job.pk}/cancel/")
        assert (response.status_code, response.json()["state"]) == (200, "CANCELLED")
    assert AuditEvent.objects.filter(action="job.cancelled").count() == 1


def test_a_finished_job_cannot_be_cancelled(api: Api, site: Site) -> None:
    job = one_job(site)
    answer_waiting()
    problem(api.post(f"/jobs/{job.pk}/cancel/"), 409, "state_conflict")


def test_a_rerun_is_a_new_job_for_the_same_image(api: Api, site: Site) -> None:
    job = one_job(site)
    answer_waiting()
    response = api.post(f"/jobs/{job.pk}/rerun/")
    body = response.json()
    assert response.status_code == 202
    assert response.headers["Location"] == body["url"]
    assert body["id"] != str(job.pk)
    assert (body["state"], body["rerun_of"]) == ("PENDING", str(job.pk))
    assert body["image"] == str(job.image_id)
    assert api.get(body["url"]).json()["id"] == body["id"]
    assert api.get(f"/jobs/{job.pk}/").json()["state"] == "SUCCEEDED"


def test_a_job_that_waits_is_not_run_again(api: Api, site: Site) -> None:
    job = one_job(site)
    problem(api.post(f"/jobs/{job.pk}/rerun/"), 409, "state_conflict")
    answer_waiting()
    assert api.post(f"/jobs/{job.pk}/rerun/").status_code == 202
    problem(api.post(f"/jobs/{job.pk}/rerun/"), 409, "state_conflict")


def test_a_rerun_may_ask_for_another_frame_of_a_cine(api: Api) -> None:
    cine = dicom_bytes(frames=3, patient_id="D1")
    job = api.submit([("cine.dcm", cine)]).json()["jobs"][0]
    answer_waiting()
    shown = api.get(job["url"]).json()
    assert shown["frame"] == 1
    response = api.post(f"/jobs/{job['id']}/rerun/", {"frame": 2})
    assert (response.status_code, response.json()["frame"]) == (202, 2)
    # The middle frame can be asked for again meanwhile: it is another job.
    assert api.post(f"/jobs/{job['id']}/rerun/", {"frame": None}).json()["frame"] == 1
    answer_waiting()
    image = api.get(f"/images/{job['image']}/").json()
    assert sorted(result["frame"] for result in image["answer"]["results"]) == [1, 2]


@pytest.mark.parametrize("body", [{"frame": 3}, {"frame": -1}, {"frame": "x"}, {"frame": 2**40}])
def test_a_frame_that_is_not_there_is_a_field_error(api: Api, site: Site, body: Any) -> None:
    job = one_job(site, files=[phantom_jpeg()])
    answer_waiting()
    response = api.post(f"/jobs/{job.pk}/rerun/", body)
    assert list(problem(response, 422, "field_invalid")["errors"]) == ["frame"]
    assert Job.objects.count() == 1
