"""Errors, for the schema; `cases.api.errors` writes them."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from cases.api.errors import ALL_ERRORS


class ProblemSerializer(serializers.Serializer[Any]):
    """An error (RFC 9457)."""

    type = serializers.CharField(help_text="Address of the description of this kind of error.")
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField(help_text="A sentence for people.")
    code = serializers.ChoiceField(sorted(ALL_ERRORS), help_text="For programs; stable.")
    request_id = serializers.CharField(help_text="Also in the X-Request-ID header and the log.")
    file = serializers.CharField(required=False, help_text="The file at fault, as it was named.")
    errors = serializers.DictField(  # type: ignore[assignment]
        child=serializers.ListField(child=serializers.CharField()),
        required=False,
        help_text="Sentences by field.",
    )


class ErrorTypeSerializer(serializers.Serializer[Any]):
    """What a code means."""

    code = serializers.ChoiceField(sorted(ALL_ERRORS))
    status = serializers.IntegerField()
    title = serializers.CharField()
    detail = serializers.CharField()
