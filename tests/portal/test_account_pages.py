"""The pages of signing in and of an account: the policy, the structure, and who may open them."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse

from tests.factories import make_user
from tests.portal.conftest import ROLES
from tests.portal.markup import csp_faults, read, structure_faults
from tests.portal.signing_in import make_app, password_step, signed_in

pytestmark = pytest.mark.django_db
OWN = (
    "account",
    "account_change_password",
    "account_reauthenticate",
    "mfa_activate_totp",
    "mfa_add_webauthn",
    "mfa_reauthenticate",
    "mfa_deactivate_totp",
    "mfa_generate_recovery_codes",
)


def test_every_page_of_an_account_keeps_to_the_policy_and_the_structure() -> None:
    user = make_user(roles=["radiologist"])
    client = signed_in(user)
    seen = {}
    for number, name in enumerate(OWN):
        if number == OWN.index("mfa_reauthenticate"):
            make_app(user)
        response = client.get(reverse(name))
        assert (name, response.status_code) == (name, 200)
        assert "no-store" in response.headers["Cache-Control"]
        seen[name] = response.content
    waiting = Client()
    password_step(user, client=waiting)
    seen["second step"] = waiting.get(reverse("mfa_authenticate")).content
    seen["refused"] = waiting.post(reverse("mfa_authenticate"), {"code": "1"}).content
    for name, content in seen.items():
        page = read(content)
        assert (name, csp_faults(page), structure_faults(page)) == (name, [], [])


@pytest.mark.parametrize("roles", [[], *([role] for role in ROLES)])
def test_everybody_has_an_account_and_a_way_to_it(roles: list[str]) -> None:
    client = signed_in(make_user(roles=roles))
    page = read(client.get("/", follow=True).content)
    link = page.one("a", class_="who-user")
    assert link.attrs["href"] == reverse("account")
    assert client.get(reverse("account")).status_code == 200


@pytest.mark.parametrize("name", [*OWN, "mfa_view_recovery_codes"])
def test_strangers_are_led_to_sign_in_and_back(name: str) -> None:
    response = Client().get(reverse(name))
    assert response.status_code == 302
    assert response.headers["Location"] == f"{reverse('sign-in')}?next={reverse(name)}"


def test_nobody_registers_and_nothing_is_mailed() -> None:
    for path in ("signup", "sign-up", "accounts/signup", "account/password/reset", "email"):
        assert Client().get(f"/{path}/").status_code == 404
