"""Finding patients: by identity in the body, at one's own site, with a trail."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from cases.models import AuditEvent, Patient, Site
from tests.api.contract import Api, problem
from tests.factories import make_actor, make_token, submit

pytestmark = pytest.mark.django_db
PATH = "/patients/search/"


@pytest.fixture
def people(site: Site) -> dict[str, Patient]:
    actor = make_actor(site=site)
    told = {
        "ada": {"patient_id": "A-1", "patient_name": "Lovelace^Ada", "birth_date": "1985-12-10"},
        "anne": {"patient_id": "A-2", "patient_name": "Lovell^Anne", "birth_date": "1979-01-02"},
        "mary": {"patient_id": "M-1", "patient_name": "Somerville^Mary", "accession_number": "77"},
    }
    return {name: submit(actor=actor, **fields).case.patient for name, fields in told.items()}


def found(api: Api, **body: Any) -> list[str]:
    response = api.post(PATH, body)
    assert response.status_code == 200, response.content
    return [row["patient_id"] for row in response.json()["results"]]


def test_patients_are_found_by_id_name_and_accession_number(
    api: Api, people: dict[str, Patient]
) -> None:
    assert found(api, patient_id="A-1") == ["A-1"]
    assert found(api, patient_id="A-1", patient_issuer="elsewhere") == []
    assert found(api, patient_id="A-1", patient_issuer=people["ada"].issuer) == ["A-1"]
    assert found(api, name="love") == ["A-1", "A-2"]
    assert found(api, name="love", birth_date="1979-01-02") == ["A-2"]
    assert found(api, name="lace") == []
    assert found(api, name="LOVELACE^A") == ["A-1"]
    assert found(api, accession_number="77") == ["M-1"]
    assert found(api, accession_number="77", patient_id="A-1") == []
    assert found(api, patient_id="%") == found(api, name="_ovelace") == []


def test_a_patient_comes_with_their_cases(api: Api, site: Site, people: dict[str, Patient]) -> None:
    again = submit(actor=make_actor(site=site), patient_id="M-1", accession_number="78").case
    row = api.post(PATH, {"patient_id": "M-1"}).json()["results"][0]
    assert [case["accession_number"] for case in row["cases"]] == ["78", "77"]
    assert row["cases"][0]["url"] == f"http://testserver/api/v1/cases/{again.pk}/"
    assert (row["id"], row["name"]) == (str(people["mary"].pk), "Somerville^Mary")


def test_the_trail_names_whom_was_shown_and_not_what_was_asked(
    api: Api, people: dict[str, Patient]
) -> None:
    found(api, name="Somer", birth_date="1980-12-26")
    found(api, name="Somer")
    events = AuditEvent.objects.filter(action="patient.searched").order_by("id")
    assert [event.detail for event in events] == [
        {"by": ["birth_date", "name"], "found": [], "more": False},
        {"by": ["name"], "found": [str(people["mary"].pk)], "more": False},
    ]
    assert "Somer" not in json.dumps([event.detail for event in events])


def test_what_finds_nobody_in_particular_is_refused(api: Api) -> None:
    for body in ({}, {"birth_date": "1985-12-10"}, {"name": "L"}, {"name": "   "}, {"name": ""}):
        problem(api.post(PATH, body), 422, "field_invalid")
    problem(api.post(PATH, {"patient_id": "x" * 65}), 422, "field_invalid")


def test_identity_is_found_by_those_who_may_see_it_at_their_own_site(
    site: Site, people: dict[str, Patient]
) -> None:
    stranger = Api(make_token()[1])
    assert found(stranger, patient_id="A-1") == []
    admin = Api(make_token(site=site, roles=["admin"], scopes=["read", "admin"])[1])
    problem(admin.post(PATH, {"patient_id": "A-1"}), 403, "permission_denied")
    sender = Api(make_token(site=site, scopes=["submit"])[1])
    problem(sender.post(PATH, {"patient_id": "A-1"}), 403, "permission_denied")
    problem(Api().post(PATH, {"patient_id": "A-1"}), 401, "not_authenticated")
    assert not AuditEvent.objects.filter(action="patient.searched", site_id=site.pk).exists()


def test_no_more_than_fifty_are_told_in_few_queries(api: Api, site: Site) -> None:
    Patient.objects.bulk_create(
        Patient(site=site, patient_id=f"N-{n:03}", issuer="X", name=f"Many^{n:03}")
        for n in range(51)
    )
    with CaptureQueriesContext(connection) as caught:
        body = api.post(PATH, {"name": "many^"}).json()
    assert len(body["results"]) == 50
    assert body["more"] is True
    assert len(caught) <= 12
    assert found(api, patient_id="N-050") == ["N-050"]


def test_a_search_walks_an_index(site: Site) -> None:
    Patient.objects.bulk_create(
        Patient(site=site, patient_id=f"N-{n}", issuer=f"I{n % 7}", name=f"Name{n}^X")
        for n in range(3000)
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE cases_patient")
    site_rows = Patient.objects.filter(site=site, erased_at__isnull=True)
    # Whoever gave it: newer Postgres may skip through the index of the identity instead.
    assert "Seq Scan" not in site_rows.filter(patient_id="N-7").explain()
    assert "patient_by_name" in site_rows.filter(name__istartswith="name29").explain()
