"""Keyset paging: `{"results": […], "next": url|null, "previous": url|null}`.

DRF's own cursor pages by one column and counts ties with an offset; images and jobs of one
submission share their creation time to the microsecond. Here the cursor holds the whole key, so
pages stay whole while rows arrive, at any depth, for the price of an index lookup.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from typing import Any, ClassVar
from uuid import UUID

from django.db.models import Model, Q, QuerySet
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param

from cases.errors import FieldInvalid

PAGE_SIZE = 50
MAX_PAGE_SIZE = 200
MAX_CURSOR = 300


def moment(value: Any) -> datetime:
    moment = datetime.fromisoformat(value)
    if moment.utcoffset() is None:
        raise ValueError("a moment without its zone")
    return moment


def _bigint(value: Any) -> int:
    number = int(value)
    if not 0 <= number < 2**63:
        raise ValueError("out of range")
    return number


@dataclass(frozen=True)
class Cursor:
    """The page before or after the row with this key."""

    backward: bool
    key: tuple[Any, ...]

    def encode(self) -> str:
        text = json.dumps([int(self.backward), *(str(part) for part in self.key)])
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


class KeysetPagination(BasePagination):
    """Descending (or ``ascending``) by ``key``, whose last column makes it unique.

    Columns of related rows are named as in a filter: `job__created_at`.
    """

    key: ClassVar[tuple[tuple[str, Callable[[Any], Any]], ...]]

    def __init__(self, request: Request | None = None, *, ascending: bool = False) -> None:
        self.request = request
        self.ascending = ascending

    def take(self, queryset: QuerySet[Any], *, size: int, cursor: str) -> list[Any]:
        """The page of ``size`` rows at ``cursor``. ``FieldInvalid`` where that is no cursor."""
        return self._take(queryset, size, self._decode(cursor))

    def _take(self, queryset: QuerySet[Any], size: int, cursor: Cursor | None) -> list[Any]:
        backward = cursor is not None and cursor.backward
        # Going backward, the page is read from its far end and turned around.
        sign = "" if backward != self.ascending else "-"
        rows = queryset.order_by(*(f"{sign}{name}" for name, _ in self.key))
        if cursor is not None:
            rows = rows.filter(self._beyond(cursor))
        found = list(rows[: size + 1])
        more, page = len(found) > size, found[:size]
        if backward:
            page.reverse()
        self.has_next = backward or more
        self.has_previous = more if backward else cursor is not None
        self.page: list[Any] = page
        return page

    def get_paginated_response(self, data: Any) -> Response:
        return Response(
            {
                "results": data,
                "next": self._link(self.has_next, backward=False),
                "previous": self._link(self.has_previous, backward=True),
            }
        )

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        link = {"type": "string", "format": "uri", "nullable": True}
        return {
            "type": "object",
            "required": ["results", "next", "previous"],
            "properties": {"results": schema, "next": link, "previous": link},
        }

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        # Each list's own query serializer names them (cases.api.serializers.queries).
        return []

    def _beyond(self, cursor: Cursor) -> Q:
        """Rows after (before, going backward) the cursor's key, in words an index serves."""
        rising = cursor.backward != self.ascending
        strict, loose = ("gt", "gte") if rising else ("lt", "lte")
        names = [name for name, _ in self.key]
        later = Q(**{f"{names[-1]}__{strict}": cursor.key[-1]})
        for name, value in reversed(list(zip(names[:-1], cursor.key[:-1], strict=True))):
            later = Q(**{f"{name}__{loose}": value}) & (Q(**{f"{name}__{strict}": value}) | later)
        return later

    def _link(self, exists: bool, *, backward: bool) -> str | None:
        if not exists or not self.page:
            return None
        row: Model = self.page[0 if backward else -1]
        key = tuple(_text(attrgetter(name.replace("__", "."))(row)) for name, _ in self.key)
        assert self.request is not None
        return replace_query_param(
            self.request.build_absolute_uri(), "cursor", Cursor(backward, key).encode()
        )

    def _decode(self, text: str) -> Cursor | None:
        if not text:
            return None
        try:
            raw = json.loads(base64.urlsafe_b64decode(text.encode() + b"=" * (-len(text) % 4)))
            backward, *values = raw
            if backward not in (0, 1):
                raise ValueError("no direction")
            parsed = zip(self.key, values, strict=True)
            return Cursor(bool(backward), tuple(parse(value) for (_, parse), value in parsed))
        except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):
            raise FieldInvalid(
                errors={"cursor": ["Take the cursor from `next` or `previous` as it is."]}
            ) from None


def _text(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


class CreatedCursorPagination(KeysetPagination):
    """Newest first."""

    key = (("created_at", moment), ("id", UUID))


class SignedCursorPagination(KeysetPagination):
    """Last signed first: a draft may be begun long before."""

    key = (("signed_at", moment), ("id", UUID))


class SerialCursorPagination(KeysetPagination):
    """Last written first, for tables with a serial key."""

    key = (("id", _bigint),)


class JobCursorPagination(KeysetPagination):
    """By the creation of the job, for what belongs to one: jobs are found by site in this order."""

    key = (("job__created_at", moment), ("job_id", UUID))
