"""The doorbell: one ring is enough until somebody answers it, and none is lost."""

from __future__ import annotations

from uuid import uuid4

import pytest
from django.core.cache import cache

from cases import queue
from cases.access import SYSTEM
from cases.models import Job, WebhookDelivery
from cases.services.leases import jobs_sweep
from cases.vocabulary import JobKind
from tests.factories import make_actor, make_site, submit
from tests.webhooks import make_webhook
from tests.worker.rings import Rings
from worker import process, webhooks


@pytest.fixture
def rings(monkeypatch: pytest.MonkeyPatch) -> Rings:
    return Rings(monkeypatch)


def ring(kind: JobKind = JobKind.INFERENCE, jobs: int = 1, **how: bool) -> None:
    queue.ring(kind=kind, job_ids=[uuid4() for _ in range(jobs)], **how)


def test_a_bell_that_rings_is_not_rung_again_until_it_is_answered(rings: Rings) -> None:
    ring()
    ring()
    ring(JobKind.REPLAY)
    assert rings.taken() == ["worker.tasks.run_inference"]
    queue.bell_answer("inference")
    ring()
    assert rings.taken() == ["worker.tasks.run_inference"]


def test_a_delivery_of_many_images_wakes_several_workers(rings: Rings) -> None:
    ring(jobs=50)
    assert len(rings.taken()) == queue.MAX_RINGS


def test_the_sweeper_rings_whatever_rings_already(rings: Rings) -> None:
    ring()
    ring(sure=True)
    assert len(rings.taken()) == 2


def test_other_workers_are_rung_for_each_time(rings: Rings) -> None:
    ring(JobKind.TRAINING)
    ring(JobKind.TRAINING)
    assert len(rings.taken()) == 2


def test_a_bell_falls_silent_by_itself(rings: Rings) -> None:
    ring()
    cache.delete(f"bell:{rings.names['inference']}")  # as its time does
    ring()
    assert len(rings.taken()) == 2


DELIVER = "worker.tasks.deliver_webhooks"


@pytest.mark.django_db(transaction=True)
def test_many_moves_ring_the_deliverer_once_until_it_answers(rings: Rings) -> None:
    site = make_site()
    make_webhook(site)
    for _ in range(3):
        submit(actor=make_actor(site=site))
    assert rings.taken().count(DELIVER) == 1
    # It answers, and finds nothing that is due.
    WebhookDelivery.objects.update(available_at="2100-01-01T00:00:00Z")
    process.deliver()
    assert rings.taken() == []
    submit(actor=make_actor(site=site))
    assert rings.taken().count(DELIVER) == 1


@pytest.mark.django_db(transaction=True)
def test_a_deliverer_whose_turn_is_over_rings_for_itself(
    rings: Rings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "TURN_S", 0.0)
    process.deliver()
    assert rings.taken() == [DELIVER]


@pytest.mark.django_db(transaction=True)
def test_a_worker_takes_the_bell_off_before_it_looks(
    rings: Rings, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    class Looks:
        reading, more_waits = None, False

        def drain(self) -> int:
            # Somebody submits at the very moment: the bell must be heard again.
            submit()
            seen.append(len(rings.taken()))
            return 0

    submit()
    assert len(rings.taken()) == 1
    monkeypatch.setattr(process, "_runner", Looks())
    process.work()
    assert seen == [1]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("more", [True, False])
def test_a_worker_whose_turn_is_over_rings_for_itself(
    rings: Rings, monkeypatch: pytest.MonkeyPatch, more: bool
) -> None:
    class Leaves:
        reading, more_waits = None, more

        def drain(self) -> int:
            return 2

    monkeypatch.setattr(process, "_runner", Leaves())
    assert process.work() == 2
    assert len(rings.taken()) == int(more)


@pytest.mark.django_db(transaction=True)
def test_what_waits_in_spite_of_a_ringing_bell_is_rung_for_by_the_sweeper(rings: Rings) -> None:
    submit()
    submit()
    assert len(rings.taken()) == 1
    Job.objects.update(available_at="2020-01-01T00:00:00Z")
    assert jobs_sweep(actor=SYSTEM)["rung"] == 2
    assert len(rings.taken()) == 2
