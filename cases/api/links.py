"""Absolute addresses of the API's views."""

from __future__ import annotations

from functools import lru_cache
from uuid import UUID

from django.urls import get_script_prefix, reverse
from rest_framework.request import Request

# Stands for an id where an address is looked up once for all of them.
_ANY = UUID(int=0)


def link(request: Request, name: str, *args: UUID | str) -> str:
    """The absolute address of the view ``name``, as the client reaches this server."""
    if len(args) == 1 and isinstance(args[0], UUID):
        before, after = _around_id(name, get_script_prefix())
        return request.build_absolute_uri(f"{before}{args[0]}{after}")
    return request.build_absolute_uri(reverse(f"api:{name}", args=args))


@lru_cache(maxsize=256)
def _around_id(name: str, prefix: str) -> tuple[str, str]:
    """What stands before and after the id in the address of the view ``name``, below ``prefix``.

    A page of a list has some hundred and fifty addresses, of a few views.
    """
    before, _, after = reverse(f"api:{name}", args=[_ANY]).partition(str(_ANY))
    return before, after
