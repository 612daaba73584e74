"""Signed readings and addenda."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from cases.access import Actor, Capability
from cases.api.serializers.fields import LinkField, OptionalChoiceField, choices
from cases.api.serializers.lexicon import LexiconSerializer
from cases.models import Reading
from cases.vocabulary import BiradsCategory, BiradsEdition, ReadingLabel


class ReadingSerializer(serializers.Serializer[Any]):
    """What a person read and signed. Never made from a model's score, never changed."""

    id = serializers.UUIDField(source="pk")
    case = serializers.UUIDField(source="case_id")
    case_url = LinkField("case-detail", source="case_id")
    finding = serializers.UUIDField(
        source="finding_id", allow_null=True, help_text="Null: the case as a whole."
    )
    addendum_to = serializers.UUIDField(
        source="addendum_to_id", allow_null=True, help_text="The reading this adds to."
    )
    reader = serializers.CharField(source="reader.username")
    category = OptionalChoiceField(
        choices(BiradsCategory), help_text="BI-RADS; null where an addendum leaves it as it is."
    )
    edition = serializers.ChoiceField(choices(BiradsEdition))
    label = serializers.ChoiceField(choices(ReadingLabel))  # type: ignore[assignment]
    lexicon = LexiconSerializer(source="*")
    text = serializers.SerializerMethodField()
    ai_seen = serializers.BooleanField(
        help_text="Whether this person had seen an answer of the case before signing."
    )
    after_reveal = serializers.BooleanField(
        allow_null=True,
        help_text=(
            "Whether the answers were open to this reader by an earlier signature; null where the "
            "site did not read first."
        ),
    )
    results_of_record = serializers.ListField(
        child=serializers.UUIDField(),
        help_text="The results that were live when it was signed; later ones stand beside them.",
    )
    signed_at = serializers.DateTimeField()

    @extend_schema_field(
        serializers.CharField(
            allow_null=True, help_text="Null for readers without identity: it may name the patient."
        )
    )
    def get_text(self, reading: Reading) -> str | None:
        actor: Actor = self.context["actor"]
        return reading.text if actor.can(Capability.VIEW_IDENTITY) else None
