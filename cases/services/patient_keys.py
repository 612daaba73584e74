"""The key that stands for a patient wherever identity may not: in snapshots and on their sides."""

from __future__ import annotations

import hashlib
import hmac

from django.conf import settings

from bcweb.patient_key import key_id

PREFIX = "hmac-sha256:"


def patient_key(*, issuer: str, patient_id: str) -> str:
    """HMAC-SHA256 over issuer and patient id: the same patient at two sites has one key.

    Whoever has the service's secret and a patient's id can make the key; nobody can turn it back.
    Neither part can hold a NUL, so that no two pairs are the same text.
    """
    return PREFIX + keyed_hash(f"patient\0{issuer}\0{patient_id}")


def patient_key_id() -> str:
    """Which secret makes the keys, in 16 hex digits; says nothing of the secret."""
    return key_id(settings.BCWEB_PATIENT_KEY)


def keyed_hash(text: str) -> str:
    """HMAC-SHA256 of a text under the patients' key, in 64 hex digits."""
    secret = settings.BCWEB_PATIENT_KEY.encode()
    return hmac.new(secret, text.encode(), hashlib.sha256).hexdigest()
