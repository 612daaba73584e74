"""Sealing beside transactions that write events, and two sealers at once."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from django.db import connection, transaction

from cases.access import SYSTEM
from cases.models import AuditEvent, AuditSeal
from cases.sealing import Row, entries_unpack
from cases.selectors.seals import ChainCheck
from cases.services import seals
from cases.services.audit import audit_record
from cases.services.seals import Sealing, audit_seal
from tests.live import wait_for

pytestmark = pytest.mark.django_db(transaction=True)


def record() -> int:
    return audit_record(actor=SYSTEM, action="thing.done", object_type="thing").pk


def listed() -> list[int]:
    return [
        event_id
        for entries in AuditSeal.objects.order_by("number").values_list("entries", flat=True)
        for event_id, _ in entries_unpack(bytes(entries))
    ]


def assert_whole_and_complete() -> None:
    assert [str(fault) for fault in ChainCheck().faults()] == []
    assert listed() == list(AuditEvent.objects.order_by("id").values_list("id", flat=True))


class Writer:
    """An event written on a connection of its own and not committed before it is told to."""

    def __init__(self, *, commit: bool = True, savepoint: bool = False) -> None:
        self.event: int | None = None
        self._commit, self._savepoint = commit, savepoint
        self._written, self._go = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run)

    def start(self) -> int:
        self._thread.start()
        assert self._written.wait(120)
        assert self.event is not None
        return self.event

    def end(self) -> None:
        self._go.set()
        self._thread.join(300)

    def _run(self) -> None:
        try:
            with transaction.atomic():
                if self._savepoint:
                    with transaction.atomic():
                        self.event = record()
                else:
                    self.event = record()
                self._written.set()
                assert self._go.wait(300)
                transaction.set_rollback(not self._commit)
        finally:
            connection.close()


@contextmanager
def writing(**how: bool) -> Iterator[tuple[int, Writer]]:
    writer = Writer(**how)
    try:
        yield writer.start(), writer
    finally:
        writer.end()


def sealing(patience_s: float, *, wait: bool = False) -> Sealing:
    try:
        return audit_seal(seconds=None, patience_s=patience_s, wait=wait)
    finally:
        connection.close()


@pytest.mark.parametrize("savepoint", [False, True])
def test_an_event_that_is_committed_late_is_not_passed_over(savepoint: bool) -> None:
    first = record()
    with writing(savepoint=savepoint) as (late, writer):
        after = record()
        assert first < late < after
        assert audit_seal(patience_s=0.2) == Sealing(0, 0, False)
        assert AuditSeal.objects.count() == 0
        writer.end()
        assert audit_seal() == Sealing(1, 3, True)
    assert_whole_and_complete()
    assert listed() == [first, late, after]


def test_what_is_rolled_back_leaves_a_gap_and_nothing_to_wait_for() -> None:
    with writing(commit=False) as (gap, writer):
        after = record()
        writer.end()
        assert audit_seal(patience_s=0) == Sealing(1, 1, True)
    assert listed() == [after]
    assert gap < after
    assert_whole_and_complete()


def test_it_waits_for_those_who_were_writing_and_not_for_who_comes_after() -> None:
    with writing() as (late, before), ThreadPoolExecutor(1) as pool:
        seen = record()
        turn = pool.submit(sealing, 300)
        wait_for("the sealer to look who writes", _has_looked)
        with writing() as (coming, after):
            before.end()
            assert turn.result(300) == Sealing(1, 2, True)
            assert listed() == [late, seen]
            after.end()
        assert audit_seal() == Sealing(1, 1, True)
        assert listed() == [late, seen, coming]
    assert_whole_and_complete()


def _has_looked() -> bool:
    """Another session knows who writes: its last query, now at its end, asked for the locks."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT 1 FROM pg_stat_activity WHERE query LIKE '%virtualtransaction FROM pg_locks%'"
            " AND state = 'idle' AND pid <> pg_backend_pid() AND datname = current_database()"
        )
        return cursor.fetchone() is not None


def test_a_transaction_that_only_reads_holds_nothing_up() -> None:
    record()
    read, go = threading.Event(), threading.Event()

    def look() -> None:
        try:
            with transaction.atomic():
                AuditEvent.objects.count()
                read.set()
                assert go.wait(300)
        finally:
            connection.close()

    thread = threading.Thread(target=look)
    thread.start()
    try:
        assert read.wait(120)
        assert audit_seal(patience_s=0) == Sealing(1, 1, True)
    finally:
        go.set()
        thread.join(300)


def test_of_two_sealers_at_once_one_seals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seals, "SEAL_EVENTS", 1)
    for _ in range(3):
        record()
    busy, go = threading.Event(), threading.Event()
    pack = seals.entries_pack

    def slowly(rows: Sequence[Row]) -> bytes:
        busy.set()
        assert go.wait(300)
        return pack(rows)

    with ThreadPoolExecutor(2) as pool:
        monkeypatch.setattr(seals, "entries_pack", slowly)
        one = pool.submit(sealing, 60)
        assert busy.wait(120)
        assert audit_seal() == Sealing(0, 0, False)
        other = pool.submit(sealing, 60, wait=True)
        go.set()
        assert one.result(300).seals + other.result(300).seals == 3
    assert_whole_and_complete()


def test_many_writers_and_two_sealers_leave_each_event_sealed_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(seals, "SEAL_EVENTS", 7)
    done = threading.Event()

    def write(seed: int) -> None:
        dice = random.Random(seed)
        try:
            for _ in range(25):
                with transaction.atomic():
                    for _ in range(dice.randrange(1, 4)):
                        record()
                    transaction.set_rollback(dice.random() < 0.3)
        finally:
            connection.close()

    def seal() -> int:
        count = 0
        try:
            while not done.is_set():
                count += audit_seal(patience_s=10).seals
        finally:
            connection.close()
        return count

    with ThreadPoolExecutor(6) as pool:
        sealers = [pool.submit(seal) for _ in range(2)]
        writers = [pool.submit(write, seed) for seed in range(4)]
        for writer in writers:
            writer.result(300)
        done.set()
        assert sum(sealer.result(300) for sealer in sealers) > 1
    audit_seal(seconds=None)
    assert_whole_and_complete()
