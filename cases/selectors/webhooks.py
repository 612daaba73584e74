"""Reading webhooks and the log of what was sent to them."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from django.db.models import Q, QuerySet

from cases.access import Actor, Capability
from cases.errors import NotFound
from cases.models import Webhook, WebhookDelivery
from cases.selectors.portal import Page
from cases.states import DELIVERY, DeliveryState

# Beyond so many a number says no more, and counting costs.
MOST_COUNTED = 1000


def webhook_list(*, actor: Actor) -> QuerySet[Webhook]:
    """The webhooks of the actor's site, newest first."""
    actor.require(Capability.OPERATE)
    return Webhook.objects.filter(site_id=actor.own_site).order_by("-created_at", "-id")


def webhook_get(*, actor: Actor, webhook_id: UUID) -> Webhook:
    """One webhook. ``NotFound`` at another site."""
    webhook = webhook_list(actor=actor).filter(pk=webhook_id).first()
    if webhook is None:
        raise NotFound()
    return webhook


def delivery_list(*, actor: Actor, webhook_id: UUID, state: str = "") -> QuerySet[WebhookDelivery]:
    """What was and is to be sent to a webhook, newest first, with how the attempts went."""
    webhook = webhook_get(actor=actor, webhook_id=webhook_id)
    rows = WebhookDelivery.objects.filter(webhook=webhook).prefetch_related("attempts")
    if state:
        rows = rows.filter(state=state)
    return rows.select_related("event").order_by("-created_at", "-id")


def delivery_page(
    *, actor: Actor, webhook_id: UUID, state: str, older_than: UUID | None, size: int
) -> Page[WebhookDelivery]:
    """A stretch of that log. An edge that is not in it is as none."""
    rows = delivery_list(actor=actor, webhook_id=webhook_id, state=state)
    edge = (
        WebhookDelivery.objects.filter(pk=older_than, webhook_id=webhook_id).first()
        if older_than
        else None
    )
    if edge is not None:
        same = Q(created_at=edge.created_at, id__lt=edge.pk)
        rows = rows.filter(Q(created_at__lt=edge.created_at) | same)
    found = list(rows[: size + 1])
    return Page(found[:size], has_newer=edge is not None, has_older=len(found) > size)


def delivery_get(*, actor: Actor, delivery_id: UUID) -> WebhookDelivery:
    """One message. ``NotFound`` at another site."""
    actor.require(Capability.OPERATE)
    row = (
        WebhookDelivery.objects.filter(pk=delivery_id, webhook__site_id=actor.own_site)
        .select_related("webhook", "event", "job__image", "job__result")
        .prefetch_related("attempts")
        .first()
    )
    if row is None:
        raise NotFound()
    return row


@dataclass(frozen=True)
class Counts:
    """Of a webhook's messages that are kept; each up to ``MOST_COUNTED``."""

    waiting: int
    failed: int


def webhook_counts(webhook: Webhook) -> Counts:
    """The caller has let the actor see the webhook."""
    rows = WebhookDelivery.objects.filter(webhook=webhook)
    active = [state.value for state in DELIVERY.active]
    return Counts(
        waiting=rows.filter(state__in=active)[:MOST_COUNTED].count(),
        failed=rows.filter(state=DeliveryState.FAILED)[:MOST_COUNTED].count(),
    )
