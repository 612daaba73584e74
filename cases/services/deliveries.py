"""The deliverer's side of a message: claim, finish, take back, tidy away.

At least once: a deliverer that dies between sending and noting it leaves a message that is sent
again, with the same id. All times are the database's.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet, Value
from django.db.models.functions import Now
from django.utils import timezone

from cases.access import Actor
from cases.models import Webhook, WebhookAttempt, WebhookDelivery
from cases.models.webhooks import WAITING
from cases.services.audit import audit_record
from cases.services.webhook_messages import (
    CONTENT_TYPE,
    USER_AGENT,
    message_bytes,
    message_of,
)
from cases.services.webhook_secrets import SecretUnreadable, signing_keys
from cases.signing import signed_headers
from cases.states import DELIVERY, DeliveryState
from cases.vocabulary import AttemptOutcome, WebhookOff

# Messages to one webhook on their way at once: one that answers slowly must not hold up others.
MOST_AT_ONCE = 4
FIRST_PAUSE_S = 5.0
PAUSE_GROWTH = 4.0
LONGEST_PAUSE_S = 6 * 3600.0
# Longer than an attempt can take by far: who is still sending when it ends is dead or frozen.
LEASE_TIMES = 3
LEASE_EXTRA_S = 5
TIDY_AT_ONCE = 2000
# So long a turn of tidying goes on at most.
TIDY_S = 5.0


@dataclass(frozen=True)
class Letter:
    """A claimed message as it goes over the wire. Its ``attempt`` is the fence."""

    delivery_id: UUID
    attempt: int
    url: str
    headers: dict[str, str]
    body: bytes
    # To a webhook whose last attempt failed.
    failing: bool = False


@dataclass(frozen=True)
class Ending:
    """How an attempt went. ``retry_after_s``: what the receiver asked for."""

    outcome: AttemptOutcome
    detail: str
    duration_ms: float
    status_code: int | None = None
    retry_after_s: float = 0.0


def pause_s(tries: int) -> float:
    """Seconds until the next attempt after ``tries`` failed ones, with jitter of a half."""
    planned = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * PAUSE_GROWTH ** (tries - 1))
    return planned * random.uniform(0.5, 1.0)  # noqa: S311 (spreads load, hides nothing)


def lease_s() -> float:
    return float(LEASE_TIMES * settings.BCWEB_WEBHOOK_SECONDS + LEASE_EXTRA_S)


def _due(webhook_id: Any) -> QuerySet[WebhookDelivery]:
    """Messages to send now: each the first of its job that is not delivered or given up."""
    earlier = WebhookDelivery.objects.filter(
        webhook_id=OuterRef("webhook_id"),
        job_id=OuterRef("job_id"),
        event_id__lt=OuterRef("event_id"),
        state__in=WAITING,
    )
    return WebhookDelivery.objects.filter(
        ~Exists(earlier), webhook_id=webhook_id, state__in=WAITING, available_at__lte=Now()
    )


def deliveries_claim(*, actor: Actor, limit: int, failing: int | None = None) -> list[Letter]:
    """PENDING (or SENDING with a lease that ran out) -> SENDING, for up to ``limit`` messages.

    Only of webhooks that are on, a few of each, in turns that chance decides. Those whose last
    attempt failed come after all others, with one message each and at most ``failing`` together:
    receivers that take all their time to answer nothing must not keep those that do from theirs.
    A message whose attempts are used up is FAILED instead; so is, for this time, one whose secret
    cannot be read.
    """
    letters: list[Letter] = []
    told = Webhook.objects.filter(Exists(_due(OuterRef("pk"))), enabled=True)
    for webhook in told.annotate(failing=Q(failing_since__isnull=False)).order_by("failing", "?"):
        room = limit - len(letters)
        if webhook.failing and failing is not None:
            room = min(room, failing - sum(letter.failing for letter in letters))
        if room <= 0:
            break
        letters += _claim(actor, webhook, room)
    return letters


@transaction.atomic
def _claim(actor: Actor, webhook: Webhook, limit: int) -> list[Letter]:
    busy = WebhookDelivery.objects.filter(
        webhook=webhook, state=DeliveryState.SENDING, available_at__gt=Now()
    ).count()
    most = MOST_AT_ONCE if webhook.failing_since is None else 1
    rows = list(
        _due(webhook.pk)
        .select_for_update(skip_locked=True, of=("self",), no_key=True)
        .select_related("event", "job__image", "job__result")
        .order_by("available_at", "event_id")[: max(0, min(limit, most - busy))]
    )
    letters = []
    for row in rows:
        if row.state == DeliveryState.SENDING:
            _note_interrupted(row)
            if row.tries >= settings.BCWEB_WEBHOOK_ATTEMPTS:
                _give_up(actor, row)
                continue
        moved = delivery_move(
            row,
            DeliveryState.SENDING,
            attempt=F("attempt") + 1,
            tries=F("tries") + 1,
            available_at=Now() + Value(timedelta(seconds=lease_s())),
            worker=actor.label[:120],
        )
        if moved:
            row.attempt += 1
            letter = _letter(actor, webhook, row)
            if letter is not None:
                letters.append(letter)
    return letters


def _note_interrupted(row: WebhookDelivery) -> None:
    WebhookAttempt.objects.create(
        delivery=row,
        number=row.attempt,
        outcome=AttemptOutcome.INTERRUPTED,
        detail="The deliverer stopped in the middle; the message may have arrived.",
        duration_ms=0.0,
    )


def _letter(actor: Actor, webhook: Webhook, row: WebhookDelivery) -> Letter | None:
    body = message_bytes(message_of(row))
    try:
        keys = signing_keys(webhook)
    except SecretUnreadable:
        detail = "The secret cannot be read: the service's key is another one. Make a new secret."
        ending = Ending(AttemptOutcome.SECRET_UNREADABLE, detail, 0.0)
        delivery_finish(actor=actor, delivery_id=row.pk, attempt=row.attempt, ending=ending)
        return None
    headers = signed_headers(
        keys, message_id=str(row.pk), timestamp=int(timezone.now().timestamp()), body=body
    )
    headers |= {"content-type": CONTENT_TYPE, "user-agent": USER_AGENT}
    failing = webhook.failing_since is not None
    return Letter(row.pk, row.attempt, webhook.url, headers, body, failing)


def delivery_move(row: WebhookDelivery, to: DeliveryState, **changes: Any) -> bool:
    """Move a delivery that is still at the state and attempt of ``row``; False where it is not.

    Raises ``ValueError`` for a move the lifecycle does not know.
    """
    if not DELIVERY.allows(DeliveryState(row.state), to):
        raise ValueError(f"delivery: {row.state} -> {to} is not a legal move")
    changes["finished_at"] = None if to in DELIVERY.active else Now()
    return bool(
        WebhookDelivery.objects.filter(pk=row.pk, state=row.state, attempt=row.attempt).update(
            state=to, **changes
        )
    )


def deliveries_again(keys: Sequence[UUID]) -> int:
    """DELIVERED | FAILED -> PENDING for those of ``keys`` that ended, with all their attempts
    before them. Returns how many."""
    again = DeliveryState.PENDING
    ended = [s for s in DeliveryState if s not in DELIVERY.active and DELIVERY.allows(s, again)]
    return WebhookDelivery.objects.filter(pk__in=keys, state__in=ended).update(
        state=again, tries=0, available_at=Now(), replayed_at=Now(), finished_at=None
    )


@transaction.atomic
def delivery_finish(
    *, actor: Actor, delivery_id: UUID, attempt: int, ending: Ending
) -> DeliveryState | None:
    """SENDING -> DELIVERED, PENDING (after a pause) or FAILED, and how the attempt went.

    None where another deliverer has taken over: that the lease ran out is noted already. May
    switch the webhook off (`_switch_off`).
    """
    row = (
        WebhookDelivery.objects.select_for_update(no_key=True)
        .filter(pk=delivery_id, state=DeliveryState.SENDING, attempt=attempt)
        .first()
    )
    if row is None:
        return None
    WebhookAttempt.objects.create(
        delivery=row,
        number=attempt,
        outcome=ending.outcome,
        status_code=ending.status_code,
        detail=ending.detail[:300],
        duration_ms=ending.duration_ms,
    )
    if ending.outcome is AttemptOutcome.DELIVERED:
        delivery_move(row, DeliveryState.DELIVERED)
        Webhook.objects.filter(pk=row.webhook_id).update(failing_since=None, delivered_at=Now())
        if row.tries > 1:
            _move_later(row, Now())
        return DeliveryState.DELIVERED
    Webhook.objects.filter(pk=row.webhook_id, failing_since=None).update(failing_since=Now())
    if ending.outcome is AttemptOutcome.GONE or row.tries >= settings.BCWEB_WEBHOOK_ATTEMPTS:
        _give_up(actor, row, gone=ending.outcome is AttemptOutcome.GONE)
        return DeliveryState.FAILED
    wait = max(pause_s(row.tries), min(ending.retry_after_s, LONGEST_PAUSE_S))
    again_at = Now() + Value(timedelta(seconds=wait))
    delivery_move(row, DeliveryState.PENDING, available_at=again_at)
    _move_later(row, again_at)
    # Of a long queue, one at a time, even the first may not have had its last attempt by then.
    long = _long_ago()
    waited = {"deliveries__pk": row.pk, "deliveries__created_at__lte": long}
    _switch_off(actor, row, WebhookOff.FAILING, failing_since__lte=long, **waited)
    return DeliveryState.PENDING


def _move_later(row: WebhookDelivery, available_at: Any) -> None:
    """Let what waits behind ``row`` in its job be due with it: what is due and may not go yet
    would be looked at by every claim, the more the longer a receiver fails.

    Not what has been tried by itself: it has a pause of its own. Nor what somebody holds, who
    asks for it once more: waiting for them could be waiting for each other.
    """
    if row.job_id is None:
        return
    later = WebhookDelivery.objects.filter(
        webhook_id=row.webhook_id,
        job_id=row.job_id,
        event_id__gt=row.event_id,
        state=DeliveryState.PENDING,
        tries=0,
    )
    held = later.select_for_update(skip_locked=True, no_key=True).values_list("pk", flat=True)
    if keys := list(held):
        WebhookDelivery.objects.filter(pk__in=keys).update(available_at=available_at)


def _give_up(actor: Actor, row: WebhookDelivery, *, gone: bool = False) -> None:
    """SENDING -> FAILED. Switches the webhook off where it is gone, or fails for too long."""
    delivery_move(row, DeliveryState.FAILED)
    _move_later(row, Now())
    if gone:
        _switch_off(actor, row, WebhookOff.GONE)
    else:
        _switch_off(actor, row, WebhookOff.FAILING, failing_since__lte=_long_ago())


def _long_ago() -> Any:
    return Now() - Value(timedelta(hours=settings.BCWEB_WEBHOOK_OFF_HOURS))


def _switch_off(actor: Actor, row: WebhookDelivery, why: WebhookOff, **where: Any) -> None:
    """Switch the webhook of ``row`` off where it is on and ``where`` holds."""
    on = Webhook.objects.filter(pk=row.webhook_id, enabled=True, **where)
    if on.update(enabled=False, off_reason=why, off_at=Now()):
        webhook = Webhook.objects.get(pk=row.webhook_id)
        audit_record(
            actor=actor,
            action="webhook.switched_off",
            object_type="webhook",
            object_id=webhook.pk,
            site_id=webhook.site_id,
            changed_fields=["enabled"],
            detail={"reason": why.value},
        )


def deliveries_tidy() -> int:
    """Remove deliveries older than the days they are kept: those that ended, and those that wait
    for a webhook that stays off. Returns how many; what takes longer than a turn is for the next.
    """
    before = Now() - Value(timedelta(days=settings.BCWEB_WEBHOOK_KEEP_DAYS))
    ended = ~Q(state__in=WAITING) & Q(finished_at__lt=before)
    held = Q(state__in=WAITING, created_at__lt=before)
    held &= Q(webhook__enabled=False, webhook__off_at__lt=before)
    end, removed = time.monotonic() + TIDY_S, 0
    # One after the other: each has its index.
    for old in (ended, held):
        while time.monotonic() < end and (some := _remove(old)):
            removed += some
    return removed


def _remove(old: Q) -> int:
    keys = list(WebhookDelivery.objects.filter(old).values_list("pk", flat=True)[:TIDY_AT_ONCE])
    # Asked for once more in the meantime: kept.
    _, counts = WebhookDelivery.objects.filter(old, pk__in=keys).delete()
    return counts.get("cases.WebhookDelivery", 0)
