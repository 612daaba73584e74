"""Everything since a moment once more, while others work on the same rows."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from django.db import connection
from django.utils import timezone

from cases.models import Site, Webhook
from cases.services import webhook_replays
from cases.services.jobs import job_cancel
from cases.services.webhook_replays import webhook_replay_since
from cases.states import DeliveryState
from cases.vocabulary import WebhookEvent
from tests.factories import at_once, make_actor, make_site, submit
from tests.live import wait_for
from tests.webhooks import deliver_all, make_webhook, operator

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def other() -> Iterator[psycopg.Connection[Any]]:
    """A connection of somebody else, in a transaction."""
    told = connection.get_connection_params()
    here = {k: told[k] for k in ("dbname", "user", "host") if k in told}
    with psycopg.connect(**here) as link:
        yield link


def told_of(site: Site, number: int) -> Webhook:
    """A webhook to which ``number`` messages were delivered."""
    webhook, _ = make_webhook(site, events=[WebhookEvent.JOB_CREATED])
    for _ in range(number):
        submit(actor=make_actor(site=site))
    assert len(deliver_all()) == number
    return webhook


def replay(webhook: Webhook) -> int:
    since = timezone.now() - timedelta(minutes=30)
    return webhook_replay_since(actor=operator(webhook.site), webhook_id=webhook.pk, since=since)


def test_two_replays_at_once_ask_for_each_message_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook_replays, "STRETCH", 2)
    webhook = told_of(make_site(), 5)
    assert sum(at_once(2, lambda: replay(webhook))) == 5
    assert len(deliver_all()) == 5


def test_a_replay_commits_a_stretch_at_a_time(
    other: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook_replays, "STRETCH", 2)
    webhook = told_of(make_site(), 4)
    last = webhook.deliveries.order_by("event_id").last()
    assert last is not None
    other.execute("SELECT 1 FROM cases_webhookdelivery WHERE id = %s FOR UPDATE", [last.pk])
    waiting = webhook.deliveries.filter(state=DeliveryState.PENDING)
    done = threading.Thread(target=lambda: at_once(1, lambda: replay(webhook)))
    done.start()
    try:
        wait_for("the first stretch", lambda: waiting.count() == 2)
    finally:
        other.rollback()
        done.join(300)
    assert waiting.count() == 4


def test_a_job_moves_while_somebody_writes_messages_about_it(
    other: psycopg.Connection[Any],
) -> None:
    """Two that each held jobs of the other's would wait for each other for ever."""
    site = make_site()
    job = submit(actor=make_actor(site=site)).jobs.get()
    # What an insert that refers to the job does.
    other.execute("SELECT 1 FROM cases_job WHERE id = %s FOR KEY SHARE", [job.pk])
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '3s'")
    try:
        job_cancel(actor=make_actor(site=site), job_id=job.pk)
    finally:
        other.rollback()
        connection.close()
