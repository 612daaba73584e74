"""Webhooks of a site: made, changed, switched and given new secrets by those who operate it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import Value
from django.db.models.functions import Now

from cases import queue
from cases.access import Actor, Capability
from cases.errors import FieldInvalid, NotFound, StateConflict
from cases.models import Site, Webhook
from cases.services.audit import audit_record
from cases.services.webhook_fields import WebhookFields
from cases.services.webhook_secrets import secret_seal
from cases.signing import new_secret
from cases.vocabulary import WebhookOff

MOST_PER_SITE = 20
# For so long messages are signed with the secret before the last one too.
OVERLAP = timedelta(hours=24)


@transaction.atomic
def webhook_create(*, actor: Actor, fields: WebhookFields) -> tuple[Webhook, str]:
    """Add a webhook, switched on: it is told of what happens from now on.

    Returns the row, and the secret that is shown once. ``FieldInvalid`` where the site has one of
    this name, ``StateConflict`` where it has as many as it may.
    """
    actor.require(Capability.OPERATE)
    # One after the other at a site, so that the limit holds.
    Site.objects.select_for_update(no_key=True).get(pk=actor.own_site)
    if Webhook.objects.filter(site_id=actor.own_site).count() >= MOST_PER_SITE:
        raise StateConflict(f"A site has at most {MOST_PER_SITE} webhooks.")
    secret = new_secret()
    webhook = Webhook(site_id=actor.own_site, created_by=actor.label, secret=secret_seal(secret))
    _fill(webhook, fields)
    _audit(actor, webhook, "created", ["name", "url", "events", "secret"])
    webhook.refresh_from_db()
    return webhook, secret


@transaction.atomic
def webhook_change(*, actor: Actor, webhook_id: UUID, fields: WebhookFields) -> Webhook:
    """Change name, address and events. What waits goes to the new address.

    ``NotFound`` at another site, ``FieldInvalid`` as `webhook_create`.
    """
    webhook = webhook_own(actor, webhook_id)
    changed = [
        name
        for name, value in (
            ("name", fields.name),
            ("url", fields.url),
            ("events", list(fields.events)),
        )
        if getattr(webhook, name) != value
    ]
    if changed:
        _fill(webhook, fields)
        _audit(actor, webhook, "changed", changed)
    return webhook


@transaction.atomic
def webhook_switch(*, actor: Actor, webhook_id: UUID, enabled: bool) -> Webhook:
    """Switch a webhook on or off. Twice is once. ``NotFound`` at another site.

    Off: it is told nothing new, and what waits is held. On: what was held goes out; what happened
    in between can be sent by `webhook_replays.webhook_replay_since`.
    """
    webhook = webhook_own(actor, webhook_id)
    if webhook.enabled == enabled:
        return webhook
    webhook.enabled = enabled
    webhook.off_reason = "" if enabled else WebhookOff.BY_HAND.value
    webhook.off_at = None if enabled else Now()
    # Its days of failing begin anew.
    webhook.failing_since = None
    webhook.save(update_fields=["enabled", "off_reason", "off_at", "failing_since"])
    _audit(actor, webhook, "switched_on" if enabled else "switched_off", ["enabled"])
    if enabled:
        queue.ring_deliverer_on_commit()
    webhook.refresh_from_db()
    return webhook


@transaction.atomic
def webhook_secret_rotate(*, actor: Actor, webhook_id: UUID) -> tuple[Webhook, str]:
    """A new secret, shown once. For ``OVERLAP`` messages are signed with the one before too."""
    webhook = webhook_own(actor, webhook_id)
    secret = new_secret()
    webhook.previous_secret = webhook.secret
    webhook.previous_until = Now() + Value(OVERLAP)
    webhook.secret = secret_seal(secret)
    webhook.secret_made_at = Now()
    webhook.save(update_fields=["previous_secret", "previous_until", "secret", "secret_made_at"])
    _audit(actor, webhook, "secret_rotated", ["secret"])
    webhook.refresh_from_db()
    return webhook, secret


def webhook_own(actor: Actor, webhook_id: UUID, *, lock: bool = True) -> Webhook:
    """A webhook of the actor's site, locked for a change. ``PermissionDenied``, ``NotFound``.

    Whoever goes on to lock deliveries must not ``lock`` it: a deliverer locks a delivery first.
    """
    actor.require(Capability.OPERATE)
    webhooks = Webhook.objects.filter(pk=webhook_id, site_id=actor.own_site)
    if lock:
        # no_key: deliveries that are being made refer to the row, and must not wait.
        webhooks = webhooks.select_for_update(no_key=True)
    webhook = webhooks.first()
    if webhook is None:
        raise NotFound()
    return webhook


def _fill(webhook: Webhook, fields: WebhookFields) -> None:
    webhook.name, webhook.url = fields.name, fields.url
    webhook.events = list(fields.events)
    try:
        with transaction.atomic():
            webhook.save()
    except IntegrityError as error:
        raise FieldInvalid(errors={"name": ["There is a webhook of this name."]}) from error


def _audit(actor: Actor, webhook: Webhook, verb: str, changed: Sequence[str]) -> None:
    """The address itself stays out of the trail: its path may be a password of the receiver's."""
    detail: dict[str, Any] = {}
    if "events" in changed:
        detail["events"] = list(webhook.events)
    audit_record(
        actor=actor,
        action=f"webhook.{verb}",
        object_type="webhook",
        object_id=webhook.pk,
        site_id=webhook.site_id,
        changed_fields=changed,
        detail=detail,
    )
