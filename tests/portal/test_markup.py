"""Every page keeps to the Content-Security-Policy, has landmarks, headings and labels."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse

from cases.services.people import actor_for_user
from tests.factories import answer, make_user, phantom_jpeg, submit
from tests.portal.conftest import SignIn, World, answer_images
from tests.portal.markup import csp_faults, read, structure_faults

pytestmark = pytest.mark.django_db


def pages_of(world: World) -> dict[str, list[str]]:
    """Addresses of whole pages, by a role that may see them."""
    case = [world.case.pk]
    model = [world.result.model_version_id]
    return {
        "radiologist": [
            reverse("worklist"),
            reverse("worklist") + "?state=failed&since=2026-01-01&order=score",
            reverse("worklist-views"),
            reverse("case-submit"),
            reverse("submission-pending", args=["a-key-nobody-used"]),
            reverse("submission-pending", args=["a-key-nobody-used"]) + "?looks=99",
            reverse("case-detail", args=case),
            reverse("case-audit", args=case),
            reverse("model-list"),
            reverse("model-detail", args=model),
            "/nowhere/",
        ],
        "admin": [reverse("worklist"), reverse("case-detail", args=case), reverse("audit-list")],
        "auditor": [reverse("audit-list"), reverse("worklist")],
    }


def test_every_page_keeps_to_the_policy_and_the_structure(world: World, sign_in: SignIn) -> None:
    # Every state of an image on one page: answered, abstained, refused, failed, waiting.
    actor = actor_for_user(world.sonographer)
    more = submit(
        actor=actor,
        files=[phantom_jpeg(), phantom_jpeg()],
        patient_id="SECRET-ID-77",
        accession_number="ACC-0815",
        quadrant="central",
    )
    answer_images(
        more, answer(0.3, outcome="abstained"), answer(outcome="refused", reason="Not one.")
    )
    submit(actor=actor, patient_id="SECRET-ID-77", accession_number="ACC-0815")
    for role, addresses in pages_of(world).items():
        client = sign_in(role=role, site=world.site)
        for url in addresses:
            page = read(client.get(url).content)
            assert (url, csp_faults(page), structure_faults(page)) == (url, [], [])


def test_pages_for_the_anonymous_keep_to_them_too() -> None:
    client = Client()
    refused = client.post(reverse("sign-in"), {"username": "x", "password": "y"})
    for response in (client.get(reverse("sign-in")), refused, client.get("/nowhere/")):
        page = read(response.content)
        assert (csp_faults(page), structure_faults(page)) == ([], [])


def test_a_refused_form_and_the_live_fragments_keep_to_them(world: World, sign_in: SignIn) -> None:
    client = sign_in(world.sonographer)
    refused = client.post(reverse("case-submit"), {"birth_date": "soon", "sex": "x"})
    page = read(refused.content)
    assert (csp_faults(page), structure_faults(page)) == ([], [])
    for name, args in (("worklist-rows", []), ("case-answers", [world.case.pk])):
        fragment = client.get(reverse(name, args=args))
        assert fragment.status_code == 200
        assert csp_faults(read(fragment.content)) == []


def test_the_policy_that_is_sent_allows_nothing_inline(world: World, sign_in: SignIn) -> None:
    policy = sign_in(world.sonographer).get(reverse("worklist")).headers["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert "script-src 'self'" in policy
    assert "style-src 'self'" in policy


def test_the_research_note_stands_on_every_page(world: World, sign_in: SignIn) -> None:
    for role, addresses in pages_of(world).items():
        client = sign_in(role=role, site=world.site)
        for url in addresses:
            text = read(client.get(url).content).text
            assert "Research software, not a medical device." in text
            assert "The model advises; a person decides." in text


def test_each_page_has_a_title_of_its_own(world: World, sign_in: SignIn) -> None:
    client = sign_in(role="radiologist", site=world.site)
    titles = [
        read(client.get(reverse(name)).content).one("title").text
        for name in ("worklist", "case-submit", "model-list")
    ]
    assert titles == ["Worklist · bcweb", "Submit a case · bcweb", "Models · bcweb"]


@pytest.mark.parametrize("role", ["radiologist", "auditor"])
def test_the_current_place_is_marked_in_the_rail(role: str, world: World, sign_in: SignIn) -> None:
    client = sign_in(make_user(roles=[role], site=world.site))
    page = read(client.get("/", follow=True).content)
    current = page.all("a", aria_current="page")
    assert len(current) == 1
