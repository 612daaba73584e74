"""Secrets of second factors at rest: sealed under a key that is not in the database."""

from __future__ import annotations

import base64

import structlog
from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings

log = structlog.get_logger(__name__)


class SecretUnreadable(Exception):
    """Sealed under another ``SECRET_KEY`` than the present one."""


def _box() -> Fernet:
    derive = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"bcweb second factors")
    return Fernet(base64.urlsafe_b64encode(derive.derive(settings.SECRET_KEY.encode())))


def secret_seal(secret: str) -> str:
    return _box().encrypt(secret.encode()).decode()


def secret_open(sealed: str) -> str:
    """The secret. Raises ``SecretUnreadable`` where the key is another one now."""
    try:
        return _box().decrypt(sealed.encode()).decode()
    except InvalidToken:
        log.warning("second_factor_unreadable", why="SECRET_KEY is not the one it was made under")
        raise SecretUnreadable from None
