"""How a version does, over HTTP. Every answer is held against the schema by `Api`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cases.models import Site
from ml.refusal_fit import distance_figures
from tests.api.contract import Api, problem
from tests.factories import live_model, make_token, newer_model
from tests.watching import Read, make_examination, make_finding, spread, store

pytestmark = pytest.mark.django_db


@pytest.fixture
def admin(site: Site) -> Api:
    return Api(make_token(site=site, roles=["admin"], scopes=["admin"])[1])


def told(api: Api, **query: str) -> Any:
    response = api.get(f"/models/{live_model().pk}/watch/", query)
    assert response.status_code == 200
    return response.json()


def test_a_version_without_answers_has_no_groups(admin: Api) -> None:
    answer = told(admin)
    assert (answer["recent_days"], answer["groups"]) == (30, [])
    assert answer["limits"]["stability_index"] == 0.25


def test_figures_come_with_counts_intervals_and_what_they_lean_on(admin: Api, site: Site) -> None:
    rng = np.random.default_rng(6)
    model = live_model()
    model.card["refusal"] = {"figures": {"distance": distance_figures(rng.gamma(9, 1 / 9, 900))}}
    model.save()
    case = make_examination(site)
    reads = [Read(0.9, finding=make_finding(case, "in_situ")) for _ in range(9)]
    reads += [Read(0.1, finding=make_finding(case, "invasive")) for _ in range(3)]
    reads += [Read(outcome="abstained", finding=make_finding(case, "invasive"))]
    reads += [Read(outcome="refused", code="empty_frame", device="")]
    reads += spread(rng.gamma(9, 2 / 9, 80))
    store(case, reads, model=model)
    answer = told(admin)
    everything, nameless, acme = answer["groups"]
    assert [group["device"] for group in answer["groups"]] == [None, "not stated", "Acme"]
    assert everything["site"] == site.code
    assert everything["mix"]["answered"]["malignant"]["count"] == 9
    assert everything["mix"]["refused"] == {"count": 1, "n": 94, **few(1, 94)}
    assert nameless["mix"]["refused_by_reason"] == {"empty_frame": 1}
    # One image is too few for a share.
    assert nameless["mix"]["refused"] == {"count": 1, "n": 1, "value": None, "ci95": None}
    verified = next(known for known in acme["known"] if known["basis"] == "verified")
    assert (verified["findings"], verified["sensitivity"]["value"]) == (13, 0.75)
    assert verified["sensitivity"]["ci95"] == pytest.approx([0.4677, 0.9111], abs=1e-4)
    assert verified["sensitivity_all"]["n"] == 13
    assert verified["specificity"] == {"count": 0, "n": 0, "value": None, "ci95": None}
    assert everything["verification"]["above"]["count"] == 9
    assert everything["calibration"]["images"] == 13
    assert everything["calibration"]["ece"] is None
    assert everything["drift"]["reference"] == "training"
    assert everything["alerts"] == ["drift"] == acme["alerts"]
    assert nameless["drift"] is None


def few(count: int, n: int) -> dict[str, Any]:
    from cases.measures import wilson

    return {"value": count / n, "ci95": list(wilson(count, n) or ())}


def test_a_device_and_a_period_narrow_it(admin: Api, site: Site) -> None:
    case = make_examination(site)
    store(case, [Read(), Read(device="Beta"), Read(device="Beta", days_ago=90)])
    groups = told(admin, device="Beta")["groups"]
    assert groups[0]["mix"]["images"] == 2
    assert told(admin, device="Gamma")["groups"] == []
    assert told(admin, until="2020-01-01T00:00:00Z")["groups"] == []


def test_the_answers_of_another_version_are_not_among_them(admin: Api, site: Site) -> None:
    old = live_model()
    store(make_examination(site), [Read()], model=old)
    new = newer_model("second", b"other weights")
    assert admin.get(f"/models/{new.pk}/watch/").json()["groups"] == []
    assert admin.get(f"/models/{old.pk}/watch/").json()["groups"][0]["mix"]["images"] == 1


def test_what_is_no_moment_is_named(admin: Api) -> None:
    response = admin.get(f"/models/{live_model().pk}/watch/", {"since": "yesterday"})
    problem(response, 422, "field_invalid")
