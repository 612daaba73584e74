"""A model beside the one that was live when its gate judged it."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from cases.api.serializers.fields import choices
from cases.vocabulary import GateState


class SaidSerializer(serializers.Serializer[Any]):
    answer = serializers.CharField(help_text="The label, or abstained or refused.")
    malignant_score = serializers.FloatField(allow_null=True)


class ChangedAnswerSerializer(serializers.Serializer[Any]):
    """A locked picture that got another answer, by its hash: files have no names here."""

    sha256 = serializers.CharField()
    source = serializers.CharField(  # type: ignore[assignment]
        allow_null=True, help_text="Null in reports of earlier versions."
    )
    truth = serializers.CharField()
    active = SaidSerializer()
    candidate = SaidSerializer()


class ModelComparisonSerializer(serializers.Serializer[Any]):
    """`GET /models/{id}/comparison/`."""

    state = serializers.ChoiceField(choices(GateState), help_text="The verdict of the plan.")
    n = serializers.IntegerField(help_text="Locked pictures.")
    models = serializers.DictField(
        child=serializers.DictField(),
        help_text="`candidate`, and `active` where a model was live: version, SHA-256, and how "
        "many of the locked pictures it had been trained on.",
    )
    parts = serializers.ListField(
        child=serializers.DictField(),
        allow_null=True,
        help_text="All pictures (`source` null), then each source: every metric of both models "
        "with its 95 % interval, and the paired one of the difference. Null in reports of earlier "
        "versions.",
    )
    curves = serializers.DictField(
        allow_null=True, help_text="The numbers of the curves. Null in reports of earlier versions."
    )
    classes = serializers.ListField(child=serializers.CharField(), help_text="Rows: the truth.")
    columns = serializers.ListField(child=serializers.CharField(), help_text="The answers.")
    confusions = serializers.DictField(
        child=serializers.ListField(child=serializers.ListField(child=serializers.IntegerField()))
    )
    changed = ChangedAnswerSerializer(many=True)
