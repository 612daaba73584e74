"""Back-pressure: what counts as no room, and what a disk that fills up leaves behind."""

from __future__ import annotations

import errno
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError
from psycopg.errors import DiskFull

from cases import intake
from cases.errors import Overloaded
from cases.models import AuditEvent, Blob, Case, Image, Job, Patient, Submission
from cases.selectors.room import (
    Shortage,
    disk_is_full,
    queue_is_full,
    shortage_now,
    waiting_at,
)
from cases.services.fields import submission_fields_parse
from cases.services.jobs import job_cancel, job_rerun
from cases.services.leases import engine_jobs_claim
from cases.services.room import room_require
from cases.services.submission import submission_create
from cases.storage import PostgresStorage
from cases.vocabulary import PriorityRank
from tests.factories import WORKER, live_model, make_actor, phantom_jpeg, stored_result, submit
from tests.queued import lengthen_queue

pytestmark = pytest.mark.django_db

MIB = 1024 * 1024


def nothing_stored() -> bool:
    kinds = (Submission, Case, Patient, Image, Job)
    return (
        not any(kind.objects.exists() for kind in kinds)
        and not Blob.objects.filter(name__startswith="blobs/").exists()
        and not AuditEvent.objects.filter(action="submission.created").exists()
    )


def test_the_queue_is_full_at_its_limit_and_not_before(settings: Any) -> None:
    settings.BCWEB_MAX_QUEUE = 3
    lengthen_queue(1)
    assert not queue_is_full()
    lengthen_queue(0)
    assert queue_is_full()
    assert shortage_now() is Shortage.QUEUE


def test_jobs_in_hand_and_ended_ones_take_no_room(settings: Any) -> None:
    settings.BCWEB_MAX_QUEUE = 1
    job = lengthen_queue(0)
    assert queue_is_full()
    engine_jobs_claim(actor=WORKER, limit=1)
    assert not queue_is_full()
    job_cancel(actor=make_actor(site=job.site), job_id=job.pk)
    assert not queue_is_full()


def test_a_tenth_is_kept_for_stat_images(settings: Any) -> None:
    settings.BCWEB_MAX_QUEUE = 20
    actor = make_actor()
    lengthen_queue(19)
    for urgency in (PriorityRank.ROUTINE, PriorityRank.URGENT):
        with pytest.raises(Overloaded):
            room_require(priority=urgency)
    # At the door nobody knows: it may be one.
    room_require()
    with pytest.raises(Overloaded):
        submit(actor=actor, priority="urgent")
    taken = submit(actor=actor, priority="stat").jobs.get()
    assert taken.priority == PriorityRank.STAT
    submit(actor=actor, priority="stat")
    with pytest.raises(Overloaded):
        submit(actor=actor, priority="stat")
    with pytest.raises(Overloaded):
        room_require()


def test_no_limit_is_no_limit(settings: Any) -> None:
    settings.BCWEB_MAX_QUEUE = 0
    lengthen_queue(5)
    assert not queue_is_full()


def test_a_long_queue_is_walked_no_further_than_the_limit(settings: Any) -> None:
    settings.BCWEB_MAX_QUEUE = 100
    lengthen_queue(30_000)
    # As it is asked, whatever else the planner may think of.
    plan = waiting_at(100).explain(analyze=True, timing=False, costs=False)
    assert "job_queue" in plan
    assert "rows=100 " in plan or "rows=100.00 " in plan
    assert "Seq Scan" not in plan
    assert "Sort" not in plan
    assert queue_is_full()


@pytest.mark.parametrize(("incoming", "full"), [(0, False), (2 * MIB, True)])
def test_a_disk_is_full_where_the_upload_would_not_fit(
    settings: Any, small_disk: Path, incoming: int, full: bool
) -> None:
    settings.FILE_UPLOAD_TEMP_DIR = str(small_disk)
    assert disk_is_full(incoming=incoming) is full


def test_the_database_keeps_its_reserve(settings: Any, small_disk: Path) -> None:
    settings.POSTGRES_DATA = small_disk
    assert disk_is_full()
    settings.BCWEB_RESERVE_MB = 0
    assert not disk_is_full()


def test_on_one_disk_an_upload_needs_room_twice(settings: Any, small_disk: Path) -> None:
    settings.FILE_UPLOAD_TEMP_DIR = str(small_disk)
    settings.POSTGRES_DATA = small_disk
    settings.BCWEB_RESERVE_MB = 1
    subprocess.check_call(["mount", "-o", "remount,size=4m", str(small_disk)])
    assert not disk_is_full(incoming=MIB)
    assert disk_is_full(incoming=2 * MIB)


def test_there_is_room_again_once_workers_took_some(settings: Any) -> None:
    settings.BCWEB_MAX_QUEUE = 1
    first = submit().jobs.get()
    routine = PriorityRank.ROUTINE
    with pytest.raises(Overloaded) as refused:
        room_require(priority=routine)
    assert refused.value.retry_after == 30
    stored_result(first)
    room_require(priority=routine)


def test_a_rerun_is_new_work(settings: Any) -> None:
    actor = make_actor()
    ended = submit(actor=actor).jobs.get()
    stored_result(ended)
    settings.BCWEB_MAX_QUEUE = 1
    lengthen_queue(0)
    with pytest.raises(Overloaded):
        job_rerun(actor=actor, job_id=ended.pk)
    assert not Job.objects.filter(rerun_of=ended).exists()
    settings.BCWEB_MAX_QUEUE = 2
    assert job_rerun(actor=actor, job_id=ended.pk).rerun_of_id == ended.pk


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MiB; skips where this user may not mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("may not mount a small disk")
    yield folder
    subprocess.check_call(["umount", str(folder)])


def send(data: bytes) -> None:
    live_model()
    with intake.receive([data], "a.jpg") as file:
        submission_create(
            actor=make_actor(),
            fields=submission_fields_parse({"patient_id": "P1"}),
            uploads=[upload_of_received(file)],
        )


def upload_of_received(file: intake.ReceivedFile) -> Any:
    from cases.services.uploads import Upload

    return Upload(file)


class _FullStorage(PostgresStorage):
    """Takes what comes, and has no room for the last bytes."""

    def _save(self, name: str, content: Any) -> str:
        super()._save(name, content)
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_storage_that_fills_up_while_it_stores_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    live_model()
    monkeypatch.setattr("cases.storage.uploads", lambda: _FullStorage())
    with pytest.raises(Overloaded) as refused:
        send(phantom_jpeg())
    assert refused.value.retry_after == 60
    assert nothing_stored()


def test_a_database_without_room_for_the_bytes_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    live_model()

    def full(*_: Any, **__: Any) -> None:
        raise OperationalError("could not extend file") from DiskFull("could not extend file")

    monkeypatch.setattr("cases.services.filing.store_once", full)
    with pytest.raises(Overloaded) as refused:
        send(phantom_jpeg())
    assert refused.value.retry_after == 60
    assert nothing_stored()


def test_another_fault_of_the_storage_stays_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    live_model()

    def broken(*_: Any, **__: Any) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("cases.services.filing.store_once", broken)
    with pytest.raises(OSError, match="Input/output"):
        send(phantom_jpeg())
    assert nothing_stored()
