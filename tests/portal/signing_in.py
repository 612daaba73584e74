"""Signing in as people do."""

from __future__ import annotations

from typing import Any

from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import generate_totp_secret
from django.test import Client
from django.urls import reverse

from cases.models import User
from cases.services.factor_secrets import secret_seal
from tests.factories import PASSWORD


def make_app(user: User) -> str:
    """An authenticator app that is set up; its secret."""
    secret = generate_totp_secret()
    Authenticator.objects.create(
        user=user, type=Authenticator.Type.TOTP, data={"secret": secret_seal(secret)}
    )
    return secret


def password_step(
    user: User | str, password: str = PASSWORD, *, client: Client | None = None, **more: Any
) -> Any:
    """The answer to the sign-in form."""
    name = user if isinstance(user, str) else user.username
    sent = {"username": name, "password": password, **more.pop("fields", {})}
    return (client or Client()).post(reverse("sign-in"), sent, **more)


def signed_in(user: User) -> Client:
    """A browser in which ``user`` has typed their password just now."""
    client = Client()
    response = password_step(user, client=client)
    assert response.status_code == 302, response.content.decode()
    return client


def is_signed_in(client: Client) -> bool:
    return bool(client.get(reverse("account")).status_code == 200)
