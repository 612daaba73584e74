"""ETags and `304 Not Modified`, decided before anything is rendered."""

from __future__ import annotations

import hashlib
from typing import Any

from django.utils.http import parse_etags
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.encoders import JSONEncoder

# Bump when the shape of an answer changes: clients then fetch it again.
SHAPE = "3"
# The client may keep it, for itself, and must ask each time whether it still holds.
REVALIDATE = "private, no-cache"


def weak_etag(*parts: object) -> str:
    """A weak ETag (RFC 9110, 8.8.3) over ``parts``: same meaning, perhaps other bytes."""
    text = "\0".join([SHAPE, *(repr(part) for part in parts)])
    return f'W/"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'


def content_etag(data: Any) -> str:
    """A weak ETag over JSON data as it is about to be sent."""
    return weak_etag(JSONEncoder(sort_keys=True).encode(data))


def not_modified(request: Request, etag: str) -> bool:
    """Whether ``If-None-Match`` holds ``etag`` (compared weakly, as RFC 9110 asks for GET)."""
    header = request.headers.get("If-None-Match", "")
    if not header or request.method not in ("GET", "HEAD"):
        return False
    if header.strip() == "*":
        return True
    return etag.removeprefix("W/") in {known.removeprefix("W/") for known in parse_etags(header)}


def answer(
    data: Any, *, etag: str, status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    """``data`` with its ETag; None as data with status 304."""
    return Response(
        data, status=status, headers={"ETag": etag, "Cache-Control": REVALIDATE, **(headers or {})}
    )


def unchanged(*, etag: str, headers: dict[str, str] | None = None) -> Response:
    """304 without a body."""
    return answer(None, etag=etag, status=304, headers=headers)
