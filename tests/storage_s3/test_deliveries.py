"""Rows and bytes in two systems: whatever fails in between, no row is without its bytes, and bytes
without a row are cleared away or found."""

from __future__ import annotations

import io
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.management import CommandError, call_command
from django.db import connection, transaction

from cases.access import SYSTEM
from cases.models import AuditEvent, Case, Image, Job, ModelVersion, Submission
from cases.services.leases import engine_jobs_claim
from cases.services.verification import orphan_delete
from cases.states import JobState
from cases.storage import blob_name, read_bytes, store_once, uploads
from tests.api.contract import Api
from tests.cases.erasing import erase
from tests.factories import (
    WORKER,
    live_model,
    make_actor,
    make_site,
    make_token,
    phantom_jpeg,
    submit,
)
from tests.live import wait_for
from tests.s3 import Gate
from tests.storage_s3.conftest import Bucket
from worker.runner import Runner

pytestmark = pytest.mark.django_db(transaction=True)


def verify(*words: str) -> tuple[int, list[str]]:
    """(exit code, lines on stdout)."""
    out = io.StringIO()
    try:
        call_command("verify_storage", *words, stdout=out)
    except CommandError as error:
        return error.returncode, out.getvalue().splitlines()
    return 0, out.getvalue().splitlines()


def an_api() -> Api:
    live_model()
    return Api(make_token(site=make_site())[1])


def nothing_stored() -> bool:
    return not any(model.objects.exists() for model in (Case, Submission, Image, Job))


@contextmanager
def delivery_under_way(name: str) -> Iterator[threading.Event]:
    """A thread has stored ``name``, and its transaction is open: the event rolls it back."""
    stored, finish = threading.Event(), threading.Event()

    def deliver() -> None:
        try:
            with transaction.atomic():
                store_once(name, ContentFile(b"of a delivery"))
                stored.set()
                finish.wait(600)
                transaction.set_rollback(True)
            uploads().tidy()
        finally:
            connection.close()

    thread = threading.Thread(target=deliver)
    thread.start()
    try:
        assert stored.wait(60)
        yield finish
    finally:
        finish.set()
        thread.join()


def test_a_delivery_is_stored_and_read_from_the_bucket(bucket: Bucket) -> None:
    api, data = an_api(), phantom_jpeg()
    response = api.submit([data], patient_id="P1")
    assert response.status_code == 202
    image = Image.objects.get()
    assert bucket.get(image.storage_name) == data
    model = ModelVersion.objects.get()
    # By content: nothing of a file's name or of a patient is in a key.
    assert bucket.names() == {image.storage_name, model.storage_name}
    assert image.storage_name == blob_name(image.sha256)
    code, lines = verify()
    assert code == 0
    assert "(2 objects, 2 rows, 2 read again" in lines[0]


def test_a_server_that_goes_away_in_the_middle_leaves_no_row(bucket: Bucket, gate: Gate) -> None:
    api = an_api()
    before = bucket.names()
    gate.puts_until_down = 1
    response = api.submit([phantom_jpeg(), phantom_jpeg()], patient_id="P1")
    assert response.status_code == 503
    assert response.json()["code"] == "overloaded"
    assert int(response.headers["Retry-After"]) > 0
    assert nothing_stored()
    # The first file had arrived, and could not be taken back: there was nobody to ask.
    (left,) = bucket.names() - before
    gate.up()
    assert verify() == (1, [f"orphan - {left}"])
    # Too young to be cleared away by the command, which cannot know what else uses the bucket.
    assert verify("--delete-orphans") == (1, [f"orphan - {left}"])
    assert orphan_delete(actor=SYSTEM, name=left, older_than=timedelta(0))
    assert AuditEvent.objects.get(action="storage.orphan_deleted").detail["name"] == left
    assert verify()[0] == 0


def test_what_a_refused_delivery_stored_goes_with_the_request(bucket: Bucket, gate: Gate) -> None:
    api = an_api()
    before = bucket.names()
    gate.puts_until_down, gate.only_puts = 1, True
    response = api.submit([phantom_jpeg(), phantom_jpeg()], patient_id="P1")
    assert response.status_code == 503
    assert nothing_stored()
    assert bucket.names() == before
    gate.up()
    assert api.submit([phantom_jpeg()], patient_id="P1").status_code == 202
    assert verify()[0] == 0


def test_a_delivery_under_way_is_no_orphan(bucket: Bucket) -> None:
    """Its object can be seen by everybody, its row by nobody yet."""
    name = blob_name("1" * 64)
    with delivery_under_way(name) as finish:
        assert bucket.names() == {name}
        code, lines = verify("--delete-orphans", "--older-than", "1")
        assert code == 0
        assert "1 in progress" in lines[0]
        assert not orphan_delete(actor=SYSTEM, name=name, older_than=timedelta(0))
        finish.set()
    assert bucket.names() == set()


def test_two_deliveries_of_the_same_bytes_and_the_first_comes_to_nothing(bucket: Bucket) -> None:
    """The second relies on what the first has stored, and must not lose it."""
    data = phantom_jpeg()
    actor = make_actor(site=make_site())
    live_model()
    stored, outcome = threading.Event(), []

    def first() -> None:
        try:
            with transaction.atomic():
                submit(actor=actor, files=[data], patient_id="P1")
                stored.set()
                # Not before the second waits for our lock on these bytes.
                wait_for("the second to wait", waiting)
                transaction.set_rollback(True)
            uploads().tidy()
        finally:
            connection.close()

    def second() -> None:
        try:
            outcome.append(submit(actor=actor, files=[data], patient_id="P2"))
        finally:
            connection.close()

    threads = [threading.Thread(target=first)]
    threads[0].start()
    assert stored.wait(60)
    threads.append(threading.Thread(target=second))
    threads[1].start()
    for thread in threads:
        thread.join()
    assert len(outcome) == 1
    assert read_bytes(Image.objects.get().storage_name) == data
    assert verify()[0] == 0


def waiting() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted LIMIT 1")
        return cursor.fetchone() is not None


def test_missing_altered_and_orphaned_objects_are_found(bucket: Bucket) -> None:
    missing, altered, longer = (submit().images.get() for _ in range(3))
    bucket.delete(missing.storage_name)
    data = bytearray(bucket.get(altered.storage_name))
    data[len(data) // 2] ^= 1
    bucket.put(altered.storage_name, bytes(data))
    bucket.put(longer.storage_name, bucket.get(longer.storage_name) + b"x")
    bucket.put(blob_name("0" * 64), b"nobody's")
    code, lines = verify()
    assert code == 1
    assert set(lines) == {
        f"missing image:{missing.pk} {missing.storage_name}",
        f"altered image:{altered.pk} {altered.storage_name}",
        f"altered image:{longer.pk} {longer.storage_name}",
        f"orphan - {blob_name('0' * 64)}",
    }


def test_a_server_that_is_away_is_said_and_is_no_fault_of_the_bytes(
    bucket: Bucket, gate: Gate
) -> None:
    submit()
    gate.is_down = True
    assert verify() == (1, [])


def test_an_erasure_takes_the_objects_and_one_that_fails_takes_none(bucket: Bucket) -> None:
    site = make_site()
    admin = make_actor(roles=["admin"], site=site)
    case = submit(actor=make_actor(site=site)).case
    name = case.images.get().storage_name
    with pytest.raises(RuntimeError), transaction.atomic():
        erase(admin, case)
        raise RuntimeError
    assert name in bucket.names()
    assert verify()[0] == 0
    erase(admin, case)
    assert name not in bucket.names()
    assert verify()[0] == 0


def test_an_erasure_while_the_server_is_away_leaves_an_orphan_to_be_found(
    bucket: Bucket, gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    site = make_site()
    case = submit(actor=make_actor(site=site), files=[phantom_jpeg(), phantom_jpeg()]).case
    names = sorted(case.images.values_list("storage_name", flat=True))
    gate.is_down = True
    gate.seen.clear()
    caplog.set_level(logging.INFO)
    erase(make_actor(roles=["admin"], site=site), case)
    # Asked for one of them, and no more: somebody waits.
    assert [line.split()[0] for line in gate.seen] == ["DELETE"]
    entries = [record.msg for record in caplog.records if isinstance(record.msg, dict)]
    told: dict[str, Any] = {entry["event"]: entry for entry in entries}
    assert set(names) <= set(told["stored_bytes_going"]["names"])
    assert told["stored_bytes_left"]["remaining"] == len(told["stored_bytes_going"]["names"])
    gate.up()
    assert verify() == (1, [f"orphan - {name}" for name in names])
    for name in names:
        assert orphan_delete(actor=SYSTEM, name=name, older_than=timedelta(0))


def test_a_batch_waits_as_a_whole_and_is_not_asked_for_one_by_one(
    bucket: Bucket, gate: Gate
) -> None:
    jobs = [submit().jobs.get() for _ in range(3)]
    claims = engine_jobs_claim(actor=WORKER, limit=3)
    gate.is_down = True
    gate.seen.clear()
    Runner(name="tests").process(claims)
    assert len(gate.seen) == 1
    assert {job.state for job in Job.objects.all()} == {JobState.PENDING}
    for job in jobs:
        job.refresh_from_db()
        assert job.max_attempts - job.attempt == 3


def test_a_job_whose_bytes_cannot_be_had_now_waits_and_is_not_failed(
    bucket: Bucket, gate: Gate
) -> None:
    job = submit().jobs.get()
    gate.is_down = True
    runner = Runner(name="tests")
    runner.process(engine_jobs_claim(actor=WORKER, limit=1))
    job.refresh_from_db()
    assert (job.state, job.error_code) == (JobState.PENDING, "")
    assert job.max_attempts - job.attempt == 3
    # While a missing object fails it at once: no waiting brings it back.
    gate.up()
    Job.objects.update(available_at=job.created_at)
    bucket.delete(job.image.storage_name)
    runner.process(engine_jobs_claim(actor=WORKER, limit=1))
    job.refresh_from_db()
    assert (job.state, job.error_code) == (JobState.FAILED, "storage_damaged")
