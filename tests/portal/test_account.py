"""Signing in and out."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse

from cases.models import AuditEvent
from tests.factories import PASSWORD, make_user
from tests.portal.markup import read

pytestmark = pytest.mark.django_db


def test_signing_in_leads_to_the_first_place_and_is_audited() -> None:
    user = make_user(roles=["auditor"])
    client = Client()
    response = client.post(
        reverse("sign-in"), {"username": user.username, "password": PASSWORD}, follow=True
    )
    assert response.redirect_chain[-1][0] == reverse("audit-list")
    assert AuditEvent.objects.filter(action="user.signed_in", user_id=user.pk).count() == 1


def test_signing_in_leads_back_to_the_page_that_was_asked_for() -> None:
    user = make_user(roles=["radiologist"])
    response = Client().post(
        reverse("sign-in"),
        {"username": user.username, "password": PASSWORD, "next": reverse("model-list")},
    )
    assert response.headers["Location"] == reverse("model-list")


@pytest.mark.parametrize("elsewhere", ["https://evil.example/", "//evil.example/", "javascript:x"])
def test_signing_in_never_leads_to_another_site(elsewhere: str) -> None:
    user = make_user(roles=["radiologist"])
    response = Client().post(
        reverse("sign-in"),
        {"username": user.username, "password": PASSWORD, "next": elsewhere},
    )
    assert response.headers["Location"] == reverse("home")


@pytest.mark.parametrize("known", [True, False])
def test_a_refused_sign_in_says_the_same_for_known_and_unknown_names(known: bool) -> None:
    name = make_user(roles=["radiologist"]).username if known else "nobody"
    response = Client().post(reverse("sign-in"), {"username": name, "password": "wrong"})
    page = read(response.content)
    assert "User name and password do not match." in page.text
    assert page.values()["username"] == name
    assert "wrong" not in response.content.decode()
    assert AuditEvent.objects.filter(action="user.sign_in_failed").count() == 1


def test_signing_out_takes_a_post_and_ends_the_session() -> None:
    user = make_user(roles=["radiologist"])
    client = Client()
    client.force_login(user)
    assert client.get(reverse("sign-out")).status_code == 405
    response = client.post(reverse("sign-out"))
    assert response.headers["Location"] == reverse("sign-in")
    assert client.get(reverse("worklist")).status_code == 302
    assert AuditEvent.objects.filter(action="user.signed_out", user_id=user.pk).count() == 1
