"""A withdrawn result over HTTP: told beside all that stands, never hidden behind a 304."""

from __future__ import annotations

import pytest

from cases.models import Site
from cases.services.withdrawals import result_withdraw
from tests.api.conftest import answer_waiting
from tests.api.contract import Api
from tests.factories import make_actor, submit

pytestmark = pytest.mark.django_db


def test_a_withdrawal_is_told_wherever_the_result_is(api: Api, site: Site) -> None:
    submit(actor=make_actor(site=site))
    (result,) = answer_waiting()
    paths = {
        f"/results/{result.pk}/": lambda body: body,
        f"/jobs/{result.job_id}/": lambda body: body["result"],
        f"/images/{result.image_id}/": lambda body: body["answer"]["results"][0],
        f"/cases/{result.image.case_id}/": lambda body: body["images"][0]["answer"]["results"][0],
    }
    etags, before = {}, {}
    for path, told in paths.items():
        answer = api.get(path)
        etags[path], before[path] = answer.headers["ETag"], told(answer.json())
        assert before[path]["withdrawn"] is None
    admin = make_actor(roles=["admin"], site=site)
    result_withdraw(actor=admin, result_id=result.pk, reason="Wrong probe.")
    for path, told in paths.items():
        answer = api.get(path, If_None_Match=etags[path])
        assert answer.status_code == 200, path
        after = told(answer.json())
        assert after["withdrawn"]["reason"] == "Wrong probe."
        assert {**after, "withdrawn": None} == before[path]
    summary = api.get(f"/cases/{result.image.case_id}/").json()["summary"]
    assert (summary["state"], summary["highest"]) == ("withdrawn", None)
    assert api.get("/cases/").json()["results"][0]["summary"]["state"] == "withdrawn"
