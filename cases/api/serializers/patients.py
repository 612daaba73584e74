"""A patient's wish about research. Identity stands in the body, never in an address."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers


class ResearchOptOutRequestSerializer(serializers.Serializer[Any]):
    patient_id = serializers.CharField(max_length=64)
    patient_issuer = serializers.CharField(
        required=False, allow_blank=True, max_length=64, help_text="The site's where left out."
    )
    opted_out = serializers.BooleanField()


class ResearchOptOutSerializer(serializers.Serializer[Any]):
    patient = serializers.UUIDField(source="pk", help_text="Of the record, as in the audit trail.")
    research_opt_out = serializers.BooleanField()
