"""Webhooks of a site: secrets, fields, who may, what is audited, and messages asked for again."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db.models.functions import Now
from django.utils import timezone

from cases.errors import FieldInvalid, NotFound, PermissionDenied, StateConflict
from cases.models import AuditEvent, Site, Webhook, WebhookDelivery
from cases.services.webhook_fields import webhook_fields_parse
from cases.services.webhook_replays import delivery_replay, webhook_ping, webhook_replay_since
from cases.services.webhooks import (
    OVERLAP,
    webhook_change,
    webhook_create,
    webhook_secret_rotate,
    webhook_switch,
)
from cases.states import DeliveryState
from cases.vocabulary import WebhookEvent
from tests.factories import make_actor, make_site, submit
from tests.webhooks import (
    BAD,
    answered,
    claim,
    deliver_all,
    due_now,
    finish,
    make_webhook,
    operator,
)

pytestmark = pytest.mark.django_db
D = DeliveryState


@pytest.fixture
def site(db: None) -> Site:
    return make_site()


def test_a_secret_is_shown_once_and_no_row_holds_it(site: Site) -> None:
    webhook, secret = make_webhook(site)
    assert secret.startswith("whsec_")
    row = Webhook.objects.filter(pk=webhook.pk).values().get()
    assert secret not in str(row)
    trail = list(AuditEvent.objects.filter(object_id=webhook.pk).values())
    assert [event["action"] for event in trail] == ["webhook.created"]
    assert secret not in str(trail)
    assert webhook.url not in str(trail)


def test_after_a_rotation_both_secrets_sign_for_a_while(site: Site) -> None:
    webhook, _ = make_webhook(site)
    operator_ = operator(site)
    webhook_ping(actor=operator_, webhook_id=webhook.pk)
    (letter,) = claim()
    assert len(letter.headers["webhook-signature"].split()) == 1
    finish(letter)
    _, secret = webhook_secret_rotate(actor=operator_, webhook_id=webhook.pk)
    webhook_ping(actor=operator_, webhook_id=webhook.pk)
    (letter,) = claim()
    assert len(letter.headers["webhook-signature"].split()) == 2
    finish(letter)
    Webhook.objects.filter(pk=webhook.pk).update(previous_until=Now() - OVERLAP)
    webhook_ping(actor=operator_, webhook_id=webhook.pk)
    (letter,) = claim()
    assert len(letter.headers["webhook-signature"].split()) == 1
    assert secret not in str(Webhook.objects.filter(pk=webhook.pk).values().get())


def test_under_another_key_a_secret_cannot_be_read_and_that_is_said(
    site: Site, settings: Any
) -> None:
    webhook, _ = make_webhook(site)
    webhook_ping(actor=operator(site), webhook_id=webhook.pk)
    settings.BCWEB_WEBHOOK_KEY = "another key of at least 32 characters"
    assert claim() == []
    row = webhook.deliveries.get()
    assert (row.state, row.attempts.get().outcome) == (D.PENDING, "secret_unreadable")
    webhook_secret_rotate(actor=operator(site), webhook_id=webhook.pk)
    due_now(webhook)
    (letter,) = claim()
    assert len(letter.headers["webhook-signature"].split()) == 1, "signed with the new one alone"


@pytest.mark.parametrize(
    ("field", "value"),
    [("name", ""), ("name", "x" * 81), ("url", "http://example.org/"), ("url", "https://10.0.0.1/"),
     ("events", []), ("events", ["job.created", "ping"]), ("events", ["x"])],
)  # fmt: skip
def test_a_wrong_field_is_named(field: str, value: Any) -> None:
    good = {"name": "PACS", "url": "https://example.org/in", "events": ["job.succeeded"]}
    webhook_fields_parse(good)
    with pytest.raises(FieldInvalid) as refused:
        webhook_fields_parse({**good, field: value})
    assert list(refused.value.errors or {}) == [field]


def test_only_those_who_operate_the_site_touch_its_webhooks(site: Site) -> None:
    webhook, _ = make_webhook(site)
    ping = webhook_ping(actor=operator(site), webhook_id=webhook.pk)
    fields = webhook_fields_parse(
        {"name": "n", "url": "https://example.org/", "events": ["job.created"]}
    )

    def calls(actor: Any) -> list[Any]:
        about = {"actor": actor, "webhook_id": webhook.pk}
        return [
            lambda: webhook_change(**about, fields=fields),
            lambda: webhook_switch(**about, enabled=False),
            lambda: webhook_secret_rotate(**about),
            lambda: webhook_ping(**about),
            lambda: webhook_replay_since(**about, since=timezone.now()),
            lambda: delivery_replay(actor=actor, delivery_id=ping.pk),
        ]

    for role in ("sonographer", "radiologist", "approver", "auditor", "integration"):
        stranger = make_actor(roles=[role], site=site)
        with pytest.raises(PermissionDenied):
            webhook_create(actor=stranger, fields=fields)
        for call in calls(stranger):
            with pytest.raises(PermissionDenied):
                call()
    for call in calls(operator(make_site())):
        with pytest.raises(NotFound):
            call()


def test_changes_are_audited_by_field_and_a_change_of_nothing_is_none(site: Site) -> None:
    actor = operator(site)
    webhook, _ = make_webhook(site, actor=actor)
    fields = webhook_fields_parse(
        {"name": webhook.name, "url": "https://new.example.org/", "events": ["job.failed"]}
    )
    for _ in range(2):
        webhook_change(actor=actor, webhook_id=webhook.pk, fields=fields)
    for enabled in (False, False, True, True):
        webhook_switch(actor=actor, webhook_id=webhook.pk, enabled=enabled)
    trail = AuditEvent.objects.filter(object_id=webhook.pk).order_by("id")
    assert [(e.action, e.changed_fields) for e in trail][1:] == [
        ("webhook.changed", ["url", "events"]),
        ("webhook.switched_off", ["enabled"]),
        ("webhook.switched_on", ["enabled"]),
    ]


def test_a_site_has_one_webhook_of_a_name_and_twenty_at_most(site: Site) -> None:
    webhook, _ = make_webhook(site)
    fields = webhook_fields_parse(
        {"name": webhook.name, "url": "https://example.org/", "events": ["job.created"]}
    )
    with pytest.raises(FieldInvalid):
        webhook_create(actor=operator(site), fields=fields)
    webhook_create(actor=operator(make_site()), fields=fields)
    for _ in range(19):
        make_webhook(site)
    with pytest.raises(StateConflict):
        make_webhook(site)


def test_one_message_is_sent_once_more_with_the_same_id(site: Site) -> None:
    webhook, _ = make_webhook(site, events=[WebhookEvent.JOB_CREATED])
    actor = operator(site)
    submit(actor=make_actor(site=site))
    (letter,) = claim()
    with pytest.raises(StateConflict):
        delivery_replay(actor=actor, delivery_id=letter.delivery_id)
    finish(letter, BAD)
    # One that waits for its next attempt goes now.
    delivery_replay(actor=actor, delivery_id=letter.delivery_id)
    (second,) = claim()
    finish(second)
    row = delivery_replay(actor=actor, delivery_id=letter.delivery_id)
    assert (row.state, row.tries) == (D.PENDING, 0)
    (third,) = claim()
    assert (third.headers["webhook-id"], third.attempt) == (letter.headers["webhook-id"], 3)
    finish(third)
    webhook_switch(actor=actor, webhook_id=webhook.pk, enabled=False)
    with pytest.raises(StateConflict):
        delivery_replay(actor=actor, delivery_id=letter.delivery_id)
    assert AuditEvent.objects.filter(action="webhook.replayed").count() == 2


def test_everything_since_a_moment_is_sent_in_order_also_what_was_never_queued(
    site: Site, settings: Any
) -> None:
    actor = operator(site)
    webhook, _ = make_webhook(site)
    since = timezone.now() - timedelta(minutes=1)
    answered(site)
    assert deliver_all() == ["job.created", "job.started", "job.succeeded"]
    ids = set(webhook.deliveries.values_list("pk", flat=True))
    # While it is off nothing is queued; and what was kept for its days is gone.
    webhook_switch(actor=actor, webhook_id=webhook.pk, enabled=False)
    answered(site)
    answered(make_site())
    webhook_switch(actor=actor, webhook_id=webhook.pk, enabled=True)
    WebhookDelivery.objects.filter(webhook=webhook, kind="job.started").delete()
    number = webhook_replay_since(actor=actor, webhook_id=webhook.pk, since=since)
    assert number == 6
    assert ids < set(webhook.deliveries.values_list("pk", flat=True)), "the same ids again"
    said = deliver_all()
    assert sorted(said) == sorted(["job.created", "job.started", "job.succeeded"] * 2)
    for row in webhook.deliveries.all():
        assert row.event is not None
    moments = [timezone.now() + timedelta(minutes=1), timezone.now() - timedelta(days=31)]
    for moment in moments:
        with pytest.raises(FieldInvalid):
            webhook_replay_since(actor=actor, webhook_id=webhook.pk, since=moment)
