"""Gate plans over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from cases.models import Site
from tests.api.contract import Api, problem
from tests.factories import live_model, make_site, make_token, make_user
from tests.gates import make_locked_set, make_plan, plan_raw
from tests.training import make_snapshot

pytestmark = pytest.mark.django_db


@pytest.fixture
def admin(site: Site) -> Api:
    return Api(make_token(site=site, roles=["admin"], scopes=["read", "admin"])[1])


def test_a_plan_is_declared_found_and_named_by_a_run(admin: Api, site: Site) -> None:
    live_model()
    named = make_user(roles=["approver"], site=site).username
    limit: dict[str, Any] = {"metric": "auc_malignant", "bound": -0.02, "against": "active"}
    body = plan_raw(limits=[limit], approvers=[named])
    response = admin.post("/gate-plans/", body)
    made = response.json()
    assert response.status_code == 201
    assert response.headers["Location"] == made["url"]
    assert made["document"]["limits"] == [{**limit, "by": "interval", "source": None}]
    assert made["document"]["approvers"] == [named]
    assert (made["locked_set_uses"], made["uses"]) == (0, [])
    assert admin.get(made["url"]).json() == made
    listed = admin.get("/gate-plans/").json()["results"]
    assert [plan["id"] for plan in listed] == [made["id"]]

    asked = {"snapshot": make_snapshot().pk, "reason": "new data", "plan": made["id"]}
    run = admin.post("/training-runs/", asked).json()
    assert (run["plan"], run["plan_sha256"]) == (made["id"], made["sha256"])
    assert run["verdict"] is None
    shown = admin.get(f"/training-snapshots/{body['locked_set']}/").json()
    assert shown["locked"] is True
    locked = {**asked, "snapshot": body["locked_set"], "if_running": "queue"}
    told = problem(admin.post("/training-runs/", locked), 422, "field_invalid")
    assert list(told["errors"]) == ["snapshot"]


def test_what_cannot_be_is_named_by_field(admin: Api) -> None:
    locked = make_locked_set()
    wrong = plan_raw(locked, limits=[{"metric": "ece", "bound": 3}], rounds=1)
    told = problem(admin.post("/gate-plans/", wrong), 422, "field_invalid")
    assert set(told["errors"]) == {"limits", "rounds"}
    told = problem(admin.post("/gate-plans/", {"name": "x"}), 422, "field_invalid")
    assert {"locked_set", "limits", "minimum_malignant_patients"} <= set(told["errors"])


def test_a_plan_of_another_site_is_not_there(admin: Api) -> None:
    plan = make_plan(site=make_site())
    problem(admin.get(f"/gate-plans/{plan.pk}/"), 404, "not_found")
    asked = {"snapshot": make_snapshot().pk, "reason": "x", "plan": str(plan.pk)}
    told = problem(admin.post("/training-runs/", asked), 422, "field_invalid")
    assert list(told["errors"]) == ["plan"]
