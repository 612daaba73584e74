"""Secrets of webhooks at rest: sealed under a key that is not in the database."""

from __future__ import annotations

import base64
from contextlib import suppress

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings
from django.utils import timezone

from cases.models import Webhook


class SecretUnreadable(Exception):
    """Sealed under another key than the present one."""


def _box() -> Fernet:
    material = settings.BCWEB_WEBHOOK_KEY or settings.SECRET_KEY
    derive = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"bcweb webhook secrets")
    return Fernet(base64.urlsafe_b64encode(derive.derive(material.encode())))


def secret_seal(secret: str) -> str:
    return _box().encrypt(secret.encode()).decode()


def secret_open(sealed: str) -> str:
    """The secret. Raises ``SecretUnreadable`` where the key is another one now."""
    try:
        return _box().decrypt(sealed.encode()).decode()
    except InvalidToken:
        raise SecretUnreadable from None


def signing_keys(webhook: Webhook) -> list[str]:
    """What its messages are signed with now: the secret, and for a while the one before.

    Raises ``SecretUnreadable`` for the secret alone: with another key the one before is left out,
    or a new secret would help only once its time is over.
    """
    keys = [secret_open(webhook.secret)]
    until = webhook.previous_until
    if webhook.previous_secret and until is not None and until > timezone.now():
        with suppress(SecretUnreadable):
            keys.append(secret_open(webhook.previous_secret))
    return keys
