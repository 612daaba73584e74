"""The codes that an authenticator app would show. Knows no Django: browser tests use it too."""

from __future__ import annotations

import base64
import hmac
import struct
import time

PERIOD = 30


def app_code(secret: str, *, later: int = 0) -> str:
    """What the app shows now, or some periods later (RFC 6238: SHA-1, 30 s, six digits)."""
    counter = struct.pack(">Q", int(time.time()) // PERIOD + later)
    digest = hmac.digest(base64.b32decode(secret), counter, "sha1")
    at = digest[-1] & 0x0F
    (number,) = struct.unpack(">I", digest[at : at + 4])
    return f"{(number & 0x7FFFFFFF) % 1_000_000:06}"
