"""Hundreds of clients that wait for events: what they cost, and how soon a result reaches them.

All of them follow the jobs of the site while images are sent one after the other. How late: from
the `finished_at` of a job, which its worker wrote before the answer was stored, to the moment a
client has read the event. The clients run on the same processors.
"""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

from bench import service
from bench.client import Client, submission
from bench.figures import Figure, Section, spread
from bench.memory import family_of, web_memory
from bench.pictures import pictures, variant
from bench.sizes import Sizes
from tests.live import wait_for

BASELINE = "the same without anybody who waits"
# On a busy machine it takes a while until hundreds of clients are let in.
PATIENCE_S = 300.0


class Waiting:
    """Clients in a thread of their own; when each read the end of each job, by job."""

    def __init__(self, url: str, token: str, clients: int) -> None:
        parts = urlsplit(url)
        self._address = (parts.hostname or "127.0.0.1", parts.port or 80)
        self._request = (
            f"GET /api/v1/events/ HTTP/1.1\r\nHost: {parts.netloc}\r\n"
            f"Authorization: Bearer {token}\r\n\r\n"
        ).encode()
        self._clients = clients
        self.standing = 0
        self.ended: dict[str, list[float]] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    async def _one(self) -> None:
        reader, writer = await asyncio.open_connection(*self._address)
        writer.write(self._request)
        try:
            async for line in reader:
                if line.startswith(b"event: snapshot"):
                    self.standing += 1
                elif line.startswith(b"data: ") and b"SUCCEEDED" in line:
                    job = json.loads(line[6:])["id"]
                    self.ended.setdefault(job, []).append(time.time())
        finally:
            writer.close()

    @contextmanager
    def open(self) -> Iterator[None]:
        self._thread.start()
        for _ in range(self._clients):
            asyncio.run_coroutine_threadsafe(self._one(), self._loop)
        try:
            wait_for(
                "the clients to be connected",
                lambda: self.standing == self._clients,
                seconds=PATIENCE_S,
            )
            yield
        finally:
            asyncio.run_coroutine_threadsafe(self._hang_up(), self._loop).result(timeout=60)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(timeout=10)
            self._loop.close()

    @staticmethod
    async def _hang_up() -> None:
        waiting = asyncio.all_tasks() - {asyncio.current_task()}
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    def all_told(self, job: str) -> bool:
        return len(self.ended.get(job, ())) == self._clients


def run(sizes: Sizes) -> Section:
    # Nobody is sent away to come back while it is measured.
    with service.live(BCWEB_EVENTS_SECONDS="3600") as found:
        return measure(found, sizes)


def measure(found: service.LiveService, sizes: Sizes) -> Section:
    token = found.demo["integration"]["token"]
    client = Client(found.url, token)
    drawn = [
        variant(picture, f"events {number} {time.time_ns()}")
        for number, picture in enumerate(pictures(4) * sizes.event_images)
    ][: sizes.event_images + 1]
    _result(client, _send(client, drawn.pop()))
    alone_mb, alone_ms = web_memory(found), _quiet(found, sizes)
    waiting = Waiting(found.url, token, sizes.waiting)
    began = time.perf_counter()
    with waiting.open():
        opened_s = time.perf_counter() - began
        held_mb, held_ms = web_memory(found), _quiet(found, sizes)
        late = [_late(client, waiting, picture) for picture in drawn]
    all_ms = spread([1000 * seconds for one in late for seconds in one])
    last_ms = spread([1000 * max(one) for one in late])
    return Section(
        name="events",
        title=f"{sizes.waiting} clients wait for events",
        figures=[
            Figure("a result reaches a client, p50", all_ms["p50"], "ms"),
            Figure("a result reaches a client, p95", all_ms["p95"], "ms"),
            Figure("the last of them, the worst time", last_ms["max"], "ms", at_most=1000),
            Figure("memory of the web server, PSS", held_mb, "MiB", alone_mb, BASELINE),
            Figure("processor in a quiet second", held_ms, "ms", alone_ms, BASELINE),
            Figure("connecting all of them", opened_s, "s"),
        ],
        notes=[
            f"{len(late)} images, one after the other; from the finished_at of the job to the "
            "event read, so the storing of the answer is in it",
            f"{1024 * (held_mb - alone_mb) / sizes.waiting:.0f} KiB of the web server for a client",
        ],
        details={"late_ms": all_ms, "last_ms": last_ms},
    )


def _send(client: Client, picture: bytes) -> str:
    body, headers = submission(picture)
    made = client.ask("POST", "/api/v1/submissions/", body, **headers).json()
    job: str = made["jobs"][0]["id"]
    return job


def _result(client: Client, job: str) -> float:
    """When the job finished, as its row says."""

    def finished() -> str:
        told: str = client.ask("GET", f"/api/v1/jobs/{job}/").json()["finished_at"]
        return told

    return datetime.fromisoformat(wait_for("the answer", finished, every=0.1)).timestamp()


def _late(client: Client, waiting: Waiting, picture: bytes) -> list[float]:
    job = _send(client, picture)
    wait_for("the news", lambda: waiting.all_told(job), seconds=PATIENCE_S, every=0.05)
    finished = _result(client, job)
    return [at - finished for at in waiting.ended[job]]


def _quiet(found: service.LiveService, sizes: Sizes) -> float:
    """Milliseconds of a processor that the web server takes in a second in which nobody asks."""
    before = _cpu_s(found)
    time.sleep(sizes.poll_seconds)
    return 1000 * (_cpu_s(found) - before) / sizes.poll_seconds


def _cpu_s(found: service.LiveService) -> float:
    ticks = 0
    for pid in family_of(found, "web"):
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(words[11]) + int(words[12])
    return ticks / os.sysconf("SC_CLK_TCK")
