"""Withdrawing an answer at the portal, and how it looks afterwards."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse

from cases.models import ResultWithdrawal
from tests.factories import make_site, make_user
from tests.portal.conftest import ROLES, SignIn, World
from tests.portal.markup import csp_faults, read, structure_faults
from tests.portal.pages import cards, poll_url, url_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def admin(world: World, sign_in: SignIn) -> Client:
    return sign_in(make_user(roles=["admin"], site=world.site))


def test_an_answer_is_withdrawn_with_a_reason_and_struck_through(
    world: World, admin: Client, sign_in: SignIn
) -> None:
    url = reverse("result-withdraw", args=[world.result.pk])
    page = read(admin.get(url).content)
    assert (csp_faults(page), structure_faults(page)) == ([], [])
    assert "of record" not in page.text
    assert page.one("h1").text == "Withdraw the answer for image 1 of case ACC-0815"
    refused = admin.post(url, {"reason": ""})
    assert refused.status_code == 422
    page = read(refused.content)
    assert (csp_faults(page), structure_faults(page)) == ([], [])
    assert "Say why, in a sentence." in page.text
    assert admin.post(url, {"reason": "Wrong probe."}).status_code == 302
    page = read(sign_in(world.sonographer).get(url_of(world.case)).content)
    assert (csp_faults(page), structure_faults(page)) == ([], [])
    (card,) = cards(page)
    assert "Answer withdrawn" in card
    assert ": Wrong probe. Do not use this answer." in card
    # It stays to be seen.
    assert "above its malignant threshold" in page.one("div", role="deletion").text
    assert "0.88" in page.one("div", role="deletion").text
    assert page.one("s").text == "0.88"
    rows = read(sign_in(world.sonographer).get(reverse("worklist")).content)
    assert "Answer withdrawn" in rows.text
    assert rows.one("s").text == "0.88"
    assert "There is no way back" in read(admin.get(url).content).text
    assert admin.post(url, {"reason": "Again."}).status_code == 409
    history = read(admin.get(reverse("case-audit", args=[world.case.pk])).content).text
    assert "ithdrew the answer for image 1" in history


def test_only_administrators_of_the_site_withdraw(world: World, sign_in: SignIn) -> None:
    url = reverse("result-withdraw", args=[world.result.pk])
    for call, status in ((Client.get, 200), (Client.post, 422)):
        found = {role: call(sign_in(role=role, site=world.site), url).status_code for role in ROLES}
        assert found == {role: status if role == "admin" else 403 for role in ROLES}
    stranger = sign_in(role="admin", site=make_site())
    assert stranger.post(url, {"reason": "x"}).status_code == 404
    assert not ResultWithdrawal.objects.exists()


def test_an_open_page_hears_of_it(world: World, admin: Client, sign_in: SignIn) -> None:
    client = sign_in(world.sonographer)
    client.post(reverse("result-replay", args=[world.result.pk]))
    poll = poll_url(read(client.get(url_of(world.case)).content))
    admin.post(reverse("result-withdraw", args=[world.result.pk]), {"reason": "Wrong probe."})
    fragment = read(client.get(poll).content)
    assert "Answer withdrawn" in fragment.text
