"""A patient's wish about research. Identity stands in the body, never in an address."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from cases.api.serializers.cases import PatientSerializer
from cases.api.serializers.fields import LinkField, OptionalCharField


class ResearchOptOutRequestSerializer(serializers.Serializer[Any]):
    patient_id = serializers.CharField(max_length=64)
    patient_issuer = serializers.CharField(
        required=False, allow_blank=True, max_length=64, help_text="The site's where left out."
    )
    opted_out = serializers.BooleanField()


class ResearchOptOutSerializer(serializers.Serializer[Any]):
    patient = serializers.UUIDField(source="pk", help_text="Of the record, as in the audit trail.")
    research_opt_out = serializers.BooleanField()


class PatientSearchRequestSerializer(serializers.Serializer[Any]):
    """At least one of id, name and accession number; each one given narrows the search."""

    patient_id = serializers.CharField(required=False, max_length=64, help_text="Exactly.")
    patient_issuer = serializers.CharField(
        required=False, max_length=64, help_text="Exactly; every issuer where left out."
    )
    name = serializers.CharField(
        required=False,
        max_length=194,
        help_text="The beginning of the name as stored (`Family^Given`), capitals or not.",
    )
    birth_date = serializers.DateField(required=False)
    accession_number = serializers.CharField(
        required=False, max_length=16, help_text="Exactly: of one of the patient's cases."
    )


class PatientCaseSerializer(serializers.Serializer[Any]):
    id = serializers.UUIDField(source="pk")
    url = LinkField("case-detail")
    accession_number = OptionalCharField()
    created_at = serializers.DateTimeField()


class FoundPatientSerializer(PatientSerializer):
    id = serializers.UUIDField(source="pk")
    cases = PatientCaseSerializer(many=True, help_text="Newest first.")


class PatientsFoundSerializer(serializers.Serializer[Any]):
    results = FoundPatientSerializer(many=True, source="patients", help_text="By name; 50 at most.")
    more = serializers.BooleanField(help_text="There are more: narrow the search.")
