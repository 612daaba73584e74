"""The deliverer against a real receiver: order per job, two at once, and one that is killed."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from django.db.models.functions import Now

from cases.models import Webhook, WebhookDelivery
from cases.states import DeliveryState
from cases.vocabulary import WebhookEvent
from tests.factories import at_once, make_actor, make_site, stored_result, submit
from tests.live import ROOT
from tests.receiver import OK, Received, Receiver, Reply, receiver
from tests.webhooks import due_now, is_signed, let_call_here, make_webhook
from worker import webhooks
from worker.webhooks import Deliverer

pytestmark = pytest.mark.django_db(transaction=True)
ALL = ["PENDING", "RUNNING", "SUCCEEDED"]


@pytest.fixture
def it(settings: Any) -> Iterator[Receiver]:
    with receiver() as started:
        let_call_here(settings, started.port)
        settings.BCWEB_WEBHOOK_SECONDS = 60
        yield started


def drain(name: str = "webhooks@test") -> int:
    return Deliverer(name=name, should_stop=lambda: False).drain()


def unfinished() -> bool:
    return WebhookDelivery.objects.filter(state__in=["PENDING", "SENDING"]).exists()


def test_messages_arrive_signed_and_in_the_order_of_the_job(it: Receiver) -> None:
    site = make_site()
    webhook, secret = make_webhook(site, url=it.url)
    jobs = [submit(actor=make_actor(site=site)).jobs.get() for _ in range(3)]
    for job in jobs:
        stored_result(job)
    assert drain() == 9
    for job in jobs:
        assert it.states_of(job.pk) == ALL
    assert all(is_signed(item, secret) for item in it.received)
    assert not any(is_signed(item, "whsec_AAAA") for item in it.received)
    assert len({item.id for item in it.received}) == 9
    assert {item.headers["content-type"] for item in it.received} == {"application/json"}
    attempts = [row.attempts.get() for row in webhook.deliveries.all()]
    assert {(a.outcome, a.status_code) for a in attempts} == {("delivered", 204)}
    assert drain() == 0


def test_order_holds_under_failures_and_with_two_deliverers_at_once(
    it: Receiver, settings: Any
) -> None:
    # In fewer a message may fail each time, as threads draw the same numbers in any order.
    settings.BCWEB_WEBHOOK_ATTEMPTS = 30
    site = make_site()
    webhook, _ = make_webhook(site, url=it.url)
    jobs = [submit(actor=make_actor(site=site)).jobs.get() for _ in range(4)]
    for job in jobs:
        stored_result(job)
    chance, lock = random.Random(7), threading.Lock()
    accepted: list[Received] = []

    def answer(item: Received) -> Reply:
        with lock:
            fails = chance.random() < 0.4
            if not fails:
                accepted.append(item)
        return (500, {}) if fails else OK

    it.answer = answer
    for _ in range(60):
        if not unfinished():
            break
        due_now(webhook)
        results = at_once(2, drain)
        assert all(isinstance(made, int) for made in results), results
    assert not unfinished()
    assert set(webhook.deliveries.values_list("state", flat=True)) == {DeliveryState.DELIVERED}
    for job in jobs:
        told = [m for m in accepted if m.message["data"]["job"]["id"] == str(job.pk)]
        assert [m.message["data"]["state"] for m in told] == ALL
        # Nor was a later one so much as tried before the earlier one was taken.
        seen = it.states_of(job.pk)
        assert seen == sorted(seen, key=ALL.index)
    assert len(it.received) == sum(row.attempts.count() for row in webhook.deliveries.all())


def test_a_slow_receiver_does_not_hold_up_another(it: Receiver, settings: Any) -> None:
    site = make_site()
    slow_came, go_on = threading.Event(), threading.Event()
    with receiver() as quick:
        let_call_here(settings, it.port, quick.port)

        def wait(_: Received) -> Reply:
            slow_came.set()
            go_on.wait(60)
            return OK

        it.answer = wait
        make_webhook(site, url=it.url)
        make_webhook(site, url=quick.url)
        job = submit(actor=make_actor(site=site)).jobs.get()
        stored_result(job)
        worker = threading.Thread(target=_drain_and_close)
        worker.start()
        try:
            for _ in range(3):
                quick.came.get(timeout=60)
            assert slow_came.wait(60)
            assert quick.states_of(job.pk) == ALL
            assert len(it.received) == 1
        finally:
            go_on.set()
            worker.join(120)
    assert it.states_of(job.pk) == ALL


def test_two_dead_receivers_do_not_hold_up_a_third(it: Receiver, settings: Any) -> None:
    site, go_on = make_site(), threading.Event()
    settings.BCWEB_WEBHOOK_SECONDS = 60

    def wait(_: Received) -> Reply:
        go_on.wait(60)
        return OK

    with receiver() as dead, receiver() as quick:
        let_call_here(settings, it.port, dead.port, quick.port)
        it.answer = dead.answer = wait
        for one in (it, dead, quick):
            make_webhook(site, url=one.url)
        Webhook.objects.exclude(url=quick.url).update(failing_since=Now())
        jobs = [submit(actor=make_actor(site=site)).jobs.get() for _ in range(5)]
        for job in jobs:
            stored_result(job)
        worker = threading.Thread(target=_drain_and_close)
        worker.start()
        try:
            for _ in range(15):
                quick.came.get(timeout=60)
            assert [quick.states_of(job.pk) for job in jobs] == [ALL] * 5
            for one in (it, dead):
                one.came.get(timeout=60)
                assert len(one.received) == 1, "one that fails gets one message at a time"
        finally:
            go_on.set()
            worker.join(120)
    assert [it.states_of(job.pk) for job in jobs] == [ALL] * 5
    assert not unfinished()


def test_a_receiver_that_never_answers_does_not_keep_the_deliverer_for_ever(
    it: Receiver, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    site, go_on = make_site(), threading.Event()
    settings.BCWEB_WEBHOOK_SECONDS = 1
    monkeypatch.setattr(webhooks, "TURN_S", 0.5)

    def wait(_: Received) -> Reply:
        go_on.wait(60)
        return OK

    it.answer = wait
    make_webhook(site, url=it.url, events=[WebhookEvent.JOB_CREATED])
    for _ in range(7):
        submit(actor=make_actor(site=site))
    deliverer = Deliverer(name="w", should_stop=lambda: False)
    try:
        for made in (4, 1):
            # A turn: what goes out at once, and nothing more once that has taken its time.
            assert deliverer.drain() == made
            assert deliverer.more_waits
        assert WebhookDelivery.objects.filter(state="PENDING").count() == 7
    finally:
        go_on.set()


def _drain_and_close() -> None:
    try:
        drain()
    finally:
        connection.close()


def test_one_that_is_told_to_end_takes_nothing_more(
    it: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    # On a busy machine the answer to what it has sent may take longer than the supervisor would.
    monkeypatch.setattr(webhooks, "LAST_ANSWERS_S", 60.0)
    site = make_site()
    make_webhook(site, url=it.url)
    stored_result(submit(actor=make_actor(site=site)).jobs.get())
    told = threading.Event()

    def answer(_: Received) -> Reply:
        told.set()
        return OK

    it.answer = answer
    assert Deliverer(name="w", should_stop=told.is_set).drain() == 1
    assert len(it.received) == 1
    # What it had sent is noted: nothing is sent twice by an orderly end.
    assert drain() == 2
    assert len({item.id for item in it.received}) == 3


CHILD = (
    "import django; django.setup(); from worker.webhooks import Deliverer; "
    "Deliverer(name='doomed', should_stop=lambda: False).drain()"
)


def test_what_a_killed_deliverer_was_sending_goes_out_again_with_the_same_id(
    it: Receiver,
) -> None:
    site = make_site()
    webhook, _ = make_webhook(site, url=it.url)
    job = submit(actor=make_actor(site=site)).jobs.get()
    stored_result(job)
    dead = threading.Event()

    def hold(_: Received) -> Reply:
        dead.wait(300)
        return OK

    it.answer = hold
    base = os.environ["DATABASE_URL"].rsplit("/", 1)[0]
    environment = {
        **os.environ,
        "DATABASE_URL": f"{base}/{connection.settings_dict['NAME']}",
        "BCWEB_WEBHOOK_ALLOW": "127.0.0.0/8",
        "BCWEB_WEBHOOK_HTTP": "1",
        "BCWEB_WEBHOOK_PORTS": str(it.port),
        "BCWEB_WEBHOOK_SECONDS": "60",
    }
    child = subprocess.Popen([sys.executable, "-c", CHILD], cwd=ROOT, env=environment)
    try:
        first = it.came.get(timeout=200)
    finally:
        child.kill()
        child.wait()
        dead.set()
    it.answer = lambda _: OK
    row = webhook.deliveries.get(kind="job.created")
    assert (row.state, row.worker) == ("SENDING", "doomed")
    assert drain() == 0, "nobody else takes it while its lease lasts"
    due_now(webhook)
    assert drain() == 3
    assert it.states_of(job.pk) == ["PENDING", *ALL]
    assert [item.id for item in it.received[:2]] == [first.id] * 2
    outcomes = [attempt.outcome for attempt in row.attempts.all()]
    assert outcomes == ["interrupted", "delivered"]
