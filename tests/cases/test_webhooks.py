"""Webhooks of a site, the messages that moves of jobs make, and the order they are claimed in."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.db.models.functions import Now
from django.utils import timezone

from cases.models import AuditEvent, JobEvent, Site, Webhook, WebhookDelivery
from cases.services import deliveries
from cases.services.deliveries import (
    Ending,
    Letter,
    deliveries_tidy,
    delivery_move,
    pause_s,
)
from cases.services.jobs import job_cancel
from cases.services.leases import engine_jobs_claim, job_fail
from cases.services.webhook_replays import webhook_ping
from cases.services.webhooks import (
    webhook_switch,
)
from cases.states import DELIVERY, DeliveryState
from cases.vocabulary import AttemptOutcome, WebhookEvent
from tests.factories import WORKER, make_actor, make_site, submit
from tests.webhooks import (
    BAD,
    answered,
    claim,
    deliver_all,
    due_now,
    finish,
    make_webhook,
    operator,
    told,
)

pytestmark = pytest.mark.django_db
D = DeliveryState


@pytest.fixture
def site(db: None) -> Site:
    return make_site()


def test_the_moves_of_a_job_are_told_in_order_and_without_the_patient(site: Site) -> None:
    webhook, _ = make_webhook(site)
    result = answered(
        site, patient_id="SECRET-9", patient_name="Zebrafish^Quilla", accession_number="ACC-77"
    )
    messages = []
    while letters := claim():
        assert len(letters) == 1, "a later event of a job waits for the earlier one"
        messages.append(json.loads(letters[0].body))
        assert letters[0].url == webhook.url
        # But for the time, whose seconds may look like a score.
        body = letters[0].body.decode().replace(messages[-1]["timestamp"], "")
        for secret in ("SECRET-9", "Zebrafish", "ACC-77", "malignant", "0.9"):
            assert secret not in body
        finish(letters[0])
    assert [m["type"] for m in messages] == ["job.created", "job.started", "job.succeeded"]
    assert [m["data"]["sequence"] for m in messages] == [1, 2, 3]
    data = messages[2]["data"]
    assert data["job"]["id"] == str(result.job_id)
    assert data["job"]["url"].endswith(f"/api/v1/jobs/{result.job_id}/")
    assert data["result"]["id"] == str(result.pk)
    assert data["result"]["outcome"] == "answered"
    assert (data["state"], data["previous_state"]) == ("SUCCEEDED", "RUNNING")
    assert messages[0]["data"]["result"] is None


def test_a_failed_job_is_told_with_its_code_alone(site: Site) -> None:
    make_webhook(site, events=[WebhookEvent.JOB_FAILED])
    submit(actor=make_actor(site=site))
    (job,) = engine_jobs_claim(actor=WORKER, limit=1)
    job_fail(
        actor=WORKER,
        job_id=job.job_id,
        attempt=job.attempt,
        code="engine_fault",
        detail="words of the engine",
        transient=False,
    )
    (letter,) = claim()
    assert json.loads(letter.body)["data"]["error"] == {"code": "engine_fault"}
    assert b"words of the engine" not in letter.body


def test_only_what_is_subscribed_to_at_the_own_site_and_switched_on_is_told(site: Site) -> None:
    only, _ = make_webhook(site, events=[WebhookEvent.JOB_CANCELLED])
    off, _ = make_webhook(site)
    webhook_switch(actor=operator(site), webhook_id=off.pk, enabled=False)
    other, _ = make_webhook(make_site())
    job = submit(actor=make_actor(site=site)).jobs.get()
    job_cancel(actor=make_actor(site=site), job_id=job.pk)
    assert [row.kind for row in only.deliveries.all()] == ["job.cancelled"]
    assert not off.deliveries.exists()
    assert not other.deliveries.exists()


def test_a_move_that_is_taken_back_tells_nobody(site: Site) -> None:
    make_webhook(site)
    with transaction.atomic():
        submit(actor=make_actor(site=site))
        transaction.set_rollback(True)
    assert not WebhookDelivery.objects.exists()
    assert not JobEvent.objects.exists()


def test_after_a_restore_new_messages_have_ids_that_no_receiver_knows(site: Site) -> None:
    make_webhook(site)
    sequence = JobEvent._meta.db_table + "_id_seq"
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT last_value FROM {sequence}")
        (before,) = cursor.fetchone()
    known: list[tuple[int | None, Any]] = []
    for _ in range(2):
        with transaction.atomic():
            submit(actor=make_actor(site=site))
            known += WebhookDelivery.objects.values_list("event_id", "pk")
            # What a restore does: what came after the backup is gone, and so are its numbers.
            transaction.set_rollback(True)
        with connection.cursor() as cursor:
            cursor.execute("SELECT setval(%s, %s)", [sequence, before])
    (event, first), (again, second) = known
    assert event == again
    assert first != second


def test_a_failed_attempt_holds_up_its_own_job_and_no_other(site: Site) -> None:
    webhook, _ = make_webhook(site)
    first = answered(site)
    letter = claim()[0]
    assert finish(letter, BAD) is D.PENDING
    # However slow this test runs, the pause is not over.
    webhook.deliveries.filter(pk=letter.delivery_id).update(available_at=Now() + timedelta(hours=1))
    assert claim() == []
    second = answered(site)
    assert deliver_all() == ["job.created", "job.started", "job.succeeded"]
    assert {row.job_id for row in webhook.deliveries.filter(state=D.DELIVERED)} == {second.job_id}
    due_now(webhook)
    (again,) = claim()
    assert again.delivery_id == letter.delivery_id
    assert again.body == letter.body
    assert again.headers["webhook-id"] == letter.headers["webhook-id"]
    finish(again)
    assert deliver_all() == ["job.started", "job.succeeded"]
    assert {row.job_id for row in webhook.deliveries.all()} == {first.job_id, second.job_id}


def due(webhook: Webhook) -> int:
    return webhook.deliveries.filter(state=D.PENDING, available_at__lte=Now()).count()


def test_what_waits_behind_a_failed_message_is_not_due_before_it(site: Site, settings: Any) -> None:
    settings.BCWEB_WEBHOOK_ATTEMPTS = 3
    webhook, _ = make_webhook(site)
    answered(site)
    submit(actor=make_actor(site=site))
    first = claim(limit=1)[0]
    busy = Ending(AttemptOutcome.BAD_STATUS, "Busy.", 1.0, 503, retry_after_s=600.0)
    finish(first, busy)
    assert due(webhook) == 1, "the other job's"
    soon = timezone.now() + timedelta(seconds=500)
    assert webhook.deliveries.filter(job_id=job_of(first), available_at__gt=soon).count() == 3
    # Delivered, or given up: the next one goes at once.
    webhook.deliveries.filter(pk=first.delivery_id).update(available_at=Now())
    Webhook.objects.update(failing_since=None)
    (again,) = [x for x in claim() if x.delivery_id == first.delivery_id]
    finish(again)
    assert due(webhook) == 2
    (second,) = [x for x in claim() if job_of(x) == job_of(first)]
    webhook.deliveries.filter(pk=second.delivery_id).update(tries=settings.BCWEB_WEBHOOK_ATTEMPTS)
    webhook.deliveries.filter(state=D.PENDING).update(available_at=Now() + timedelta(hours=1))
    assert finish(second, BAD) is D.FAILED
    assert due(webhook) == 1


def job_of(letter: Letter) -> str:
    return str(json.loads(letter.body)["data"]["job"]["id"])


def test_what_is_given_up_lets_the_next_one_go(site: Site, settings: Any) -> None:
    settings.BCWEB_WEBHOOK_ATTEMPTS = 2
    webhook, _ = make_webhook(site)
    answered(site)
    assert finish(claim()[0], BAD) is D.PENDING
    due_now(webhook)
    assert finish(claim()[0], BAD) is D.FAILED
    assert deliver_all() == ["job.started", "job.succeeded"]
    row = webhook.deliveries.get(state=D.FAILED)
    assert [(a.number, a.outcome, a.status_code) for a in row.attempts.all()] == [
        (1, "bad_status", 500),
        (2, "bad_status", 500),
    ]


def test_pauses_grow_with_jitter_up_to_a_bound() -> None:
    for tries, most in ((1, 5), (2, 20), (3, 80), (20, 6 * 3600)):
        pauses = {pause_s(tries) for _ in range(50)}
        assert len(pauses) > 1
        assert most / 2 <= min(pauses) <= max(pauses) <= most


def test_a_receiver_may_ask_for_a_longer_pause(site: Site) -> None:
    webhook, _ = make_webhook(site)
    answered(site)
    busy = Ending(AttemptOutcome.BAD_STATUS, "Busy.", 1.0, 503, retry_after_s=600.0)
    finish(claim()[0], busy)
    row = webhook.deliveries.get(kind="job.created")
    assert row.available_at > timezone.now() + timedelta(seconds=500)


def test_a_dead_deliverers_message_goes_out_again_and_its_late_note_is_refused(
    site: Site, settings: Any
) -> None:
    settings.BCWEB_WEBHOOK_ATTEMPTS = 2
    webhook, _ = make_webhook(site)
    answered(site)
    (dead,) = claim()
    assert claim() == [], "while the lease lasts nobody else sends it"
    due_now(webhook)
    (again,) = claim()
    assert (again.delivery_id, again.body) == (dead.delivery_id, dead.body)
    assert finish(dead) is None
    assert finish(again) is D.DELIVERED
    row = webhook.deliveries.get(pk=dead.delivery_id)
    assert [a.outcome for a in row.attempts.all()] == ["interrupted", "delivered"]
    # One that kills every deliverer is given up in the same number of attempts.
    for _ in range(2):
        assert [told(letter) for letter in claim()] == ["job.started"]
        due_now(webhook)
    assert [told(letter) for letter in claim()] == []
    assert webhook.deliveries.get(kind="job.started").state == D.FAILED


def test_one_that_is_gone_is_switched_off_at_once_and_one_that_fails_after_a_while(
    site: Site, settings: Any
) -> None:
    settings.BCWEB_WEBHOOK_ATTEMPTS = 1
    gone, _ = make_webhook(site, events=[WebhookEvent.JOB_CREATED])
    failing, _ = make_webhook(site, events=[WebhookEvent.JOB_STARTED])
    answered(site)
    for letter in claim():
        ended = told(letter) == "job.created"
        finish(letter, Ending(AttemptOutcome.GONE, "Gone.", 1.0, 410) if ended else BAD)
    gone.refresh_from_db()
    failing.refresh_from_db()
    assert (gone.enabled, gone.off_reason) == (False, "gone")
    assert (failing.enabled, failing.off_reason) == (True, "")
    Webhook.objects.filter(pk=failing.pk).update(failing_since=Now() - timedelta(hours=73))
    answered(site)
    (letter,) = claim()
    finish(letter, BAD)
    failing.refresh_from_db()
    assert (failing.enabled, failing.off_reason) == (False, "failing")
    events = AuditEvent.objects.filter(action="webhook.switched_off")
    assert sorted(e.detail["reason"] for e in events) == ["failing", "gone"]
    # What waits is held, and goes out when somebody switches it on.
    answered(site)
    assert claim() == []
    webhook_switch(actor=operator(site), webhook_id=failing.pk, enabled=True)
    failing.refresh_from_db()
    assert (failing.off_reason, failing.failing_since) == ("", None)


def test_one_that_fails_for_long_is_switched_off_though_its_messages_have_attempts_left(
    site: Site,
) -> None:
    webhook, _ = make_webhook(site, events=[WebhookEvent.JOB_CREATED])
    long = Now() - timedelta(hours=73)
    submit(actor=make_actor(site=site))
    Webhook.objects.filter(pk=webhook.pk).update(failing_since=long)
    finish(claim()[0], BAD)
    webhook.refresh_from_db()
    assert webhook.enabled, "a new message gets its attempts"
    webhook.deliveries.update(created_at=long)
    due_now(webhook)
    assert finish(claim()[0], BAD) is D.PENDING
    webhook.refresh_from_db()
    assert (webhook.enabled, webhook.off_reason) == (False, "failing")


def test_a_success_ends_the_time_of_failing(site: Site) -> None:
    webhook, _ = make_webhook(site)
    answered(site)
    finish(claim()[0], BAD)
    webhook.refresh_from_db()
    assert webhook.failing_since is not None
    due_now(webhook)
    finish(claim()[0])
    webhook.refresh_from_db()
    assert webhook.failing_since is None
    assert webhook.delivered_at is not None


def test_a_webhook_gets_a_few_messages_at_once_and_others_their_turn(site: Site) -> None:
    slow, _ = make_webhook(site, url="https://slow.example.org/", events=[WebhookEvent.JOB_CREATED])
    for _ in range(6):
        submit(actor=make_actor(site=site))
    assert len(claim()) == 4
    assert claim() == []
    other, _ = make_webhook(site, url="https://other.example.org/")
    webhook_ping(actor=operator(site), webhook_id=other.pk)
    assert [letter.url for letter in claim()] == [other.url]
    assert slow.deliveries.filter(state=D.PENDING).count() == 2


def test_those_that_fail_come_last_with_one_message_each_and_few_together(site: Site) -> None:
    for name in ("a", "b", "c"):
        make_webhook(site, url=f"https://dead.example.org/{name}")
    Webhook.objects.update(failing_since=Now())
    good, _ = make_webhook(site)
    for _ in range(6):
        submit(actor=make_actor(site=site))
    letters = claim(limit=8, failing=2)
    assert [letter.url for letter in letters[:4]] == [good.url] * 4
    dead = [letter for letter in letters if letter.failing]
    assert (len(letters), len({letter.url for letter in dead})) == (6, 2)
    # The third of them is not kept out for ever, and none gets a second one.
    assert [letter.failing for letter in claim(limit=8, failing=2)] == [True]
    assert claim(limit=8, failing=2) == []
    for letter in dead:
        finish(letter)
    # One that took a message is like any other again.
    assert len(claim(limit=20, failing=0)) == 8


@pytest.mark.parametrize("source", D)
@pytest.mark.parametrize("target", D)
def test_a_delivery_moves_only_as_its_lifecycle_says(source: D, target: D, site: Site) -> None:
    webhook, _ = make_webhook(site)
    ping = webhook_ping(actor=operator(site), webhook_id=webhook.pk)
    final = source in (D.DELIVERED, D.FAILED)
    WebhookDelivery.objects.filter(pk=ping.pk).update(
        state=source, finished_at=Now() if final else None
    )
    ping.refresh_from_db()
    if DELIVERY.allows(source, target):
        assert delivery_move(ping, target)
        # Whoever comes second moves nothing.
        assert delivery_move(ping, target) is (source is target)
    else:
        with pytest.raises(ValueError, match="not a legal move"):
            delivery_move(ping, target)


def test_the_database_holds_the_rules_too(site: Site) -> None:
    webhook, _ = make_webhook(site)
    ping = webhook_ping(actor=operator(site), webhook_id=webhook.pk)
    rows, hooks = WebhookDelivery.objects.filter(pk=ping.pk), Webhook.objects.filter(pk=webhook.pk)
    for what in ({"state": "MAYBE"}, {"state": "DELIVERED"}, {"kind": "job.created"}):
        with pytest.raises(IntegrityError), transaction.atomic():
            rows.update(**what)
    for what in ({"enabled": False}, {"events": ["ping"]}, {"events": []}):
        with pytest.raises(IntegrityError), transaction.atomic():
            hooks.update(**what)
    with pytest.raises(DatabaseError), transaction.atomic():
        JobEvent.objects.create(
            job=submit(actor=make_actor(site=site)).jobs.get(),
            to_state="PENDING",
            attempt=0,
            actor="x",
        )
        JobEvent.objects.all().delete()


def test_many_old_messages_go_in_one_turn(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deliveries, "TIDY_AT_ONCE", 2)
    webhook, _ = make_webhook(site)
    answered(site)
    answered(site)
    assert len(deliver_all()) == 6
    webhook.deliveries.update(finished_at=Now() - timedelta(days=31))
    monkeypatch.setattr(deliveries, "TIDY_S", 0.0)
    assert deliveries_tidy() == 0, "a turn ends when its time is up"
    monkeypatch.setattr(deliveries, "TIDY_S", 60.0)
    assert deliveries_tidy() == 6


def test_old_messages_go_and_those_on_their_way_stay(site: Site) -> None:
    webhook, _ = make_webhook(site)
    answered(site)
    finish(claim()[0])
    old = Now() - timedelta(days=31)
    webhook.deliveries.filter(state=D.DELIVERED).update(finished_at=old)
    webhook.deliveries.update(created_at=old)
    assert deliveries_tidy() == 1
    assert deliveries_tidy() == 0
    assert {row.state for row in webhook.deliveries.all()} == {D.PENDING}
    # What waits for a webhook that stays off goes too.
    webhook_switch(actor=operator(site), webhook_id=webhook.pk, enabled=False)
    assert deliveries_tidy() == 0
    Webhook.objects.filter(pk=webhook.pk).update(off_at=old)
    assert deliveries_tidy() == 2
