"""Webhooks: kept by those who operate the site, with the log of what was sent to them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from rest_framework.request import Request
from rest_framework.response import Response

from cases.access import Capability
from cases.api.base import ApiView, ListApi
from cases.api.documentation import operation, response_header
from cases.api.permissions import any_of
from cases.api.serializers.queries import WebhookQuerySerializer
from cases.api.serializers.webhooks import (
    DeliveryDetailSerializer,
    DeliveryQuerySerializer,
    DeliverySerializer,
    WebhookReplayedSerializer,
    WebhookReplaySerializer,
    WebhookRequestSerializer,
    WebhookSecretSerializer,
    WebhookSerializer,
    WebhookSwitchSerializer,
)
from cases.errors import FieldInvalid
from cases.models import Webhook, WebhookDelivery
from cases.selectors.webhooks import delivery_get, delivery_list, webhook_get, webhook_list
from cases.services.webhook_fields import WebhookFields, webhook_fields_parse
from cases.services.webhook_replays import delivery_replay, webhook_ping, webhook_replay_since
from cases.services.webhooks import (
    webhook_change,
    webhook_create,
    webhook_secret_rotate,
    webhook_switch,
)

OPERATE = any_of(Capability.OPERATE)
SECRET_ONCE = "The answer holds the secret: this once and never again."


class _WebhookApi(ApiView):
    def fields(self, request: Request) -> WebhookFields:
        """The body as fields. Here the address is `target`: `url` is the webhook's own."""
        wanted = self.checked(WebhookRequestSerializer, request.data)
        try:
            return webhook_fields_parse({**wanted, "url": wanted["target"]})
        except FieldInvalid as error:
            errors = dict(error.errors or {})
            if "url" in errors:
                errors["target"] = errors.pop("url")
            raise FieldInvalid(errors=errors) from error


class WebhookListApi(_WebhookApi, ListApi):
    required = {"GET": OPERATE, "POST": OPERATE}
    query = WebhookQuerySerializer
    output = WebhookSerializer
    filters = {"enabled": "enabled"}

    def rows(self, query: dict[str, Any]) -> QuerySet[Webhook]:
        return webhook_list(actor=self.actor).filter(**self.filtered(query))

    @operation(
        summary="The webhooks of the site, newest first",
        parameters=[WebhookQuerySerializer],
        operation_id="webhooks_list",
        success={(200, "application/json"): WebhookSerializer(many=True)},
        errors=(422,),
    )
    def get(self, request: Request) -> Response:
        return super().get(request)

    @operation(
        summary="Add a webhook",
        description=f"It is told of what happens from now on. {SECRET_ONCE}",
        request=WebhookRequestSerializer,
        parameters=[response_header("Location", "Address of the webhook.", [201])],
        operation_id="webhooks_create",
        success={201: WebhookSecretSerializer},
        errors=(409, 413, 415, 422),
    )
    def post(self, request: Request) -> Response:
        webhook, secret = webhook_create(actor=self.actor, fields=self.fields(request))
        data = self.shown(WebhookSecretSerializer, webhook, secret=secret)
        return Response(data, status=201, headers={"Location": data["url"]})


class WebhookDetailApi(_WebhookApi):
    required = {"GET": OPERATE, "PUT": OPERATE}

    @operation(summary="A webhook", success={200: WebhookSerializer}, errors=(404,))
    def get(self, request: Request, webhook_id: UUID) -> Response:
        webhook = webhook_get(actor=self.actor, webhook_id=webhook_id)
        return Response(self.shown(WebhookSerializer, webhook))

    @operation(
        summary="Change name, address and events",
        description="What waits to be sent goes to the new address.",
        request=WebhookRequestSerializer,
        success={200: WebhookSerializer},
        errors=(404, 413, 415, 422),
    )
    def put(self, request: Request, webhook_id: UUID) -> Response:
        seen = webhook_get(actor=self.actor, webhook_id=webhook_id)
        webhook = webhook_change(actor=self.actor, webhook_id=seen.pk, fields=self.fields(request))
        return Response(self.shown(WebhookSerializer, webhook))


class WebhookSwitchApi(ApiView):
    required = {"POST": OPERATE}

    @operation(
        summary="Switch a webhook on or off",
        description=(
            "Off, it is told nothing new, and what waits is held. On, what was held goes out; "
            "what happened in between can be replayed."
        ),
        request=WebhookSwitchSerializer,
        success={200: WebhookSerializer},
        errors=(404, 413, 415, 422),
    )
    def post(self, request: Request, webhook_id: UUID) -> Response:
        seen = webhook_get(actor=self.actor, webhook_id=webhook_id)
        enabled = self.checked(WebhookSwitchSerializer, request.data)["enabled"]
        webhook = webhook_switch(actor=self.actor, webhook_id=seen.pk, enabled=enabled)
        return Response(self.shown(WebhookSerializer, webhook))


class WebhookSecretApi(ApiView):
    required = {"POST": OPERATE}

    @operation(
        summary="Make a new secret",
        description=f"For 24 hours messages are signed with the old one too. {SECRET_ONCE}",
        request=None,
        success={200: WebhookSecretSerializer},
        errors=(404,),
    )
    def post(self, request: Request, webhook_id: UUID) -> Response:
        webhook, secret = webhook_secret_rotate(actor=self.actor, webhook_id=webhook_id)
        return Response(self.shown(WebhookSecretSerializer, webhook, secret=secret))


class WebhookPingApi(ApiView):
    required = {"POST": OPERATE}

    @operation(
        summary="Send a test message",
        request=None,
        success={202: DeliverySerializer},
        errors=(404, 409),
    )
    def post(self, request: Request, webhook_id: UUID) -> Response:
        ping = webhook_ping(actor=self.actor, webhook_id=webhook_id)
        return Response(self.shown(DeliverySerializer, ping), status=202)


class WebhookReplayApi(ApiView):
    required = {"POST": OPERATE}

    @operation(
        summary="Send everything since a moment once more",
        description=(
            "With the same ids as before, and also what was never queued because the webhook was "
            "off. What waits or is being sent is left as it is."
        ),
        request=WebhookReplaySerializer,
        success={202: WebhookReplayedSerializer},
        errors=(404, 409, 413, 415, 422),
    )
    def post(self, request: Request, webhook_id: UUID) -> Response:
        seen = webhook_get(actor=self.actor, webhook_id=webhook_id)
        since = self.checked(WebhookReplaySerializer, request.data)["since"]
        number = webhook_replay_since(actor=self.actor, webhook_id=seen.pk, since=since)
        return Response(self.shown(WebhookReplayedSerializer, {"deliveries": number}), status=202)


class WebhookDeliveryListApi(ListApi):
    required = {"GET": OPERATE}
    query = DeliveryQuerySerializer
    output = DeliverySerializer
    filters = {"event": "kind", "job": "job_id"}

    def rows(self, query: dict[str, Any]) -> QuerySet[WebhookDelivery]:
        deliveries = delivery_list(
            actor=self.actor, webhook_id=self.kwargs["webhook_id"], state=query.get("state", "")
        )
        return deliveries.filter(**self.filtered(query))

    @operation(
        summary="What was and is to be sent to a webhook, newest first",
        parameters=[DeliveryQuerySerializer],
        operation_id="webhook_deliveries_list",
        success={(200, "application/json"): DeliverySerializer(many=True)},
        errors=(404, 422),
    )
    def get(self, request: Request, webhook_id: UUID) -> Response:
        return super().get(request)


class WebhookDeliveryApi(ApiView):
    required = {"GET": OPERATE}

    @operation(
        summary="A message with its attempts",
        success={200: DeliveryDetailSerializer},
        errors=(404,),
    )
    def get(self, request: Request, delivery_id: UUID) -> Response:
        row = delivery_get(actor=self.actor, delivery_id=delivery_id)
        return Response(self.shown(DeliveryDetailSerializer, row))


class WebhookDeliveryReplayApi(ApiView):
    required = {"POST": OPERATE}

    @operation(
        summary="Send a message once more",
        description="With the same id. One that waits for its next attempt goes now.",
        request=None,
        success={202: DeliverySerializer},
        errors=(404, 409),
    )
    def post(self, request: Request, delivery_id: UUID) -> Response:
        row = delivery_replay(actor=self.actor, delivery_id=delivery_id)
        return Response(self.shown(DeliverySerializer, row), status=202)
