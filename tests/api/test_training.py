"""Snapshots and training runs over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from cases.access import Actor, ActorKind
from cases.models import Site, TrainingRun
from cases.services.training_work import (
    TrainingNews,
    training_claim,
    training_fail,
    training_heartbeat,
)
from tests.api.contract import Api, problem
from tests.factories import make_site, make_token
from tests.training import make_run, make_snapshot

pytestmark = pytest.mark.django_db

WORKER = Actor(kind=ActorKind.WORKER, label="training@test")


@pytest.fixture
def admin(site: Site) -> Api:
    return Api(make_token(site=site, roles=["admin"], scopes=["read", "admin"])[1])


def asked(**more: Any) -> dict[str, Any]:
    return {"snapshot": make_snapshot().pk, "reason": "new data", **more}


def test_a_run_is_asked_for_followed_and_cancelled(admin: Api) -> None:
    body = asked(epochs=2, init="none", seed=5)
    response = admin.post("/training-runs/", body)
    made = response.json()
    assert response.status_code == 202
    assert response.headers["Location"] == made["url"]
    assert (made["state"], made["kind"], made["epochs"]) == ("PENDING", "training", 2)
    assert made["snapshot"]["id"] == body["snapshot"]
    assert (made["history"], made["model"], made["error"]) == ([], None, None)

    first = admin.get(made["url"])
    etag = first.headers["ETag"]
    assert first.headers["Retry-After"] == "2"
    assert admin.get(made["url"], If_None_Match=etag).status_code == 304

    claim = training_claim(actor=WORKER)
    assert claim is not None
    epoch = {"epoch": 1, "train_loss": 0.9, "val_loss": None}
    progress = {"phase": "training", "epoch": 2, "epochs": 2, "step": 1, "steps": 9, "loss": 0.8,
                "eta_seconds": 60}  # fmt: skip
    news = TrainingNews(progress=progress, facts={"device": "cpu"}, log_tail="x", epochs=[epoch])
    assert training_heartbeat(claim=claim, news=news)
    seen = admin.get(made["url"], If_None_Match=etag).json()
    assert seen["history"] == [{"epoch": 1, "values": {"train_loss": 0.9, "val_loss": None}}]
    assert (seen["progress"], seen["log_tail"]) == (progress, "x")

    problem(admin.post(f"{made['url']}cancel/", {}), 422, "field_invalid")
    ended = admin.post(f"{made['url']}cancel/", {"reason": "wrong seed"})
    assert ended.json()["state"] == "CANCELLED"
    assert "Retry-After" not in admin.get(made["url"]).headers
    listed = admin.get("/training-runs/").json()["results"]
    assert [run["id"] for run in listed] == [made["id"]]


def test_the_same_request_again_is_the_same_run(admin: Api) -> None:
    body = asked()
    first = admin.post("/training-runs/", body, Idempotency_Key="k").json()
    again = admin.post("/training-runs/", body, Idempotency_Key="k")
    assert (again.status_code, again.json()["id"]) == (202, first["id"])
    other = admin.post("/training-runs/", {**body, "seed": 1}, Idempotency_Key="k")
    problem(other, 422, "idempotency_conflict")
    assert TrainingRun.objects.count() == 1


def test_a_second_request_is_refused_or_queues_and_is_told_of_the_first(admin: Api) -> None:
    first = admin.post("/training-runs/", asked()).json()
    refused = problem(admin.post("/training-runs/", asked()), 409, "state_conflict")
    assert first["id"] in refused["detail"]
    queued = admin.post("/training-runs/", asked(if_running="queue")).json()
    assert queued["waits_for"] == {"id": first["id"], "url": first["url"]}


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"snapshot": "f" * 64}, "snapshot"),
        ({"snapshot": "x" * 65}, "snapshot"),
        ({"recipe": "best"}, "recipe"),
        ({"init": "file:/etc/passwd"}, "init"),
        ({"epochs": 0}, "epochs"),
        ({"epochs": "x"}, "epochs"),
        ({"size": 33}, "size"),
        ({"seed": -1}, "seed"),
        ({"reason": ""}, "reason"),
        ({"reason": "\x00"}, "reason"),
        ({"if_running": "push"}, "if_running"),
    ],
)
def test_a_wrong_field_is_named(admin: Api, wrong: dict[str, Any], field: str) -> None:
    body = problem(admin.post("/training-runs/", asked(**wrong)), 422, "field_invalid")
    assert list(body["errors"]) == [field]
    assert not TrainingRun.objects.exists()


@pytest.mark.parametrize("body", [[], "x", 3, None])
def test_a_body_that_is_no_object_is_refused(admin: Api, body: Any) -> None:
    assert admin.post("/training-runs/", body).status_code in (400, 415, 422)


def test_a_failed_run_says_why(admin: Api, site: Site) -> None:
    run = make_run(site=site)
    claim = training_claim(actor=WORKER)
    assert claim is not None
    training_fail(
        actor=WORKER,
        claim=claim,
        code="data_changed",
        detail="benign/1.png is not what the snapshot holds",
        transient=False,
        news=TrainingNews(),
    )
    body = admin.get(f"/training-runs/{run.pk}/").json()
    assert (body["state"], body["error"]["code"]) == ("FAILED", "data_changed")
    job = admin.get(f"/jobs/{run.pk}/").json()
    assert job["error"] == body["error"]


def test_the_log_is_for_those_who_train(admin: Api, site: Site) -> None:
    run = make_run(site=site)
    claim = training_claim(actor=WORKER)
    assert claim is not None
    assert training_heartbeat(claim=claim, news=TrainingNews(log_tail="Traceback: a/name.png"))
    url = f"/training-runs/{run.pk}/"
    assert "Traceback" in admin.get(url).json()["log_tail"]
    for role in ("radiologist", "approver", "admin"):
        # An administrator's token that may only read trains nothing either.
        reader = Api(make_token(site=site, roles=[role], scopes=["read"])[1])
        response = reader.get(url)
        assert (response.status_code, response.json()["log_tail"]) == (200, None)


def test_a_training_is_called_off_as_a_run_with_a_reason_and_not_as_a_job(
    admin: Api, site: Site
) -> None:
    run = make_run(site=site)
    body = problem(admin.post(f"/jobs/{run.pk}/cancel/", {}), 409, "state_conflict")
    assert f"/training-runs/{run.pk}/cancel/" in body["detail"]
    assert admin.get(f"/jobs/{run.pk}/").json()["state"] == "PENDING"


def test_runs_come_in_pages(admin: Api, site: Site) -> None:
    runs = [make_run(site=site) for _ in range(3)]
    make_run(site=make_site())
    page = admin.get("/training-runs/", {"page_size": "2"}).json()
    rest = admin.get(page["next"]).json()
    ids = [run["id"] for run in (*page["results"], *rest["results"])]
    assert ids == [str(run.pk) for run in reversed(runs)]


def test_snapshots_are_listed_without_the_folder_of_their_pictures(admin: Api) -> None:
    old, new = make_snapshot(data_root=""), make_snapshot(9)
    page = admin.get("/training-snapshots/", {"page_size": "1"}).json()
    rest = admin.get(page["next"]).json()["results"]
    assert [s["id"] for s in (*page["results"], *rest)] == [new.pk, old.pk]
    body = admin.get(f"/training-snapshots/{new.pk}/").json()
    assert (body["images"], body["pictures_known"], rest[0]["pictures_known"]) == (9, True, False)
    assert "/data/made" not in str(body)
    problem(admin.get("/training-snapshots/nothing/"), 404, "not_found")


def test_without_a_live_model_to_start_from_the_request_waits(admin: Api) -> None:
    from cases.models import ModelVersion

    ModelVersion.objects.update(state="RETIRED")
    problem(admin.post("/training-runs/", asked()), 503, "overloaded")
    assert admin.post("/training-runs/", asked(init="none")).status_code == 202
