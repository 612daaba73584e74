"""Candidates over HTTP: to read, without identity, and nothing to decide with."""

from __future__ import annotations

import json

import pytest

from cases.models import Site
from tests.api.contract import Api, problem
from tests.curation import INVASIVE, accepted, actors, found
from tests.factories import make_site, make_token

pytestmark = pytest.mark.django_db
PATH = "/training-candidates/"


def admin_api(site: Site) -> Api:
    return Api(make_token(site=site, roles=["admin"], scopes=["admin"])[1])


def test_an_administrators_token_reads_the_candidates_of_its_site(db: None) -> None:
    site = make_site()
    reader, admin = actors(site)
    one = accepted(reader=reader, admin=admin, patient_id="SECRET-7", patient_name="Zebrafish")
    other = found(reader=reader, content=INVASIVE)
    rows = admin_api(site).get(PATH).json()["results"]
    assert [row["id"] for row in rows] == [str(other.pk), str(one.pk)]
    assert (rows[1]["state"], rows[1]["label"], rows[1]["basis"]) == (
        "ACCEPTED",
        "benign",
        "histology",
    )
    assert (rows[0]["decided_by"], rows[1]["decided_by"]) == (None, admin.label)
    assert (rows[0]["conflict"], rows[1]["in_snapshot"]) == (None, False)
    for secret in ("SECRET-7", "Zebrafish"):
        assert secret not in json.dumps(rows)
    filtered = admin_api(site).get(PATH, {"state": "PENDING", "label": "malignant"})
    assert [row["id"] for row in filtered.json()["results"]] == [str(other.pk)]
    assert admin_api(make_site()).get(PATH).json()["results"] == []


def test_what_is_no_filter_is_refused_and_nothing_can_be_decided(db: None) -> None:
    site = make_site()
    problem(admin_api(site).get(PATH, {"state": "MAYBE"}), 422, "field_invalid")
    assert admin_api(site).post(PATH, {}).status_code == 405
    others = Api(make_token(site=site, roles=["radiologist"], scopes=["read"])[1])
    problem(others.get(PATH), 403, "permission_denied")
