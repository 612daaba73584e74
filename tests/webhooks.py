"""Webhooks for tests, made through the services, and the settings that let them call here."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Iterable
from typing import Any

from django.db.models.functions import Now

from cases.access import Actor
from cases.models import Site, Webhook, WebhookDelivery
from cases.services.deliveries import Ending, Letter, deliveries_claim, delivery_finish
from cases.services.webhook_fields import WebhookFields
from cases.services.webhook_replays import webhook_ping
from cases.services.webhooks import webhook_create
from cases.states import DeliveryState
from cases.vocabulary import SUBSCRIBABLE, AttemptOutcome, WebhookEvent
from tests.factories import WORKER, make_actor, stored_result, submit, unique
from tests.receiver import Received

OK = Ending(AttemptOutcome.DELIVERED, "Delivered.", 5.0, 204)
BAD = Ending(AttemptOutcome.BAD_STATUS, "The receiver answered with status 500.", 5.0, 500)


def let_call_here(settings: Any, *ports: int) -> None:
    """Plain http to this machine at ``ports``, as an operator would allow it."""
    settings.BCWEB_WEBHOOK_ALLOW = ["127.0.0.0/8"]
    settings.BCWEB_WEBHOOK_HTTP = True
    settings.BCWEB_WEBHOOK_PORTS = list(ports)


def operator(site: Site) -> Actor:
    return make_actor(roles=["admin"], site=site)


def make_webhook(
    site: Site,
    *,
    url: str = "https://hooks.example.org/in",
    events: Iterable[WebhookEvent] = SUBSCRIBABLE,
    actor: Actor | None = None,
) -> tuple[Webhook, str]:
    """A webhook that is on, and its secret."""
    return webhook_create(
        actor=actor or operator(site), fields=WebhookFields(f"hook {unique()}", url, tuple(events))
    )


def make_ping(site: Site) -> WebhookDelivery:
    """A webhook with one message that waits."""
    actor = operator(site)
    webhook, _ = make_webhook(site, actor=actor)
    return webhook_ping(actor=actor, webhook_id=webhook.pk)


def due_now(webhook: Webhook) -> None:
    """Let the pauses between attempts, and the leases, be over."""
    waiting = WebhookDelivery.objects.filter(webhook=webhook, state__in=["PENDING", "SENDING"])
    waiting.update(available_at=Now())


def is_signed(item: Received, secret: str) -> bool:
    """Whether a message is signed with ``secret``, worked out without the code under test."""
    key = base64.b64decode(secret[len("whsec_") :])
    headers = item.headers
    content = b".".join(
        [headers["webhook-id"].encode(), headers["webhook-timestamp"].encode(), item.body]
    )
    wanted = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
    return any(
        hmac.compare_digest(f"v1,{wanted}", given)
        for given in headers["webhook-signature"].split(" ")
    )


def claim(limit: int = 10, failing: int | None = None) -> list[Letter]:
    return deliveries_claim(actor=WORKER, limit=limit, failing=failing)


def finish(letter: Letter, ending: Ending = OK) -> DeliveryState | None:
    return delivery_finish(
        actor=WORKER, delivery_id=letter.delivery_id, attempt=letter.attempt, ending=ending
    )


def told(letter: Letter) -> str:
    return str(json.loads(letter.body)["type"])


def deliver_all() -> list[str]:
    """What is delivered while something is due, in order."""
    said = []
    while letters := claim():
        for letter in letters:
            finish(letter)
            said.append(told(letter))
    return said


def answered(site: Site, **fields: Any) -> Any:
    job = submit(actor=make_actor(site=site), **fields).jobs.get()
    return stored_result(job, 0.9)
