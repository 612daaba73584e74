"""Pages: every row once, in order, also while rows arrive and where times are equal."""

from __future__ import annotations

import base64
import json
import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from cases.models import AuditEvent, Case, Patient, Site
from tests.api.contract import Api, problem
from tests.factories import make_token

pytestmark = pytest.mark.django_db


def make_cases(site: Site, moments: list[Any]) -> list[str]:
    """Cases of these times; their ids as the list shows them: newest first."""
    patient = Patient.objects.create(site=site, patient_id=str(uuid.uuid4()), issuer="X")
    cases = [Case.objects.create(site=site, patient=patient, created_at=at) for at in moments]
    ordered = sorted(cases, key=lambda case: (case.created_at, case.pk), reverse=True)
    return [str(case.pk) for case in ordered]


def ids(body: dict[str, Any]) -> list[str]:
    return [item["id"] for item in body["results"]]


def pages(api: Api, path: str, link: str = "next") -> list[dict[str, Any]]:
    found = [api.get(path).json()]
    while found[-1][link]:
        found.append(api.get(found[-1][link]).json())
    return found


@pytest.mark.parametrize("spread", [timedelta(seconds=1), timedelta(0)])
def test_pages_forward_and_back_hold_every_row_once(
    api: Api, site: Site, spread: timedelta
) -> None:
    start = timezone.now()
    expected = make_cases(site, [start + n * spread for n in range(10)])
    forward = pages(api, "/cases/?page_size=3")
    assert [len(page["results"]) for page in forward] == [3, 3, 3, 1]
    assert [i for page in forward for i in ids(page)] == expected
    assert forward[0]["previous"] is forward[-1]["next"] is None
    back = pages(api, forward[-1]["previous"], "previous")
    assert [ids(page) for page in reversed(back)] == [ids(page) for page in forward[:-1]]
    assert all(page["next"] for page in back)


def test_a_page_stays_while_newer_rows_arrive(api: Api, site: Site) -> None:
    start = timezone.now()
    expected = make_cases(site, [start - timedelta(minutes=n) for n in range(6)])
    first = api.get("/cases/", {"page_size": "3"}).json()
    newer = make_cases(site, [start + timedelta(minutes=1)])
    second = api.get(first["next"]).json()
    assert ids(first) + ids(second) == expected
    # Going back from there meets the new row on a page of its own.
    back = api.get(second["previous"]).json()
    assert ids(back) == ids(first)
    assert ids(api.get(back["previous"]).json()) == newer


def test_links_keep_the_filters_and_the_page_size(api: Api, site: Site) -> None:
    make_cases(site, [timezone.now()] * 5)
    Case.objects.update(accession_number="")
    body = api.get("/jobs/", {"state": "PENDING"}).json()
    assert (body["next"], body["previous"]) == (None, None)
    link = api.get("/cases/", {"page_size": "2"}).json()["next"]
    assert link.startswith("http://testserver/api/v1/cases/?")
    assert "page_size=2" in link


def test_the_default_page_holds_fifty_rows(api: Api, site: Site) -> None:
    make_cases(site, [timezone.now()] * 51)
    assert len(api.get("/cases/").json()["results"]) == 50
    assert len(api.get("/cases/", {"page_size": "200"}).json()["results"]) == 51


def test_an_empty_list_is_a_page(api: Api) -> None:
    assert api.get("/cases/").json() == {"results": [], "next": None, "previous": None}


def test_the_trail_is_paged_by_its_serial(site: Site) -> None:
    auditor = Api(make_token(site=site, roles=["auditor"], scopes=["read"])[1])
    AuditEvent.objects.bulk_create(
        AuditEvent(actor_kind="system", actor_label="system", action="x.y", object_type="x")
        for _ in range(25)
    )
    found = pages(auditor, "/audit/?page_size=10")
    serials = [event["id"] for page in found for event in page["results"]]
    assert serials == sorted(serials, reverse=True)
    assert len(serials) == len(set(serials)) == AuditEvent.objects.count()


def encoded(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode()


GOOD = [0, "2026-01-01T00:00:00+00:00", str(uuid.UUID(int=1))]


def test_a_cursor_is_what_these_tests_think_it_is(api: Api) -> None:
    assert api.get("/cases/", {"cursor": encoded(GOOD)}).status_code == 200


@pytest.mark.parametrize(
    "cursor",
    [
        "x",
        "ü",
        "%00",
        "=" * 8,
        "a" * 301,
        encoded(None),
        encoded([]),
        encoded({}),
        encoded(GOOD[:2]),
        encoded([*GOOD, 1]),
        encoded([2, *GOOD[1:]]),
        encoded([0, "2026-01-01T00:00:00", GOOD[2]]),
        encoded([0, 5, GOOD[2]]),
        encoded([0, GOOD[1], "5"]),
        encoded([0, GOOD[1], None]),
        encoded([0, [], {}]),
        encoded(["0", *GOOD[1:]]),
        encoded("[" * 200),
        "W1tbW1tbW1tbW1tbW1tbW1tbW1tbW1tbW1tbW1tb",
    ],
)
def test_a_cursor_that_is_none_is_a_field_error(api: Api, cursor: str) -> None:
    body = problem(api.get("/cases/", {"cursor": cursor}), 422, "field_invalid")
    assert list(body["errors"]) == ["cursor"]


@pytest.mark.parametrize("serial", ["x", None, -1, 2**63, 1e400, [1], {}])
def test_a_serial_that_is_none_is_a_field_error(site: Site, serial: Any) -> None:
    auditor = Api(make_token(site=site, roles=["auditor"], scopes=["read"])[1])
    response = auditor.get("/audit/", {"cursor": encoded([0, serial])})
    problem(response, 422, "field_invalid")
