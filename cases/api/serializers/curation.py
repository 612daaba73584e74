"""Candidates for training data: no identity, nothing to decide with."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from cases.api.serializers.fields import LinkField, OptionalChoiceField, choices
from cases.api.serializers.queries import ListQuerySerializer
from cases.states import CandidateState
from cases.vocabulary import OUTCOME_LABELS, CandidateConflict, OutcomeBasis

LABELS = [(label.value, label.name) for label in OUTCOME_LABELS]


class CandidateQuerySerializer(ListQuerySerializer):
    state = serializers.ChoiceField(choices(CandidateState), required=False)
    label = serializers.ChoiceField(LABELS, required=False)  # type: ignore[assignment]
    basis = serializers.ChoiceField(choices(OutcomeBasis), required=False)


class CandidateSerializer(serializers.Serializer[Any]):
    """An image whose finding's outcome is known."""

    id = serializers.UUIDField(source="pk")
    image = serializers.UUIDField(source="image_id")
    image_url = LinkField("image-detail", source="image_id")
    state = serializers.ChoiceField(choices(CandidateState))
    label = OptionalChoiceField(LABELS, help_text="Null while its findings conflict.")  # type: ignore[assignment]
    basis = OptionalChoiceField(choices(OutcomeBasis), help_text="How it is known.")
    conflict = OptionalChoiceField(
        choices(CandidateConflict), help_text="Why a person has to say what the picture shows."
    )
    identity_checked = serializers.BooleanField(
        help_text="Somebody looked, and no identity is visible in the picture."
    )
    decided_by = serializers.CharField(source="decided_by.username", default=None, allow_null=True)
    decided_at = serializers.DateTimeField(allow_null=True)
    reason = serializers.CharField(allow_blank=True)
    in_snapshot = serializers.BooleanField(source="is_frozen")
    created_at = serializers.DateTimeField()
