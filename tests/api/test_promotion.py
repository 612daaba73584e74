"""The life of models over HTTP."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import Client

from cases.access import Role, Scope
from cases.models import AuditEvent, ModelEvent, ServingEvent, Site
from cases.services.erasure import erasure_plan, patient_erase
from cases.services.people import actor_for_user
from cases.services.serving import serving_resume, serving_suspend
from cases.services.withdrawals import result_withdraw
from cases.states import ModelState
from tests.api.contract import Api, problem
from tests.cases.governing import admin, approved, asked, candidate, live_id, promoted
from tests.factories import (
    live_model,
    make_actor,
    make_site,
    make_token,
    make_user,
    stored_result,
    submit,
)

pytestmark = pytest.mark.django_db


def test_a_token_with_every_scope_and_role_promotes_nothing(site: Site) -> None:
    model = candidate()
    asked(model)
    api = Api(make_token(site=site, roles=list(Role), scopes=list(Scope))[1])
    for path in (f"/models/{model.pk}/promote/", f"/models/{live_id()}/roll-back/"):
        problem(api.post(path, {"reason": "please"}), 403, "permission_denied")
    # The portal's own addresses know no tokens: they lead to the sign-in.
    secret = make_token(site=site, roles=list(Role), scopes=list(Scope))[1]
    page = Client().post(
        f"/models/{model.pk}/promotion/",
        {"reason": "please", "target": "ACTIVE"},
        headers={"Authorization": f"Bearer {secret}"},
    )
    assert page.status_code == 302
    assert page.headers["Location"].startswith("/sign-in/")
    model.refresh_from_db()
    assert model.state == "CANDIDATE"


def test_an_approvers_session_promotes_nothing_over_the_api_either(site: Site) -> None:
    model = candidate()
    client = Client()
    client.force_login(make_user(roles=[Role.APPROVER], site=site))
    problem(Api(client=client).post(f"/models/{model.pk}/promote/"), 403, "permission_denied")


def test_requests_are_listed_with_who_asked_and_who_decided(api: Api) -> None:
    done = approved(asked(candidate()))
    waiting = asked(candidate(), ModelState.SHADOW)
    rows = {row["id"]: row for row in api.get("/promotions/").json()["results"]}
    assert rows.keys() == {str(waiting.pk), str(done.pk)}
    first, last = rows[str(done.pk)], rows[str(waiting.pk)]
    assert (last["decision"], last["decided_by"], last["target"]) == (None, None, "SHADOW")
    assert (first["decision"], first["decided_by"]) == ("approved", done.decided_by.username)
    assert first["requested_by"] == done.requested_by.username
    for state, found in (("open", waiting), ("decided", done)):
        only = api.get("/promotions/", {"state": state}).json()["results"]
        assert [row["id"] for row in only] == [str(found.pk)]


def test_the_live_model_is_told_with_since_when_and_whether_answers_were_suspended(
    api: Api,
) -> None:
    old = live_model()
    new = promoted(candidate())
    stop = serving_suspend(actor=admin(), reason="Strange answers.")
    now = api.get("/models/live/").json()
    switched = ModelEvent.objects.get(model_version=new, to_state="ACTIVE").at
    assert now["id"] == str(new.pk)
    assert now["live_since"] == switched.isoformat().replace("+00:00", "Z")
    assert now["suspension"]["reason"] == "Strange answers."
    assert now["suspension"]["until"] is None
    before = (switched - timedelta(microseconds=1)).isoformat()
    then = api.get("/models/live/", {"at": before}).json()
    assert (then["id"], then["suspension"]) == (str(old.pk), None)
    at = stop.at.isoformat()
    assert api.get("/models/live/", {"at": at}).json()["suspension"]["reason"]


def test_a_waiting_job_says_why_nobody_takes_it(api: Api, site: Site) -> None:
    job = submit(actor=make_actor(site=site)).jobs.get()
    first = api.get(f"/jobs/{job.pk}/")
    assert first.json()["held"] is None
    stop = serving_suspend(actor=admin(), reason="Strange answers.")
    again = api.get(f"/jobs/{job.pk}/", If_None_Match=first.headers["ETag"])
    assert again.status_code == 200
    assert again.json()["held"] == {
        "code": "suspended",
        "since": stop.at.isoformat().replace("+00:00", "Z"),
        "detail": "Strange answers.",
    }
    ready = Client().get("/readyz").content.decode()
    assert "Strange answers." not in ready
    serving_resume(actor=admin(), reason="Found.")
    stored_result(job)
    assert api.get(f"/jobs/{job.pk}/").json()["held"] is None


def test_answers_are_suspended_by_a_token_and_the_history_is_told(site: Site) -> None:
    api = Api(make_token(site=site, roles=["admin"], scopes=["admin", "read"])[1])
    assert api.get("/serving/").json() == {"suspended": False, "suspension": None, "history": []}
    problem(api.post("/serving/suspend/", {}), 422, "field_invalid")
    body = api.post("/serving/suspend/", {"reason": "Monitor says so."}).json()
    assert body["suspended"] is True
    assert [span["reason"] for span in body["history"]] == ["Monitor says so."]
    problem(api.post("/serving/suspend/", {"reason": "Again."}), 409, "state_conflict")
    assert ServingEvent.objects.count() == 1


def test_the_recall_list_shows_identity_by_role_and_leaves_a_trail(api: Api, site: Site) -> None:
    model = live_model()
    actor = make_actor(site=site)
    result = stored_result(submit(actor=actor, patient_id="SECRET-9").jobs.get())
    stored_result(submit().jobs.get())
    (row,) = api.get(f"/models/{model.pk}/recall/").json()["results"]
    assert (row["result"], row["patient"]["patient_id"]) == (str(result.pk), "SECRET-9")
    blind = Api(make_token(site=site, roles=["admin"], scopes=["read"])[1])
    (row,) = blind.get(f"/models/{model.pk}/recall/").json()["results"]
    assert (row["patient"], row["case"]) == (None, str(result.image.case_id))
    until = result.created_at.isoformat()
    assert api.get(f"/models/{model.pk}/recall/", {"until": until}).json()["results"] == []
    told = AuditEvent.objects.filter(action="recall.listed").order_by("id")
    assert [event.detail["cases"] for event in told] == [1, 1, 0]
    assert "SECRET-9" not in str([event.detail for event in told])


def test_the_recall_list_tells_what_was_withdrawn_and_whose_patient_was_erased(
    api: Api, site: Site
) -> None:
    actor = make_actor(site=site)
    result = stored_result(submit(actor=actor, patient_id="SECRET-9").jobs.get())
    path = f"/models/{result.model_version_id}/recall/"
    (row,) = api.get(path).json()["results"]
    assert (row["withdrawn"], row["erased_at"]) == (None, None)
    result_withdraw(actor=admin(site), result_id=result.pk, reason="Wrong probe.")
    (row,) = api.get(path).json()["results"]
    assert row["withdrawn"] == api.get(f"/results/{result.pk}/").json()["withdrawn"]
    assert row["withdrawn"]["reason"] == "Wrong probe."
    case_id = result.image.case_id
    plan = erasure_plan(actor=admin(site), case_id=case_id)
    patient_erase(actor=admin(site), case_id=case_id, reason="Asked.", token=plan.token)
    (row,) = api.get(path).json()["results"]
    assert row["erased_at"] == api.get(f"/cases/{case_id}/").json()["erased_at"]
    assert (row["patient"], row["accession_number"]) == (None, None)
    assert row["withdrawn"]["reason"] is None


def test_who_sees_no_cases_sees_no_recall_list() -> None:
    model = live_model()
    client = Client()
    user = make_user(roles=[Role.APPROVER], site=make_site())
    assert actor_for_user(user)
    client.force_login(user)
    problem(Api(client=client).get(f"/models/{model.pk}/recall/"), 403, "permission_denied")
