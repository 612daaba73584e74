"""Answers of a batch stored together: every fence its own, and no bad row takes others along."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from django.db import connection
from django.db.models import Value
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext

from cases.access import SYSTEM
from cases.models import AuditEvent, Image, Job, JobEvent, Result
from cases.services.jobs import job_cancel, job_rerun
from cases.services.leases import Claim, engine_jobs_claim, jobs_heartbeat, jobs_sweep
from cases.services.results import Answer, Finished, Stored, result_store, results_store
from cases.states import JobState, ModelState
from tests.cases.governing import candidate, promoted
from tests.factories import (
    WORKER,
    answer,
    at_once,
    live_model,
    make_actor,
    stored_result,
    submit,
    unique,
)
from tests.phantoms import bmode_phantom, dicom_bytes

pytestmark = pytest.mark.django_db


def claimed(count: int) -> list[Claim]:
    for _ in range(count):
        submit()
    claims = engine_jobs_claim(actor=WORKER, limit=count)
    assert len(claims) == count
    return claims


def store(claims: Sequence[Claim], said: Callable[[int], Answer] | None = None) -> Stored:
    answers = [said(n) if said else answer() for n in range(len(claims))]
    finished = [
        Finished(claim.job_id, claim.attempt, told)
        for claim, told in zip(claims, answers, strict=True)
    ]
    return results_store(actor=WORKER, finished=finished)


def states(claims: Sequence[Claim]) -> list[str]:
    state_of = dict(Job.objects.values_list("pk", "state"))
    return [state_of[claim.job_id] for claim in claims]


def queries(work: Callable[[], Any]) -> int:
    with CaptureQueriesContext(connection) as caught:
        work()
    return len(caught)


def test_a_batch_is_stored_with_one_result_event_and_audit_row_each() -> None:
    claims = claimed(3)
    stored = store(claims, lambda n: answer((n + 1) / 10))
    assert set(stored.results) == {claim.job_id for claim in claims}
    assert not stored.refused
    assert states(claims) == [JobState.SUCCEEDED] * 3
    for place, claim in enumerate(claims):
        result = Result.objects.get(job_id=claim.job_id)
        assert result.score_malignant == pytest.approx((place + 1) / 10)
        assert (result.attempt, result.image_id) == (claim.attempt, claim.image_id)
        assert JobEvent.objects.filter(job_id=claim.job_id, to_state="SUCCEEDED").count() == 1
        event = AuditEvent.objects.get(action="result.stored", object_id=str(result.pk))
        assert event.detail == {"job": str(claim.job_id), "outcome": "answered"}
        assert (event.case_id, event.site_id) == (result.image.case_id, result.job.site_id)
        assert result.image.phash == 0xF00DF00DF00DF00D - (1 << 64)


@pytest.mark.parametrize("shadow", [False, True])
def test_storing_a_batch_takes_as_many_statements_as_storing_two(shadow: bool) -> None:
    live_model()
    if shadow:
        promoted(candidate(), ModelState.SHADOW)
    few, many = claimed(2), claimed(9)
    counts = [queries(lambda batch=batch: store(batch)) for batch in (few, many)]
    assert counts[0] == counts[1]
    # In life two of them are BEGIN and COMMIT.
    assert counts[1] <= (12 if shadow else 10)
    assert Job.objects.filter(kind="shadow").count() == (11 if shadow else 0)


def test_claiming_and_keeping_a_batch_take_as_many_statements_as_for_two() -> None:
    few, many = 2, 9
    for _ in range(few + many):
        submit()
    taken: list[list[Claim]] = []
    counts = [
        queries(lambda n=n: taken.append(engine_jobs_claim(actor=WORKER, limit=n)))
        for n in (few, many)
    ]
    assert [len(claims) for claims in taken] == [few, many]
    assert counts[0] == counts[1] <= 10
    assert queries(lambda: jobs_heartbeat(claims=taken[1])) == 1


def test_who_was_called_off_or_overtaken_is_left_out_and_the_rest_is_stored() -> None:
    actor = make_actor()
    submit(actor=actor)
    claims = engine_jobs_claim(actor=WORKER, limit=1) + claimed(2)
    job_cancel(actor=actor, job_id=claims[0].job_id)
    Job.objects.filter(pk=claims[1].job_id).update(
        lease_expires_at=Now() - Value(timedelta(seconds=1))
    )
    assert jobs_sweep(actor=SYSTEM)["requeued"] == 1
    Job.objects.filter(pk=claims[1].job_id).update(available_at=Now())
    (again,) = engine_jobs_claim(actor=WORKER, limit=9)
    assert (again.job_id, again.attempt) == (claims[1].job_id, 2)
    stored = store(claims)
    assert set(stored.results) == {claims[2].job_id}
    assert not stored.refused
    assert states(claims) == [JobState.CANCELLED, JobState.RUNNING, JobState.SUCCEEDED]
    # The one who took over has the fence's pair of id and attempt.
    assert set(store([again]).results) == {again.job_id}


def test_attempts_of_different_numbers_are_fenced_together() -> None:
    first, second = claimed(2)
    Job.objects.filter(pk=second.job_id).update(attempt=2)
    later = replace(second, attempt=2)
    # The numbers swapped: neither is right.
    swapped = [replace(first, attempt=2), replace(later, attempt=1)]
    assert jobs_heartbeat(claims=swapped) == frozenset()
    assert store(swapped) == Stored({})
    assert jobs_heartbeat(claims=[first, later]) == {first.job_id, second.job_id}
    assert set(store([first, later]).results) == {first.job_id, second.job_id}


def test_a_heartbeat_extends_the_leases_that_are_still_held() -> None:
    held, lost = claimed(2)
    Job.objects.filter(pk=lost.job_id).update(attempt=2)
    Job.objects.update(lease_expires_at=Now())
    assert jobs_heartbeat(claims=[held, lost]) == {held.job_id}
    assert Job.objects.get(lease_expires_at__gt=Now()).pk == held.job_id


def test_a_second_store_of_the_same_batch_writes_nothing() -> None:
    claims = claimed(3)
    store(claims)
    before = AuditEvent.objects.count(), JobEvent.objects.count()
    assert store(claims, lambda n: answer(0.1)) == Stored({})
    assert (AuditEvent.objects.count(), JobEvent.objects.count()) == before
    assert set(Result.objects.values_list("score_malignant", flat=True)) == {0.8}


@pytest.mark.parametrize(
    "wrong",
    [
        # A constraint, and a type the driver or the server does not take.
        {"scores": {"benign": 2.0, "malignant": 0.0, "normal": 0.0}},
        {"heatmap_rows": 10**6},
    ],
)
def test_a_row_that_the_database_refuses_loses_its_batch_mates_nothing(
    wrong: dict[str, Any],
) -> None:
    claims = claimed(4)
    stored = store(claims, lambda n: replace(answer(), **wrong) if n == 1 else answer())
    assert stored.refused == {claims[1].job_id}
    assert set(stored.results) == {claims[n].job_id for n in (0, 2, 3)}
    assert states(claims) == ["SUCCEEDED", "RUNNING", "SUCCEEDED", "SUCCEEDED"]
    assert not Result.objects.filter(job_id=claims[1].job_id).exists()
    assert not JobEvent.objects.filter(job_id=claims[1].job_id, to_state="SUCCEEDED").exists()


def test_a_hash_that_is_known_is_not_written_again() -> None:
    job = submit().jobs.get()
    stored_result(job)
    again = job_rerun(actor=SYSTEM, job_id=job.pk)
    (claim,) = engine_jobs_claim(actor=WORKER, limit=1)
    assert claim.job_id == again.pk
    before = Image.objects.get().phash
    store([claim], lambda n: replace(answer(), phash=7))
    assert Image.objects.get().phash == before


@pytest.mark.django_db(transaction=True)
def test_the_same_batch_stored_at_once_gives_each_job_one_result() -> None:
    claims = claimed(6)
    orders = [list(claims), list(reversed(claims))]
    told = at_once(2, lambda: store(orders.pop()))
    assert all(isinstance(one, Stored) for one in told), told
    assert sorted(len(one.results) for one in told) == [0, 6]
    assert Result.objects.count() == 6


@pytest.mark.django_db(transaction=True)
def test_batches_about_the_same_images_in_other_orders_do_not_hold_each_other_up() -> None:
    # Two frames each of four cines: one batch has the first frames, the other the second ones.
    sent = [
        submit(
            files=[dicom_bytes(np.stack([bmode_phantom(unique(), size=(90, 100))] * 3))],
            patient_id="",
        ).jobs.get()
        for _ in range(4)
    ]
    first = engine_jobs_claim(actor=WORKER, limit=4)
    store(first)
    Image.objects.update(phash=None)
    batches = []
    for backward in (False, True):
        for one in sent[::-1] if backward else sent:
            others = [frame for frame in range(3) if frame != one.frame]
            job_rerun(actor=SYSTEM, job_id=one.pk, frame=others[int(backward)])
        batches.append(engine_jobs_claim(actor=WORKER, limit=4))
    told = at_once(2, lambda: store(batches.pop()))
    assert [len(one.results) for one in told] == [4, 4], told
    assert Result.objects.count() == 12


def test_storing_one_is_storing_a_batch_of_one() -> None:
    (claim,) = claimed(1)
    result = result_store(
        actor=WORKER, job_id=claim.job_id, attempt=claim.attempt, answer=answer(0.3)
    )
    assert result is not None
    assert result.score_malignant == 0.3
    assert states([claim]) == [JobState.SUCCEEDED]
