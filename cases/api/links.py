"""Absolute addresses of the API's views."""

from __future__ import annotations

from uuid import UUID

from django.urls import reverse
from rest_framework.request import Request


def link(request: Request, name: str, *args: UUID | str) -> str:
    """The absolute address of the view ``name``, as the client reaches this server."""
    return request.build_absolute_uri(reverse(f"api:{name}", args=args))
