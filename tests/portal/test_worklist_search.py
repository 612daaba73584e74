"""Searching the worklist: by beginnings, within the site, with nothing told anywhere."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from cases.models import AuditEvent, Case, Site
from tests.factories import make_actor, make_site, submit
from tests.portal.conftest import SignIn
from tests.portal.markup import csp_faults, read, structure_faults
from tests.portal.worklists import URL, names

pytestmark = pytest.mark.django_db


@pytest.fixture
def site() -> Site:
    return make_site()


def searched(client: Client, text: str) -> set[str]:
    response = client.post(f"{URL}search/", {"q": text})
    assert response.status_code == 302, text
    return names(read(client.get(response.headers["Location"]).content))


@pytest.fixture
def people(site: Site) -> dict[str, Case]:
    nurse = make_actor(roles=["sonographer"], site=site)
    told = {
        "ACC-100": ("PAT-7", "Doe^Jane"),
        "ACC-101": ("PAT-7", "Doe^Jane"),
        "BCC-102": ("XX-1", "O'Neil-Doering^Janet^M"),
        "100%_A": ("YY-2", "Müller^Änne"),
    }
    return {
        name: submit(
            actor=nurse, accession_number=name, patient_id=patient, patient_name=written
        ).case
        for name, (patient, written) in told.items()
    }


FOUND: list[tuple[str, set[str]]] = [
    ("acc-1", {"ACC-100", "ACC-101"}),
    ("ACC-101", {"ACC-101"}),
    ("pat-7", {"ACC-100", "ACC-101"}),
    ("doe", {"ACC-100", "ACC-101", "BCC-102"}),
    ("Doe, Jane", {"ACC-100", "ACC-101", "BCC-102"}),
    ("jane doe", {"ACC-100", "ACC-101", "BCC-102"}),
    ("jan doering", {"BCC-102"}),
    ("o'neil", {"BCC-102"}),
    ("MÜLLER", {"100%_A"}),
    ("100%", {"100%_A"}),
    ("1_0", set()),
    ("%%", set()),
    ("' OR 1=1 --", set()),
    ("cc-1", set()),
    ("doe & !jane", {"ACC-100", "ACC-101", "BCC-102"}),
    ("::*|()", set()),
]


def test_a_search_finds_beginnings_of_numbers_and_of_words_of_names(
    people: dict[str, Case], site: Site, sign_in: SignIn
) -> None:
    client, stranger = sign_in(site=site), sign_in(site=make_site())
    for text, found in FOUND:
        assert (text, searched(client, text)) == (text, found)
        assert (text, searched(stranger, text)) == (text, set())


def test_what_was_searched_for_stands_in_no_address_trail_or_session(
    people: dict[str, Case], site: Site, sign_in: SignIn
) -> None:
    client = sign_in(site=site)
    response = client.post(f"{URL}search/", {"q": "doering"})
    query = parse_qs(urlsplit(response.headers["Location"]).query)
    assert set(query) == {"order", "found"}
    assert "doering" not in str(dict(client.session)).lower()
    event = AuditEvent.objects.get(action="case.searched")
    assert event.detail == {"cases": 1}
    page = read(client.get(response.headers["Location"]).content)
    assert "1 case fits your search." in page.text
    # The list of the search is polled, filtered and saved without the words too.
    assert client.get(page.one("div", id="worklist").attrs["hx-get"]).status_code == 204
    assert client.get(f"{URL}search/", {"q": "doering"}).status_code == 405


def test_a_search_of_another_session_or_long_ago_says_so(
    people: dict[str, Case], site: Site, sign_in: SignIn
) -> None:
    location = sign_in(site=site).post(f"{URL}search/", {"q": "doe"}).headers["Location"]
    page = read(sign_in(site=site).get(location).content)
    assert "That search is too long ago" in page.text


def test_who_may_not_see_patients_searches_by_accession_only(
    people: dict[str, Case], site: Site, sign_in: SignIn
) -> None:
    admin = sign_in(role="admin", site=site)
    assert searched(admin, "acc-1") == {"ACC-100", "ACC-101"}
    assert searched(admin, "doe") == set()
    assert searched(admin, "pat-7") == set()


def test_a_search_for_too_little_or_too_much_says_so(sign_in: SignIn) -> None:
    client = sign_in()
    for text in ("", "a", " \x00 ", "x" * 81):
        response = client.post(f"{URL}search/", {"q": text})
        assert (text, response.status_code) == (text, 422)
        page = read(response.content)
        assert "Type at least 2 characters" in page.one("p", id="q-error").text
        assert (csp_faults(page), structure_faults(page)) == ([], [])


def test_a_search_costs_the_same_queries_whatever_it_finds(
    people: dict[str, Case], site: Site, sign_in: SignIn
) -> None:
    client = sign_in(site=site)

    def queries(text: str) -> int:
        with CaptureQueriesContext(connection) as caught:
            client.post(f"{URL}search/", {"q": text})
        return len(caught)

    queries("doe")
    assert queries("doe") == queries("acc-101")
