"""Saved views of the worklist: a person's own, and nobody else's."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from cases.errors import FieldInvalid, NotFound, PermissionDenied, StateConflict
from cases.models import AuditEvent, Case, SavedView, Site
from cases.services.people import actor_for_token, actor_for_user
from cases.services.saved_views import (
    MAX_VIEWS,
    saved_view_create,
    saved_view_default,
    saved_view_rename,
)
from cases.worklisting import WorklistFilters, worklist_filters_parse
from tests.factories import at_once, make_actor, make_site, make_token, make_user
from tests.portal.conftest import SignIn
from tests.portal.markup import csp_faults, read, structure_faults
from tests.portal.worklists import URL, cases_of_each_kind, listed, names

pytestmark = pytest.mark.django_db


@pytest.fixture
def site() -> Site:
    return make_site()


@pytest.fixture
def cases(site: Site) -> dict[str, Case]:
    return cases_of_each_kind(site)


def save(client: Client, name: str, **filters: str) -> Any:
    return client.post(f"{URL}views/", {"name": name, **filters})


def test_a_view_is_saved_opened_renamed_made_the_first_page_and_deleted(
    cases: dict[str, Case], site: Site, sign_in: SignIn
) -> None:
    client = sign_in(site=site)
    response = save(client, "  My  above ", answer="above", order="newest")
    view = SavedView.objects.get()
    assert (view.name, view.filters) == ("My above", {"answer": "above", "order": "newest"})
    page = read(client.get(response.headers["Location"]).content)
    assert names(page) == {"ABOVE"}
    assert [a.text for a in page.all("a", aria_current="true")] == ["My above"]
    change = f"{URL}views/{view.pk}/"
    client.post(change, {"act": "rename", "name": "Above"})
    client.post(change, {"act": "open"})
    assert listed(client) == {"ABOVE"}
    assert listed(client, view="all") == set(cases)
    assert listed(client, state="waiting") == {"WAITS"}
    # Of the first page of all cases one comes to the first page of all cases.
    page = read(client.get(URL, {"view": "all"}).content)
    poll = page.one("div", id="worklist").attrs["hx-get"]
    assert client.get(poll).status_code == 204
    client.post(change, {"act": "no-open"})
    assert listed(client) == set(cases)
    client.post(change, {"act": "delete"})
    assert client.get(URL, {"view": str(view.pk)}).status_code == 404
    trail = AuditEvent.objects.filter(object_type="saved_view").order_by("id")
    told = trail.values_list("action", "detail")
    assert [action for action, _ in told] == [
        "saved_view.created",
        *["saved_view.changed"] * 3,
        "saved_view.deleted",
    ]
    assert "above" not in str([detail for _, detail in told]).lower()


def test_views_are_seen_and_changed_by_nobody_else(
    cases: dict[str, Case], site: Site, sign_in: SignIn
) -> None:
    owner, other = sign_in(site=site), sign_in(site=site)
    save(owner, "Urgent left", answer="above")
    view = SavedView.objects.get()
    assert "Urgent left" not in read(other.get(URL).content).text
    assert "Urgent left" not in read(other.get(f"{URL}views/").content).text
    assert other.get(URL, {"view": str(view.pk)}).status_code == 404
    for act in ("rename", "open", "no-open", "delete", "steal"):
        done = other.post(f"{URL}views/{view.pk}/", {"act": act, "name": "Yours"})
        assert done.status_code == 404
    assert SavedView.objects.get().name == "Urgent left"
    assert owner.post(f"{URL}views/{view.pk}/", {"act": "steal"}).status_code == 404


def test_a_bad_name_is_refused_beside_its_field(sign_in: SignIn) -> None:
    client = sign_in()
    save(client, "Mine", state="failed")
    save(client, "Other")
    view = SavedView.objects.get(name="Other")
    for name in ("", "   ", "x" * 41, "a\x07b", "MINE"):
        response = save(client, name, state="failed")
        assert (name, response.status_code) == (name, 422)
        page = read(response.content)
        assert page.one("p", id="name-error").text.strip()
        assert page.one("input", type="hidden", name_="state").attrs["value"] == "failed"
        assert (csp_faults(page), structure_faults(page)) == ([], [])
        renamed = client.post(f"{URL}views/{view.pk}/", {"act": "rename", "name": name})
        assert renamed.status_code == 422
        assert read(renamed.content).one("p", id=f"name-error-{view.pk}")


def test_saved_views_end_somewhere_and_belong_to_people() -> None:
    user = make_user(roles=["radiologist"])
    actor = actor_for_user(user)
    for number in range(MAX_VIEWS):
        saved_view_create(actor=actor, name=f"View {number}", filters=WorklistFilters())
    with pytest.raises(StateConflict):
        saved_view_create(actor=actor, name="One more", filters=WorklistFilters())
    with pytest.raises(FieldInvalid):
        saved_view_rename(actor=actor, view_id=SavedView.objects.all()[0].pk, name="view 1")
    with pytest.raises(NotFound):
        saved_view_rename(actor=make_actor(), view_id=SavedView.objects.all()[0].pk, name="Mine")
    with pytest.raises(PermissionDenied):
        saved_view_create(
            actor=make_actor(roles=["auditor"]), name="Mine", filters=WorklistFilters()
        )
    token, _ = make_token(user=user)
    with pytest.raises(PermissionDenied):
        saved_view_create(actor=actor_for_token(token), name="T", filters=WorklistFilters())


@pytest.mark.django_db(transaction=True)
def test_of_two_first_views_at_once_one_remains_the_first() -> None:
    actor = make_actor()
    views = [
        saved_view_create(actor=actor, name=name, filters=worklist_filters_parse({}))
        for name in ("A", "B")
    ]
    wanted = iter(views)
    told = at_once(
        2,
        lambda: saved_view_default(actor=actor, view_id=next(wanted).pk, is_default=True),
    )
    assert not [error for error in told if isinstance(error, Exception)]
    assert SavedView.objects.filter(is_default=True).count() == 1
