"""A seat: one client that waits, for what, on whose behalf and until when."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import UUID

from cases.events.news import News
from cases.selectors.callers import Caller

# After how long a client whose connection ended comes back by itself (EventSource does).
RETRY_MS = 2000


@dataclass(frozen=True)
class JobNow:
    """A job as a snapshot tells it; ``event`` is the last move the snapshot knows of."""

    id: UUID
    kind: str
    state: str
    attempt: int
    event: int
    is_final: bool


@dataclass
class Topic:
    """What somebody waits for: one of ``keys`` (`News.topics`).

    ``ends``: nothing more is to come once all jobs have ended. ``open`` and ``seen`` are what is
    known of the jobs, so that news which comes late or twice says nothing.
    """

    keys: frozenset[str]
    ends: bool = False
    open: set[str] = field(default_factory=set)
    seen: dict[str, int] = field(default_factory=dict)

    def begin(self, jobs: Iterable[JobNow]) -> None:
        for job in jobs:
            self.seen[str(job.id)] = job.event
            if not job.is_final:
                self.open.add(str(job.id))

    @property
    def has_ended(self) -> bool:
        return self.ends and not self.open

    def take(self, news: News) -> bool:
        """Whether ``news`` is new here."""
        if self.seen.get(news.job, 0) >= news.event:
            return False
        if self.ends:
            # Of a whole site nobody keeps count.
            self.seen[news.job] = news.event
            (self.open.discard if news.is_final else self.open.add)(news.job)
        return True


@dataclass(eq=False)
class Seat:
    caller: Caller
    topic: Topic
    # On the clock of `time.monotonic`.
    reserved_at: float
    ends_at: float
    # News that came before the connection was handed over.
    held: list[News] = field(default_factory=list)
    transport: asyncio.Transport | None = None
    is_over: bool = False


def event_bytes(name: str, data: Mapping[str, Any], *, event_id: int | None = None) -> bytes:
    """One event as `text/event-stream` has it. The JSON holds no line break."""
    lines = [] if event_id is None else [f"id: {event_id}"]
    lines += [f"event: {name}", f"data: {json.dumps(data, separators=(',', ':'))}"]
    return ("\n".join(lines) + "\n\n").encode()


def snapshot_bytes(jobs: Iterable[JobNow]) -> bytes:
    """The first event: the jobs as they are now."""
    told = list(jobs)
    rows = [
        {"id": str(job.id), "kind": job.kind, "state": job.state, "attempt": job.attempt}
        for job in told
    ]
    last = max((job.event for job in told), default=0)
    return f"retry: {RETRY_MS}\n\n".encode() + event_bytes(
        "snapshot", {"jobs": rows}, event_id=last
    )


def news_bytes(news: News) -> bytes:
    data = {
        "id": news.job,
        "kind": news.kind,
        "state": news.state,
        "attempt": news.attempt,
        "submission": news.submission,
    }
    return event_bytes("job", data, event_id=news.event)


def end_bytes(reason: Literal["finished", "again", "closed"]) -> bytes:
    """The last event. `finished`: nothing more comes. `again`: come back. `closed`: the token or
    session no longer holds."""
    return event_bytes("end", {"reason": reason})
