"""Fields that several shapes share."""

from __future__ import annotations

import re
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from cases.api.links import link


def choices(values: type[StrEnum]) -> list[tuple[str, str]]:
    """The members of ``values`` as DRF takes choices."""
    return [(value.value, value.name) for value in values]


@extend_schema_field(OpenApiTypes.URI)
class LinkField(serializers.Field[UUID, Any, str, Any]):
    """The absolute address of the view ``view_name`` for the id at ``source``."""

    def __init__(self, view_name: str, *, source: str = "pk", **kwargs: Any) -> None:
        self.view_name = view_name
        super().__init__(source=source, read_only=True, **kwargs)

    def to_representation(self, value: UUID) -> str:
        return link(self.context["request"], self.view_name, value)


class OptionalCharField(serializers.CharField):
    """Text that may not be known: the empty string of a column is null outside."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(allow_null=True, **kwargs)

    def to_representation(self, value: Any) -> str | None:  # type: ignore[override]
        return str(value) if value else None


class OptionalChoiceField(serializers.ChoiceField):
    """One of the choices; the empty string of a column is null outside."""

    def __init__(self, choices: Any, **kwargs: Any) -> None:
        super().__init__(choices, allow_null=True, **kwargs)

    def to_representation(self, value: Any) -> str | None:  # type: ignore[override]
        return str(value) if value else None


class SaidBooleanField(serializers.BooleanField):
    """In a form or query, too, what is not said is not false."""

    default_empty_html = serializers.empty


class ZonedDateTimeField(serializers.DateTimeField):
    """ISO 8601 with its zone. A `+` that a query string turned into a space is put back."""

    _LOST_PLUS = re.compile(r"(:\d\d(?:\.\d+)?) (\d\d:?\d\d)$")
    _ZONED = re.compile(r".{10}[Tt ].*([zZ]|[+-]\d\d(:?\d\d)?)", re.DOTALL)

    default_error_messages = {"zone": "Add the zone, for example 2026-03-01T08:30:00Z."}

    def to_internal_value(self, value: Any) -> datetime:
        text = self._LOST_PLUS.sub(r"\1+\2", str(value).strip())
        moment: datetime = super().to_internal_value(text)
        if not self._ZONED.fullmatch(text):
            self.fail("zone")
        return moment
