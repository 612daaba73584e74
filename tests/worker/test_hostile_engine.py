"""An engine that was broken into: whatever it sends ends as a fault of its batch, in time."""

from __future__ import annotations

import itertools
import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from worker import wire
from worker.engine import EngineFaultError, EngineOptions, EngineProcess

Hostile = Callable[[socket.socket], None]
Connect = Callable[..., EngineProcess]


@pytest.fixture
def connect() -> Iterator[Connect]:
    """A worker whose child is a thread of this test that does as it likes with its socket."""
    threads: list[threading.Thread] = []
    workers: list[EngineProcess] = []

    def make(child: Hostile, **options: Any) -> EngineProcess:
        ours, theirs = socket.socketpair()

        def run() -> None:
            # The worker hangs up on it: that is what is wanted.
            with theirs:
                try:
                    child(theirs)
                except OSError:
                    return

        thread = threading.Thread(target=run)
        worker = EngineProcess(EngineOptions(**options))
        worker._sock = ours
        worker._child = SimpleNamespace(  # type: ignore[assignment]
            poll=lambda: None, pid=0, kill=lambda: None, wait=lambda **_: 0
        )
        threads.append(thread)
        workers.append(worker)
        thread.start()
        return worker

    yield make
    for worker in workers:
        worker.close()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()


def message(header: str, *blobs: bytes) -> bytes:
    return struct.pack("!I", len(header)) + header.encode() + b"".join(blobs)


def saying(data: bytes) -> Hostile:
    """Send ``data`` for an answer, then wait to be hung up on."""

    def child(sock: socket.socket) -> None:
        wire.receive(sock)
        sock.sendall(data)
        sock.recv(1)

    return child


def reply(answers: Any, blobs: Any = ()) -> bytes:
    return message(json.dumps({"answers": answers, "blobs": list(blobs)}))


def one_byte_at_a_time(sock: socket.socket) -> None:
    """A header that is announced as long and never ends."""
    sock.sendall(struct.pack("!I", wire.MAX_HEADER))
    for _ in itertools.count():
        sock.sendall(b" ")


@pytest.mark.parametrize(
    "data",
    [
        reply([5]),
        reply([None]),
        reply({"0": {}}),
        reply([{}, {}]),
        reply([{}], [10, 10]),
        reply([{}], [wire.MAX_HEATMAP + 1]),
        reply([{}], [1.0]),
        reply([{}], [True]),
        reply([{}], [-1]),
        message('{"answers": [{}], "blobs": [Infinity]}'),
        message('{"answers": [{}], "blobs": 5}'),
        message("[" * 1_000_000),
        message("[]"),
    ],
    ids=lambda data: repr(data[4:50]),
)
def test_nonsense_is_a_fault_and_ends_the_child(connect: Connect, data: bytes) -> None:
    worker = connect(saying(data), batch_s=60)
    with pytest.raises(EngineFaultError) as fault:
        worker.predict("sha", [b"picture"], lambda: None)
    assert fault.value.code == "engine_crashed"
    assert worker.pid is None


def test_as_many_heatmaps_as_pictures_come_through(connect: Connect) -> None:
    maps = bytes(wire.MAX_HEATMAP)
    answers = [{"heatmap_shape": [3, 64, 64]}] * 2
    data = reply(answers, [len(maps)] * 2) + maps + maps
    worker = connect(saying(data), batch_s=60)
    assert worker.predict("sha", [b"a", b"b"], lambda: None) == [(answers[0], maps)] * 2


def test_an_engine_that_never_stops_sending_is_ended_at_the_limit(connect: Connect) -> None:
    # Long enough for a first beat, wherever the processor is meanwhile.
    worker = connect(one_byte_at_a_time, batch_s=2)
    beats: list[int] = []
    with pytest.raises(EngineFaultError) as fault:
        worker.predict("sha", [b"picture"], lambda: beats.append(1))
    assert fault.value.code == "engine_timeout"
    # The leases were kept meanwhile.
    assert beats


def test_an_engine_that_grows_while_it_sends_is_ended(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = connect(one_byte_at_a_time, batch_s=60, memory_mb=100)
    monkeypatch.setattr(worker, "_resident_mb", lambda: 101)
    with pytest.raises(EngineFaultError) as fault:
        worker.predict("sha", [b"picture"], lambda: None)
    assert fault.value.code == "engine_memory"


def test_an_engine_that_reads_slowly_has_one_limit_for_all_pictures(connect: Connect) -> None:
    def slow(sock: socket.socket) -> None:
        # No single picture takes long.
        while sock.recv(65536):
            threading.Event().wait(0.05)

    worker = connect(slow, batch_s=0.5)
    with pytest.raises(EngineFaultError) as fault:
        worker.predict("sha", [bytes(100_000)] * 40, lambda: None)
    assert fault.value.code == "engine_timeout"
    assert "took no work" in fault.value.detail


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ({"fault": "\0", "detail": 5}, "model_unavailable"),
        ({"fault": None}, "model_unavailable"),
        ({}, "engine_crashed"),
        ({"engine": 5}, "engine_crashed"),
        ({"engine": "x" * 81}, "engine_crashed"),
        ({"engine": "half a pair: \ud800"}, "engine_crashed"),
    ],
)
def test_nonsense_about_a_model_is_a_fault(
    connect: Connect, said: dict[str, Any], code: str
) -> None:
    data = message(json.dumps({**said, "blobs": []}))
    worker = connect(saying(data), start_s=60)
    with pytest.raises(EngineFaultError) as fault:
        worker.load("sha", Path("m"), lambda: None)
    assert fault.value.code == code
