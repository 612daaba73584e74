"""Webhooks: the list, one with its log, adding, changing, and what can be asked of it."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext, ngettext

from cases.access import Capability
from cases.errors import FieldInvalid, UserFacingError
from cases.models import Webhook
from cases.portal.training_forms import PlainForm, plain_form
from cases.portal.views.base import PortalView
from cases.portal.webhooks import (
    LABELS,
    SINCE,
    DeliveryLine,
    WebhookForm,
    WebhookLine,
    raw_of,
    since_parse,
    webhook_form,
)
from cases.selectors.webhooks import (
    delivery_get,
    delivery_page,
    webhook_counts,
    webhook_get,
    webhook_list,
)
from cases.services.webhook_fields import webhook_fields_parse
from cases.services.webhook_messages import message_shown
from cases.services.webhook_replays import delivery_replay, webhook_ping, webhook_replay_since
from cases.services.webhooks import (
    webhook_change,
    webhook_create,
    webhook_secret_rotate,
    webhook_switch,
)
from cases.states import DeliveryState

PAGE_SIZE = 50


def _raw(request: HttpRequest) -> dict[str, Any]:
    return {
        "name": request.POST.get("name", "").replace("\x00", ""),
        "url": request.POST.get("url", "").replace("\x00", ""),
        "events": request.POST.getlist("events"),
    }


def _line(webhook: Webhook) -> WebhookLine:
    return WebhookLine(webhook, webhook_counts(webhook))


class _WebhookView(PortalView):
    any_of = (Capability.OPERATE,)
    http_method_names = ["get", "head", "post", "options"]

    def secret_page(self, webhook: Webhook, secret: str, *, made: bool) -> HttpResponse:
        """The only page that ever shows a secret: the answer to making it."""
        context = {"webhook": webhook, "secret": secret, "made": made}
        return render(self.request, "webhooks/webhook_secret.html", context)


class WebhookListView(_WebhookView):
    http_method_names = ["get", "head", "options"]

    def get(self, request: HttpRequest) -> HttpResponse:
        lines = [_line(webhook) for webhook in webhook_list(actor=self.actor)]
        return render(request, "webhooks/webhook_list.html", {"lines": lines})


class WebhookCreateView(_WebhookView):
    def get(self, request: HttpRequest) -> HttpResponse:
        return self.page(webhook_form(None))

    def post(self, request: HttpRequest) -> HttpResponse:
        raw = _raw(request)
        try:
            fields = webhook_fields_parse(raw)
            webhook, secret = webhook_create(actor=self.actor, fields=fields)
        except UserFacingError as error:
            return self.page(webhook_form(raw, error), status=error.status)
        return self.secret_page(webhook, secret, made=True)

    def page(self, form: WebhookForm, *, status: int = 200) -> HttpResponse:
        return render(self.request, "webhooks/webhook_new.html", {"form": form}, status=status)


class WebhookDetailView(_WebhookView):
    """A webhook with the log of what was sent, and the form to change it."""

    def get(self, request: HttpRequest, webhook_id: UUID) -> HttpResponse:
        return self.page(webhook_get(actor=self.actor, webhook_id=webhook_id))

    def post(self, request: HttpRequest, webhook_id: UUID) -> HttpResponse:
        seen = webhook_get(actor=self.actor, webhook_id=webhook_id)
        raw = _raw(request)
        try:
            webhook_change(actor=self.actor, webhook_id=seen.pk, fields=webhook_fields_parse(raw))
        except UserFacingError as error:
            return self.page(seen, form=webhook_form(raw, error), status=error.status)
        messages.success(request, gettext("The webhook is changed."))
        return redirect("webhook-detail", webhook_id=seen.pk)

    def page(
        self,
        webhook: Webhook,
        *,
        form: WebhookForm | None = None,
        replay: PlainForm | None = None,
        status: int = 200,
    ) -> HttpResponse:
        state = self.request.GET.get("state", "")
        state = state if state in DeliveryState.__members__ else ""
        page = delivery_page(
            actor=self.actor,
            webhook_id=webhook.pk,
            state=state,
            older_than=_id(self.request.GET.get("older_than", "")),
            size=PAGE_SIZE,
        )
        context = {
            "line": _line(webhook),
            "webhook": webhook,
            "page": page,
            "deliveries": [DeliveryLine(row) for row in page.rows],
            "state": state,
            "states": LABELS.items(),
            "form": form or webhook_form(raw_of(webhook)),
            "replay": replay or plain_form([SINCE]),
        }
        return render(self.request, "webhooks/webhook_detail.html", context, status=status)


class WebhookReplayView(WebhookDetailView):
    """Everything since a moment once more."""

    http_method_names = ["post", "options"]

    def post(self, request: HttpRequest, webhook_id: UUID) -> HttpResponse:
        seen = webhook_get(actor=self.actor, webhook_id=webhook_id)
        typed = {"since": request.POST.get("since", "")[:40]}
        try:
            number = webhook_replay_since(
                actor=self.actor, webhook_id=seen.pk, since=since_parse(typed["since"])
            )
        except FieldInvalid as error:
            form = plain_form([SINCE], typed, error=error)
            return self.page(seen, replay=form, status=error.status)
        messages.success(
            request,
            ngettext("%(n)d message sent once more.", "%(n)d messages sent once more.", number)
            % {"n": number},
        )
        return redirect("webhook-detail", webhook_id=seen.pk)


class WebhookSwitchView(_WebhookView):
    http_method_names = ["post", "options"]

    def post(self, request: HttpRequest, webhook_id: UUID) -> HttpResponse:
        enabled = request.POST.get("enabled") == "on"
        webhook_switch(actor=self.actor, webhook_id=webhook_id, enabled=enabled)
        messages.success(
            request,
            gettext("The webhook is switched on.")
            if enabled
            else gettext("The webhook is switched off."),
        )
        return redirect("webhook-detail", webhook_id=webhook_id)


class WebhookSecretView(_WebhookView):
    http_method_names = ["post", "options"]

    def post(self, request: HttpRequest, webhook_id: UUID) -> HttpResponse:
        webhook, secret = webhook_secret_rotate(actor=self.actor, webhook_id=webhook_id)
        return self.secret_page(webhook, secret, made=False)


class WebhookPingView(_WebhookView):
    http_method_names = ["post", "options"]

    def post(self, request: HttpRequest, webhook_id: UUID) -> HttpResponse:
        ping = webhook_ping(actor=self.actor, webhook_id=webhook_id)
        messages.success(
            request, gettext("A test is on its way. Load this page again to see how it went.")
        )
        return redirect("webhook-delivery", delivery_id=ping.pk)


class WebhookDeliveryView(_WebhookView):
    """One message: what is sent, and how each attempt went."""

    http_method_names = ["get", "head", "options"]

    def get(self, request: HttpRequest, delivery_id: UUID) -> HttpResponse:
        row = delivery_get(actor=self.actor, delivery_id=delivery_id)
        context = {
            "line": DeliveryLine(row),
            "delivery": row,
            "message": json.dumps(message_shown(actor=self.actor, delivery=row), indent=2),
        }
        return render(request, "webhooks/delivery_detail.html", context)


class WebhookDeliveryReplayView(_WebhookView):
    http_method_names = ["post", "options"]

    def post(self, request: HttpRequest, delivery_id: UUID) -> HttpResponse:
        delivery_replay(actor=self.actor, delivery_id=delivery_id)
        messages.success(request, gettext("The message is sent once more."))
        return redirect("webhook-delivery", delivery_id=delivery_id)


def _id(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
