"""Webhooks and the log of what was sent. A secret is in the answers that make one only."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from cases.api.serializers.fields import (
    LinkField,
    OptionalChoiceField,
    SaidBooleanField,
    ZonedDateTimeField,
    choices,
)
from cases.api.serializers.queries import ListQuerySerializer
from cases.models import WebhookDelivery
from cases.services.webhook_messages import message_of
from cases.states import DeliveryState
from cases.vocabulary import SUBSCRIBABLE, AttemptOutcome, WebhookEvent, WebhookOff

EVENTS = [(event.value, event.name) for event in SUBSCRIBABLE]


class WebhookRequestSerializer(serializers.Serializer[Any]):
    """`POST /webhooks/` and `PUT /webhooks/{id}/`."""

    name = serializers.CharField(max_length=80, help_text="Once at a site.")
    target = serializers.CharField(max_length=500, help_text="A public https address to call.")
    events = serializers.ListField(
        child=serializers.ChoiceField(EVENTS), allow_empty=False, max_length=len(EVENTS)
    )


class WebhookSwitchSerializer(serializers.Serializer[Any]):
    enabled = SaidBooleanField()


class WebhookReplaySerializer(serializers.Serializer[Any]):
    since = ZonedDateTimeField(help_text="Everything that happened at or after this moment.")


class WebhookReplayedSerializer(serializers.Serializer[Any]):
    deliveries = serializers.IntegerField(help_text="How many messages are sent once more.")


class WebhookSerializer(serializers.Serializer[Any]):
    """An address that is told of the moves of the site's jobs."""

    id = serializers.UUIDField(source="pk")
    url = LinkField("webhook-detail")
    name = serializers.CharField()
    target = serializers.CharField(source="url", help_text="The address that is called.")
    events = serializers.ListField(child=serializers.ChoiceField(EVENTS))
    enabled = serializers.BooleanField()
    off_reason = OptionalChoiceField(choices(WebhookOff), help_text="Null while it is on.")
    off_at = serializers.DateTimeField(allow_null=True)
    failing_since = serializers.DateTimeField(
        allow_null=True, help_text="The first failed attempt since the last that went well."
    )
    delivered_at = serializers.DateTimeField(
        allow_null=True, help_text="When a message was last delivered."
    )
    secret_made_at = serializers.DateTimeField()
    created_by = serializers.CharField()
    created_at = serializers.DateTimeField()


class WebhookSecretSerializer(WebhookSerializer):
    """With the new secret: this once and never again."""

    secret = serializers.SerializerMethodField()

    @extend_schema_field(serializers.CharField())
    def get_secret(self, _: Any) -> str:
        secret: str = self.context["secret"]
        return secret


class DeliveryQuerySerializer(ListQuerySerializer):
    event = serializers.ChoiceField(choices(WebhookEvent), required=False)
    job = serializers.UUIDField(required=False)
    state = serializers.ChoiceField(choices(DeliveryState), required=False)


class AttemptSerializer(serializers.Serializer[Any]):
    """How one attempt went. What the receiver answered beyond its status is not kept."""

    number = serializers.IntegerField()
    outcome = serializers.ChoiceField(choices(AttemptOutcome))
    status_code = serializers.IntegerField(allow_null=True)
    detail = serializers.CharField()
    duration_ms = serializers.FloatField()
    at = serializers.DateTimeField()


class DeliverySerializer(serializers.Serializer[Any]):
    """A message to a webhook. Its id is the `webhook-id` of every attempt."""

    id = serializers.UUIDField(source="pk")
    url = LinkField("webhook-delivery-detail")
    webhook = serializers.UUIDField(source="webhook_id")
    event = serializers.ChoiceField(choices(WebhookEvent), source="kind")
    job = serializers.UUIDField(source="job_id", allow_null=True)
    state = serializers.ChoiceField(choices(DeliveryState))
    next_attempt_at = serializers.SerializerMethodField()
    created_at = serializers.DateTimeField()
    finished_at = serializers.DateTimeField(allow_null=True)
    replayed_at = serializers.DateTimeField(allow_null=True)
    attempts = AttemptSerializer(many=True)

    @extend_schema_field(serializers.DateTimeField(allow_null=True))
    def get_next_attempt_at(self, row: WebhookDelivery) -> str | None:
        if row.state != DeliveryState.PENDING:
            return None
        moment = serializers.DateTimeField().to_representation(row.available_at)
        return str(moment)


class DeliveryDetailSerializer(DeliverySerializer):
    """With the message itself."""

    message = serializers.SerializerMethodField(help_text="The body that is sent, as it is now.")

    @extend_schema_field(serializers.DictField())
    def get_message(self, row: WebhookDelivery) -> dict[str, Any]:
        return message_of(row)
