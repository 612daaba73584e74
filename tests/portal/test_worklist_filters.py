"""Narrowing the worklist: each filter, illegal values, what is withheld."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from cases.access import Actor
from cases.models import AuditEvent, Case, Site, WorklistEntry
from cases.portal import ai_view
from cases.services.people import actor_for_user
from cases.services.readings import Place, reading_content_parse, reading_draft_save
from cases.services.worklist import worklist_fold
from tests.factories import (
    make_site,
    make_user,
)
from tests.portal.conftest import SignIn
from tests.portal.markup import csp_faults, read, structure_faults
from tests.portal.signing import sign
from tests.portal.worklists import URL, cases_of_each_kind, listed

pytestmark = pytest.mark.django_db


@pytest.fixture
def site() -> Site:
    return make_site()


@pytest.fixture
def cases(site: Site) -> dict[str, Case]:
    return cases_of_each_kind(site)


# What each filter leaves of a case of each kind.
LEFT: list[tuple[dict[str, str], set[str]]] = [
    ({"state": "waiting"}, {"WAITS"}),
    ({"state": "cancelled"}, {"OFF"}),
    ({"state": "failed"}, set()),
    ({"state": "done"}, {"ABOVE", "BELOW", "UNSURE", "NOTONE"}),
    ({"answer": "above"}, {"ABOVE"}),
    ({"answer": "below"}, {"BELOW"}),
    ({"answer": "abstained"}, {"UNSURE"}),
    ({"answer": "refused"}, {"NOTONE"}),
    ({"answer": "none"}, {"OFF", "WAITS"}),
    ({"priority": "stat"}, {"WAITS"}),
    ({"priority": "urgent"}, set()),
    ({"state": "done", "answer": "above", "priority": "routine"}, {"ABOVE"}),
    ({"state": "done", "answer": "none"}, set()),
]


def test_each_filter_leaves_what_it_names_and_costs_the_same_queries(
    cases: dict[str, Case], site: Site, sign_in: SignIn
) -> None:
    client, stranger = sign_in(site=site), sign_in(site=make_site())
    listed(client)

    def queries(**query: str) -> tuple[set[str], int]:
        with CaptureQueriesContext(connection) as caught:
            found = listed(client, **query)
        return found, len(caught)

    everything, most = queries()
    assert everything == set(cases)
    for query, left in LEFT:
        found, asked = queries(**query)
        assert (query, found) == (query, left)
        assert asked <= most
    for order in ("newest", "score"):
        assert queries(answer="above", order=order)[0] == {"ABOVE"}
    assert listed(stranger, state="done") == set()


def test_readings_are_filtered_by_who_and_how_far(
    cases: dict[str, Case], site: Site, sign_in: SignIn
) -> None:
    ada, bea = (make_user(roles=["radiologist"], site=site) for _ in range(2))
    sign(actor_for_user(ada), cases["ABOVE"])
    content = reading_content_parse({"category": "2"})
    for reader, name in ((ada, "BELOW"), (bea, "UNSURE")):
        reading_draft_save(
            actor=actor_for_user(reader),
            case_id=cases[name].pk,
            place=Place(),
            content=content,
            version=0,
        )
    client = sign_in(ada)
    assert listed(client, reading="signed") == {"ABOVE"}
    assert listed(client, reading="unread") == set(cases) - {"ABOVE"}
    assert listed(client, reading="drafted") == {"BELOW", "UNSURE"}
    assert listed(client, mine="reading") == {"BELOW"}
    assert listed(client, mine="signed") == {"ABOVE"}
    assert listed(client, mine="submitted") == set()
    assert listed(sign_in(bea), mine="signed") == set()
    nurse = cases["ABOVE"].submissions.get().user
    assert nurse is not None
    assert listed(sign_in(nurse), mine="submitted") == set(cases)


def test_days_are_days_of_the_portal_and_both_ends_are_in(
    cases: dict[str, Case], site: Site, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    worklist_fold()
    # It stays noon of this day, however late it is.
    noon = timezone.localtime().replace(hour=12, minute=0, second=0, microsecond=0)
    monkeypatch.setattr(timezone, "now", lambda: noon)
    today = timezone.localdate()
    ages = {"ABOVE": 0, "WAITS": 0, "BELOW": 6, "UNSURE": 7, "NOTONE": 29, "OFF": 30}
    for name, days in ages.items():
        moment = noon - timedelta(days=days)
        WorklistEntry.objects.filter(case=cases[name]).update(arrived_at=moment)
    client = sign_in(site=site)
    assert listed(client, period="today") == {"ABOVE", "WAITS"}
    assert listed(client, period="week") == {"ABOVE", "WAITS", "BELOW"}
    assert listed(client, period="month") == set(cases) - {"OFF"}
    since, until = (str(today - timedelta(days=days)) for days in (29, 7))
    assert listed(client, since=since, until=until) == {"UNSURE", "NOTONE"}
    assert listed(client, since=since, period="week") == {"ABOVE", "WAITS", "BELOW"}
    assert listed(client, until=str(today - timedelta(days=30))) == {"OFF"}


BAD: tuple[dict[str, str], ...] = (
    {"state": "nowhere"},
    {"answer": "malignant"},
    {"priority": "0"},
    {"reading": "x" * 300},
    {"mine": "theirs"},
    {"period": "year"},
    {"order": "name"},
    {"since": "yesterday"},
    {"until": "0001-01-01"},
    {"since": "2026-03-02", "until": "2026-03-01"},
)


def test_a_filter_that_is_none_is_said_beside_its_field(sign_in: SignIn) -> None:
    client = sign_in()
    for query in BAD:
        response = client.get(URL, query)
        assert (query, response.status_code) == (query, 422)
        page = read(response.content)
        wrong = "until" if len(query) == 2 else next(iter(query))
        assert page.one("p", id=f"{wrong}-error").text.strip()
        assert (csp_faults(page), structure_faults(page)) == ([], [])
        assert not page.all("table")


def test_nobody_elses_filters_are_offered(site: Site, sign_in: SignIn) -> None:
    def mine(role: str) -> list[str]:
        page = read(sign_in(role=role, site=site).get(URL).content)
        if not page.all("select", id="mine"):
            return []
        at = page.tags.index(page.one("select", id="mine"))
        options = []
        for tag in page.tags[at + 1 :]:
            if tag.name != "option":
                break
            options.append(tag.attrs["value"])
        return options

    assert mine("radiologist") == ["", "reading", "signed", "submitted"]
    assert mine("sonographer") == ["", "submitted"]
    assert mine("admin") == []


def test_without_the_models_answers_the_list_is_neither_filtered_nor_ordered_by_them(
    cases: dict[str, Case], site: Site, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A house that lets readers read first says so in one place."""
    everything = frozenset(case.pk for case in cases.values())

    def withheld(*, actor: Actor, cases: Any) -> ai_view.AiView:
        return ai_view.AiView(offered=False, withheld=everything)

    from cases.portal.views import worklist

    monkeypatch.setattr(worklist, "ai_view", withheld)
    monkeypatch.setattr(worklist, "ai_offered", lambda *, actor: False)
    client = sign_in(site=site)
    assert listed(client, answer="above") == set(cases)
    page = read(client.get(URL, {"order": "score", "answer": "above"}).content)
    assert not page.all("select", id="answer")
    assert not page.all("option", value="score")
    assert "What the model said is not told before" in page.text
    for told in ("threshold", "0.90", "uncertain", "refused"):
        assert told not in page.one("table").text
    assert page.text.count("Told after you sign") == 4
    ids = [case.pk for case in cases.values()]
    csv = client.post(f"{URL}bulk/", {"act": "csv", "case": ids}).content.decode()
    assert "0.9" not in csv
    assert csv.count("withheld") == 4
    assert not AuditEvent.objects.filter(action="result.read").exists()
