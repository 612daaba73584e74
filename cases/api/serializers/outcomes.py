"""What a finding turned out to be."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from cases.access import Actor, Capability
from cases.api.serializers.fields import OptionalCharField, choices
from cases.models import FindingOutcome
from cases.vocabulary import Label, OutcomeBasis, Pathology, training_label


class OutcomeRequestSerializer(serializers.Serializer[Any]):
    """Checked in full by the service: one set of rules for the portal and the API."""

    pathology = serializers.ChoiceField(choices(Pathology))
    basis = serializers.ChoiceField(choices(OutcomeBasis))
    stable_from = serializers.DateField(
        required=False, allow_null=True, help_text="Of a follow-up: its first examination."
    )
    stable_until = serializers.DateField(
        required=False,
        allow_null=True,
        help_text="Of a follow-up: its last examination, at least 24 months later.",
    )
    reason = serializers.CharField(
        required=False,
        allow_blank=True,
        max_length=500,
        help_text="Why the current outcome no longer holds; needed where another one is current.",
    )


class OutcomeSerializer(serializers.Serializer[Any]):
    """An outcome never changes; a later one supersedes it."""

    id = serializers.UUIDField(source="pk")
    finding = serializers.UUIDField(source="finding_id")
    case = serializers.UUIDField(source="case_id")
    pathology = serializers.ChoiceField(choices(Pathology))
    basis = serializers.ChoiceField(choices(OutcomeBasis))
    stable_from = serializers.DateField(allow_null=True)
    stable_until = serializers.DateField(allow_null=True)
    training_label = serializers.SerializerMethodField()
    reason = serializers.SerializerMethodField()
    supersedes = serializers.UUIDField(source="supersedes_id", allow_null=True)
    current = serializers.SerializerMethodField()
    recorded_by = OptionalCharField(source="recorded_by_label")
    recorded_at = serializers.DateTimeField(source="created_at")

    @extend_schema_field(
        serializers.ChoiceField(
            choices(Label), allow_null=True, help_text="What a model may learn from it."
        )
    )
    def get_training_label(self, outcome: FindingOutcome) -> str | None:
        label = training_label(Pathology(outcome.pathology))
        return label.value if label else None

    @extend_schema_field(
        serializers.CharField(
            allow_null=True, help_text="Null where there is none, and for readers without identity."
        )
    )
    def get_reason(self, outcome: FindingOutcome) -> str | None:
        actor: Actor = self.context["actor"]
        shown = actor.can(Capability.VIEW_IDENTITY) or actor.can(Capability.RECORD_OUTCOMES)
        return outcome.reason or None if shown else None

    @extend_schema_field(serializers.BooleanField(help_text="No later one supersedes it."))
    def get_current(self, outcome: FindingOutcome) -> bool:
        return getattr(outcome, "superseded_by", None) is None
