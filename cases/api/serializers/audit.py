"""Audit events, as they are stored."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from cases.access import ActorKind
from cases.api.serializers.fields import choices


class AuditEventSerializer(serializers.Serializer[Any]):
    """Who did what to which object, when. Holds ids and names of fields, never identity."""

    id = serializers.IntegerField()
    at = serializers.DateTimeField()
    actor_kind = serializers.ChoiceField(choices(ActorKind))
    actor_label = serializers.CharField()
    user_id = serializers.UUIDField(allow_null=True)
    token_id = serializers.UUIDField(allow_null=True)
    action = serializers.CharField()
    object_type = serializers.CharField()
    object_id = serializers.CharField(allow_blank=True)
    site_id = serializers.UUIDField(allow_null=True)
    case_id = serializers.UUIDField(allow_null=True)
    request_id = serializers.CharField(allow_blank=True)
    changed_fields = serializers.ListField(child=serializers.CharField())
    detail = serializers.DictField()
