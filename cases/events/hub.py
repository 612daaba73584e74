"""The waiting room of one process of the web server: hundreds of clients, one thread.

A request is let in, answered and its connection handed over (`bcweb.handover`); from then on it
costs no thread and asks the database for nothing. A client that is slow to read, or whose token or
session has ended, is shown out.
"""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

import structlog
from django.conf import settings
from django.db import DatabaseError, connection
from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.exceptions import RedisError

from cases.errors import Throttled
from cases.events.news import News, channel, decoded
from cases.events.seats import Seat, Topic, end_bytes, news_bytes
from cases.selectors.callers import Caller, callers_holding

log = structlog.get_logger(__name__)

BEAT_S = 1.0
# A comment that keeps proxies from closing a quiet connection, and finds out who has gone.
COMMENT_EVERY_S = 15.0
# How long a token or session that has ended may go on being told of moves.
RECHECK_EVERY_S = 10.0
# A seat whose connection never came.
UNCLAIMED_S = 60.0
START_S = 2.0
# Redis is asked whether it is there where it has said nothing; a connection can die unnoticed.
PING_EVERY_S = 5.0
DEAF_S = 20.0
# Of the files this process may have open, half are left to everything else.
FILES = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
# More than this unread, and the client is too slow to be waited for.
MAX_UNREAD = 64 * 1024


class Hub:
    """Seats, found by what they wait for. Public methods may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seats: dict[str, set[Seat]] = {}
        self._all: set[Seat] = set()
        self._count: Counter[Caller] = Counter()
        # Set while news is heard.
        self._heard = threading.Event()
        # Set once that was tried: only the first client waits for it, and not where Redis is away.
        self._tried = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._run, name="events", daemon=True)
        self._thread.start()

    def reserve(self, *, caller: Caller, topic: Topic) -> Seat | None:
        """A seat for ``caller``; news is kept for it from now on. None where no news is heard
        (Redis is away). ``Throttled`` where the caller, or the process, has no seat left."""
        self._tried.wait(START_S)
        if not self._heard.is_set():
            return None
        now = time.monotonic()
        seat = Seat(caller, topic, now, now + settings.BCWEB_EVENTS_SECONDS)
        with self._lock:
            if self._count[caller] >= settings.BCWEB_EVENTS_PER_CALLER or len(self._all) >= min(
                settings.BCWEB_EVENTS_MAX, FILES // 2
            ):
                raise Throttled(
                    "Too many connections wait for events. Close some, or poll.", retry_after=30
                )
            self._count[caller] += 1
            self._all.add(seat)
            for key in topic.keys:
                self._seats.setdefault(key, set()).add(seat)
        return seat

    def leave(self, seat: Seat) -> None:
        """Give the seat up. Twice is once."""
        with self._lock:
            if seat not in self._all:
                return
            self._all.discard(seat)
            self._count[seat.caller] -= 1
            if not self._count[seat.caller]:
                del self._count[seat.caller]
            for key in seat.topic.keys:
                self._seats[key].discard(seat)
                if not self._seats[key]:
                    del self._seats[key]
        seat.is_over = True

    def attach(self, seat: Seat, line: socket.socket, head: bytes) -> None:
        """Give ``seat`` its connection; ``head`` (the answer so far) is sent, then what was kept
        for it. The connection is the hub's from now on."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._seat, seat, line, head)

    @property
    def taken(self) -> int:
        return len(self._all)

    # --- In the thread of the hub ------------------------------------------------------------

    def _run(self) -> None:
        while True:
            try:
                asyncio.run(self._main())
            except Exception:
                # Nobody may be left waiting for a thread that has died.
                log.exception("events_failed")
            self._heard.clear()
            for seat in self._present():
                self.leave(seat)
                if seat.transport is not None:
                    seat.transport.abort()
            time.sleep(1)

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._listen())
            tasks.create_task(self._keep())

    async def _listen(self) -> None:
        """Hear news for as long as the process lives; without Redis nobody is left waiting."""
        told = False
        while True:
            location = str(settings.CACHES["default"]["LOCATION"])
            redis = Redis.from_url(location, socket_connect_timeout=2)
            try:
                async with redis, redis.pubsub() as pubsub:
                    await pubsub.subscribe(channel())
                    await self._hear(pubsub)
            except (RedisError, OSError) as error:
                if self._heard.is_set() or not told:
                    log.warning("events_not_heard", error=type(error).__name__)
                    told = True
            self._heard.clear()
            self._tried.set()
            self._end(self._present(), "again")
            await asyncio.sleep(1)

    async def _hear(self, pubsub: PubSub) -> None:
        """Pass news on until the connection ends, or has been silent although it was asked."""
        heard = time.monotonic()
        while True:
            message = await pubsub.get_message(timeout=PING_EVERY_S)
            if message is None:
                if time.monotonic() - heard > DEAF_S:
                    raise ConnectionError("Redis says nothing")
                await pubsub.ping()
                continue
            heard = time.monotonic()
            if message["type"] == "subscribe":
                if self._heard.is_set():
                    # The client has connected anew by itself: news in between is lost.
                    self._end(self._present(), "again")
                self._heard.set()
                self._tried.set()
            elif message["type"] == "message":
                self._tell(message["data"])

    def _tell(self, message: bytes) -> None:
        try:
            told = decoded(message)
        except (ValueError, TypeError):
            log.warning("events_not_understood")
            return
        for news in told:
            with self._lock:
                seats = {seat for key in news.topics for seat in self._seats.get(key, ())}
                waiting = [seat for seat in seats if seat.transport is None]
                for seat in waiting:
                    seat.held.append(news)
            for seat in seats.difference(waiting):
                self._write(seat, news)

    def _write(self, seat: Seat, news: News) -> None:
        transport = seat.transport
        if transport is None or transport.is_closing() or not seat.topic.take(news):
            return
        transport.write(news_bytes(news))
        if transport.get_write_buffer_size() > MAX_UNREAD:
            transport.abort()
        elif seat.topic.has_ended:
            self._end([seat], "finished")

    def _seat(self, seat: Seat, line: socket.socket, head: bytes) -> None:
        assert self._loop is not None
        task = self._loop.create_task(self._connect(seat, line, head))
        # The loop itself holds on to no task.
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self, seat: Seat, line: socket.socket, head: bytes) -> None:
        assert self._loop is not None
        try:
            transport, _ = await self._loop.connect_accepted_socket(lambda: _Line(self, seat), line)
        except (OSError, ValueError):
            # Gone before it was seated.
            line.close()
            self.leave(seat)
            return
        transport.write(head)
        with self._lock:
            seat.transport = transport
            held, seat.held = seat.held, []
        for news in held:
            self._write(seat, news)
        if seat.is_over:
            # Shown out while its connection was on its way.
            transport.close()

    def _present(self) -> list[Seat]:
        with self._lock:
            return list(self._all)

    def _end(self, seats: Sequence[Seat], reason: Literal["finished", "again", "closed"]) -> None:
        for seat in seats:
            self.leave(seat)
            if seat.transport is not None and not seat.transport.is_closing():
                seat.transport.write(end_bytes(reason))
                seat.transport.close()

    async def _keep(self) -> None:
        """Keep quiet connections open, and show out whose time or right to wait is over."""
        commented = rechecked = time.monotonic()
        while True:
            await asyncio.sleep(BEAT_S)
            now = time.monotonic()
            seats = self._present()
            for seat in seats:
                if seat.transport is None and now - seat.reserved_at > UNCLAIMED_S:
                    self.leave(seat)
            self._end([seat for seat in seats if seat.ends_at <= now], "again")
            if now - commented >= COMMENT_EVERY_S:
                commented = now
                for seat in seats:
                    if seat.transport is not None and not seat.transport.is_closing():
                        seat.transport.write(b":\n\n")
            if seats and now - rechecked >= RECHECK_EVERY_S:
                rechecked = now
                await self._recheck(seats)

    async def _recheck(self, seats: Sequence[Seat]) -> None:
        callers = {seat.caller for seat in seats}
        try:
            holding = await asyncio.to_thread(_holding, callers)
        except DatabaseError as error:
            # Nobody can be asked: nobody is told either.
            log.warning("events_not_rechecked", error=type(error).__name__)
            self._end(seats, "again")
            return
        self._end([seat for seat in seats if seat.caller not in holding], "closed")


def _holding(callers: set[Caller]) -> set[Caller]:
    try:
        return callers_holding(callers)
    finally:
        # One look in a while: no connection to the database is kept for it.
        connection.close()


class _Line(asyncio.Protocol):
    """The connection of a seat. What the client still says is not listened to."""

    def __init__(self, hub: Hub, seat: Seat) -> None:
        self._hub = hub
        self._seat = seat

    def connection_lost(self, error: Exception | None) -> None:
        self._hub.leave(self._seat)


_made: tuple[int, Hub] | None = None
_making = threading.Lock()


def hub() -> Hub:
    """The hub of this process, made when the first client waits (a fork has none of its own)."""
    global _made
    with _making:
        if _made is None or _made[0] != os.getpid():
            _made = (os.getpid(), Hub())
        return _made[1]


@contextmanager
def reserved(*, caller: Caller, topic: Topic) -> Iterator[Seat | None]:
    """A seat (``Hub.reserve``) that is given up where the block raises."""
    seat = hub().reserve(caller=caller, topic=topic)
    try:
        yield seat
    except BaseException:
        if seat is not None:
            hub().leave(seat)
        raise
