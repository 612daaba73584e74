"""Model versions."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from cases.api.serializers.fields import LinkField, choices
from cases.states import ModelState


class ModelSerializer(serializers.Serializer[Any]):
    id = serializers.UUIDField(source="pk")
    url = LinkField("model-detail")
    version = serializers.CharField()
    sha256 = serializers.CharField(help_text="Of the model file.")
    size = serializers.IntegerField(help_text="Bytes of the model file.")
    state = serializers.ChoiceField(choices(ModelState))
    created_at = serializers.DateTimeField()


class ModelDetailSerializer(ModelSerializer):
    """With the card: how the model was made and how it scored on held-out images."""

    card = serializers.DictField()
