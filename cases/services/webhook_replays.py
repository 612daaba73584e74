"""Messages asked for by a person or system: a ping, one once more, all since a moment."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from cases import queue
from cases.access import Actor, Capability
from cases.errors import FieldInvalid, NotFound, StateConflict
from cases.models import JobEvent, Webhook, WebhookDelivery
from cases.services.audit import audit_record
from cases.services.deliveries import deliveries_again, delivery_move
from cases.services.locks import advisory_lock
from cases.services.outbox import TOLD, delivery_id, delivery_of, kind_of
from cases.services.webhooks import webhook_own
from cases.states import DeliveryState
from cases.vocabulary import JobKind, WebhookEvent

MOST_AT_ONCE = 10_000
STRETCH = 500


@transaction.atomic
def webhook_ping(*, actor: Actor, webhook_id: UUID) -> WebhookDelivery:
    """A PENDING test message. ``StateConflict`` while the webhook is off."""
    webhook = _on(actor, webhook_id)
    ping = WebhookDelivery.objects.create(pk=uuid4(), webhook=webhook, kind=WebhookEvent.PING)
    _audit(actor, webhook, "webhook.pinged", {"delivery": str(ping.pk)})
    queue.ring_deliverer_on_commit()
    ping.refresh_from_db()
    return ping


@transaction.atomic
def delivery_replay(*, actor: Actor, delivery_id: UUID) -> WebhookDelivery:
    """DELIVERED | FAILED -> PENDING, with the same id; one that waits for its next attempt goes
    now. ``StateConflict`` while it is being sent or its webhook is off, ``NotFound`` at another
    site.
    """
    actor.require(Capability.OPERATE)
    own = WebhookDelivery.objects.filter(pk=delivery_id, webhook__site_id=actor.own_site)
    row = own.select_for_update(no_key=True, of=("self",)).first()
    if row is None:
        raise NotFound()
    webhook = _on(actor, row.webhook_id)
    if row.state == DeliveryState.SENDING:
        raise StateConflict("The message is being sent at this moment.")
    _again(row)
    _audit(actor, webhook, "webhook.replayed", {"delivery": str(row.pk)})
    queue.ring_deliverer_on_commit()
    row.refresh_from_db()
    return row


def webhook_replay_since(*, actor: Actor, webhook_id: UUID, since: datetime) -> int:
    """Send everything the webhook subscribes to that happened at or after ``since``, once more or
    for the first time, in the order of each job. Returns how many messages.

    What waits or is being sent is left as it is. Committed a stretch at a time, so that nobody
    waits for all of it: one that breaks off has asked for the first ones, and may be asked for
    again. ``FieldInvalid`` for a moment in the future, before the days that are kept, or with more
    messages than go at once.
    """
    webhook, events = _asked_for(actor, webhook_id, since)
    number = sum(
        _send_again(webhook, events[at : at + STRETCH]) for at in range(0, len(events), STRETCH)
    )
    queue.ring_deliverer_on_commit()
    return number


@transaction.atomic
def _asked_for(actor: Actor, webhook_id: UUID, since: datetime) -> tuple[Webhook, list[JobEvent]]:
    """The webhook and the events to tell it, audited."""
    webhook = _on(actor, webhook_id)
    _check_since(since)
    events = list(_told(webhook, since).select_related("job").order_by("pk")[: MOST_AT_ONCE + 1])
    if len(events) > MOST_AT_ONCE:
        raise FieldInvalid(
            errors={"since": [f"More than {MOST_AT_ONCE} messages: choose a later moment."]}
        )
    detail = {"since": since.isoformat(), "events": len(events)}
    _audit(actor, webhook, "webhook.replayed", detail)
    return webhook, events


def _told(webhook: Webhook, since: datetime) -> Any:
    """The events of the site that this webhook is told of."""
    moves = Q()
    for (source, to), kind in TOLD.items():
        if kind in webhook.events:
            moves |= Q(from_state=source, to_state=to)
    events = JobEvent.objects.filter(moves, at__gte=since, job__site_id=webhook.site_id)
    return events.exclude(job__kind=JobKind.SHADOW)


@transaction.atomic
def _send_again(webhook: Webhook, events: list[JobEvent]) -> int:
    # Two replays at once would lock the same rows, each in an order of its own.
    advisory_lock("webhook-replay", str(webhook.pk), wait=True)
    keys = [delivery_id(webhook.pk, event) for event in events]
    there = set(WebhookDelivery.objects.filter(pk__in=keys).values_list("pk", flat=True))
    ended = deliveries_again(keys)
    new = [
        delivery_of(webhook, event, kind)
        for event, key in zip(events, keys, strict=True)
        if key not in there and (kind := kind_of(event)) is not None
    ]
    WebhookDelivery.objects.bulk_create(new, ignore_conflicts=True)
    return ended + len(new)


def _again(row: WebhookDelivery) -> None:
    if row.state == DeliveryState.PENDING:
        WebhookDelivery.objects.filter(pk=row.pk, state=row.state).update(available_at=Now())
        return
    delivery_move(row, DeliveryState.PENDING, tries=0, available_at=Now(), replayed_at=Now())


def _check_since(since: datetime) -> None:
    oldest = timezone.now() - timedelta(days=settings.BCWEB_WEBHOOK_KEEP_DAYS)
    if not oldest <= since <= timezone.now():
        days = settings.BCWEB_WEBHOOK_KEEP_DAYS
        raise FieldInvalid(errors={"since": [f"Give a moment within the last {days} days."]})


def _on(actor: Actor, webhook_id: UUID) -> Webhook:
    webhook = webhook_own(actor, webhook_id, lock=False)
    if not webhook.enabled:
        raise StateConflict("The webhook is switched off. Switch it on first.")
    return webhook


def _audit(actor: Actor, webhook: Webhook, action: str, detail: dict[str, Any]) -> None:
    audit_record(
        actor=actor,
        action=action,
        object_type="webhook",
        object_id=webhook.pk,
        site_id=webhook.site_id,
        detail=detail,
    )
