"""Each page for each role, at the own site, at another, and for the anonymous."""

from __future__ import annotations

import uuid

import pytest
from django.test import Client
from django.urls import reverse

from cases.models import Job
from tests.factories import make_site, make_user
from tests.portal.conftest import ROLES, SignIn, World
from tests.portal.markup import read

pytestmark = pytest.mark.django_db

CARERS = {"sonographer", "radiologist", "integration"}
VIEWERS = CARERS | {"admin"}
# URL name -> roles that may. Everybody else gets 403.
PAGES: dict[str, set[str]] = {
    "worklist": VIEWERS,
    "worklist-rows": VIEWERS,
    "worklist-views": VIEWERS,
    "case-submit": CARERS,
    "model-list": VIEWERS | {"approver"},
    "audit-list": {"admin", "auditor"},
    "dead-letter-list": {"admin"},
    "watch": {"admin"},
    "watch-csv": {"admin"},
}
OF_A_CASE: dict[str, set[str]] = {
    "case-detail": VIEWERS,
    "case-answers": VIEWERS,
    "case-audit": VIEWERS,
    "image-preview": VIEWERS,
    "result-heatmap": VIEWERS,
    # The file as sent holds the patient's name: administrators work without it.
    "image-file": CARERS,
}
ACTIONS: dict[str, set[str]] = {
    "job-cancel": VIEWERS,
    "job-rerun": VIEWERS,
    "result-replay": VIEWERS,
}


def address(name: str, world: World) -> str:
    if name.startswith("case"):
        return reverse(name, args=[world.case.pk])
    if name.startswith("image"):
        return reverse(name, args=[world.image.pk])
    if name.startswith("result"):
        return reverse(name, args=[world.result.pk])
    return reverse(name, args=[world.job.pk])


@pytest.mark.parametrize("name", PAGES)
def test_a_place_opens_for_the_roles_it_is_for(name: str, world: World, sign_in: SignIn) -> None:
    found = {
        role: sign_in(role=role, site=world.site).get(reverse(name)).status_code for role in ROLES
    }
    assert found == {role: 200 if role in PAGES[name] else 403 for role in ROLES}


@pytest.mark.parametrize("name", OF_A_CASE)
def test_a_case_opens_at_its_own_site_for_the_roles_it_is_for(
    name: str, world: World, sign_in: SignIn
) -> None:
    url = address(name, world)
    found = {role: sign_in(role=role, site=world.site).get(url).status_code for role in ROLES}
    assert found == {role: 200 if role in OF_A_CASE[name] else 403 for role in ROLES}


@pytest.mark.parametrize("name", [*OF_A_CASE, *ACTIONS])
def test_another_sites_object_looks_like_one_that_never_was(
    name: str, world: World, sign_in: SignIn
) -> None:
    other, allowed = make_site(), {**OF_A_CASE, **ACTIONS}[name]
    for role in ROLES:
        client = sign_in(role=role, site=other)
        call = client.post if name in ACTIONS else client.get
        there = call(address(name, world))
        nowhere = call(reverse(name, args=[uuid.uuid4()]))
        expected = 404 if role in allowed else 403
        assert (role, there.status_code, nowhere.status_code) == (role, expected, expected)
        assert _without_reference(there.content) == _without_reference(nowhere.content)
    assert Job.objects.count() == 1


def _without_reference(html: bytes) -> str:
    page = read(html)
    for tag in page.all("code"):
        page.text = page.text.replace(tag.text, "")
    return page.text


@pytest.mark.parametrize("name", ACTIONS)
def test_a_job_is_acted_on_by_those_who_submit_or_operate(
    name: str, world: World, sign_in: SignIn
) -> None:
    found = {
        role: sign_in(role=role, site=world.site).post(address(name, world)).status_code
        for role in ROLES
    }
    assert found == {role: 302 if role in ACTIONS[name] else 403 for role in ROLES}


def test_the_anonymous_are_led_to_sign_in_and_back(world: World) -> None:
    addresses = [reverse(name) for name in (*PAGES, "home")]
    for url in [*addresses, *(address(name, world) for name in OF_A_CASE)]:
        response = Client().get(url)
        assert response.status_code == 302
        assert response.headers["Location"] == f"{reverse('sign-in')}?next={url}"


@pytest.mark.parametrize("name", ACTIONS)
def test_an_action_by_the_anonymous_changes_nothing(name: str, world: World) -> None:
    response = Client().post(address(name, world))
    assert response.status_code == 302
    assert response.headers["Location"].startswith(reverse("sign-in"))
    assert Job.objects.count() == 1


def test_an_action_needs_a_csrf_token(world: World) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(world.sonographer)
    response = client.post(address("job-rerun", world))
    assert response.status_code == 403
    assert "The form has expired" in response.content.decode()
    assert Job.objects.count() == 1


def test_an_action_by_get_is_not_one(world: World, sign_in: SignIn) -> None:
    assert sign_in(world.sonographer).get(address("job-cancel", world)).status_code == 405


def test_a_poll_of_a_lost_session_loads_the_page_anew(world: World) -> None:
    response = Client().get(address("case-answers", world), headers={"HX-Request": "true"})
    assert response.status_code == 204
    assert response.headers["HX-Refresh"] == "true"


@pytest.mark.parametrize(
    ("role", "first"),
    [
        ("sonographer", "worklist"),
        ("radiologist", "worklist"),
        ("admin", "overview"),
        ("approver", "model-list"),
        ("auditor", "audit-list"),
    ],
)
def test_the_root_leads_to_the_first_place_of_the_role(
    role: str, first: str, sign_in: SignIn
) -> None:
    assert sign_in(role=role).get("/").headers["Location"] == reverse(first)


def test_an_account_without_a_role_is_told_whom_to_ask(sign_in: SignIn) -> None:
    response = sign_in(make_user(roles=[])).get("/")
    assert response.status_code == 403
    page = read(response.content)
    assert "Ask an administrator" in page.text
    assert page.one("form", action=reverse("sign-out"))


def test_the_rail_shows_only_the_places_of_the_role(world: World, sign_in: SignIn) -> None:
    def rail(role: str) -> str:
        page = read(sign_in(role=role, site=world.site).get("/", follow=True).content)
        return page.one("nav", aria_label="Places").text.strip()

    assert rail("radiologist") == "Worklist Submit Models"
    assert rail("admin") == "Overview Worklist Failed Models Reader first Webhooks People Audit"
    assert rail("auditor") == "Audit"
    assert rail("approver") == "Models"


def test_pages_with_patients_are_not_kept_by_the_browser(world: World, sign_in: SignIn) -> None:
    client = sign_in(world.sonographer)
    for url in (reverse("worklist"), address("case-detail", world), address("image-file", world)):
        assert client.get(url).headers["Cache-Control"] == "no-store, private"
