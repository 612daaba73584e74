"""Signatures of webhook messages, as the Standard Webhooks specification writes them. Pure.

`webhook-signature` holds one `v1,<base64>` per secret, separated by blanks: HMAC-SHA256 of
`<webhook-id>.<webhook-timestamp>.<body>` under the decoded secret.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Sequence

PREFIX = "whsec_"


def new_secret() -> str:
    """A secret of 256 random bits, as it is given to the receiver."""
    return PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def signature(secret: str, *, message_id: str, timestamp: int, body: bytes) -> str:
    key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    content = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode()


def signed_headers(
    keys: Sequence[str], *, message_id: str, timestamp: int, body: bytes
) -> dict[str, str]:
    """The three headers of a message, signed with each of ``keys``."""
    signatures = [
        signature(key, message_id=message_id, timestamp=timestamp, body=body) for key in keys
    ]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(signatures),
    }
