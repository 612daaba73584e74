"""What is told of a move: ids and the state. Never identity, never an answer."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache, partial
from typing import Any

import structlog
from django.conf import settings
from django.db import connection, transaction
from redis import Redis
from redis.exceptions import RedisError

from cases.models import Job, JobEvent
from cases.states import JOB, JobState
from cases.vocabulary import JobKind

log = structlog.get_logger(__name__)

# Where Redis did not answer, nobody waits for it again so soon: the rows are there to be looked at.
SILENCE_S = 5.0
_silent_until = 0.0


@dataclass(frozen=True)
class News:
    """One move of one job. ``event`` rises with the moves of a job."""

    event: int
    job: str
    kind: str
    state: str
    attempt: int
    site: str
    submission: str | None
    image: str | None
    case: str | None

    @property
    def is_final(self) -> bool:
        return JobState(self.state) in JOB.final

    @property
    def topics(self) -> list[str]:
        """What it is news of: those who wait for one of these are told."""
        about = (
            ("job", self.job),
            ("submission", self.submission),
            ("image", self.image),
            ("case", self.case),
            ("site", self.site),
        )
        return [f"{name}:{key}" for name, key in about if key is not None]


def news_of(event: JobEvent) -> News | None:
    """What is told of ``event``, whose job is loaded; None: nothing. A model in shadow works
    unseen."""
    job = event.job
    if job.kind == JobKind.SHADOW:
        return None
    return News(
        event=event.pk,
        job=str(job.pk),
        kind=str(job.kind),
        state=str(event.to_state),
        attempt=event.attempt,
        site=str(job.site_id),
        submission=_text(job.submission_id),
        image=_text(job.image_id),
        case=_text(_case_of(job)),
    )


def _case_of(job: Job) -> Any:
    """The case of the job's image where that is known without asking the database."""
    if Job.image.is_cached(job):
        return job.image.case_id if job.image else None
    return getattr(job, "case_of", None)


def _text(key: Any) -> str | None:
    return None if key is None else str(key)


def channel() -> str:
    """Of this database: Redis gives messages to all who listen, whatever their number is."""
    return f"bcweb:events:{connection.settings_dict['NAME']}"


def announce_on_commit(events: Sequence[JobEvent]) -> None:
    """Tell of new ``events`` once the surrounding transaction has committed."""
    told = [news for event in events if (news := news_of(event)) is not None]
    if told:
        transaction.on_commit(partial(announce, told))


def announce(told: Sequence[News]) -> None:
    """One message, now. A Redis that is away is logged, not raised: who waits will look."""
    global _silent_until
    if time.monotonic() < _silent_until:
        return
    try:
        _redis(str(settings.CACHES["default"]["LOCATION"])).publish(channel(), encoded(told))
    except (RedisError, OSError) as error:
        _silent_until = time.monotonic() + SILENCE_S
        log.warning("events_not_told", jobs=len(told), error=type(error).__name__)


@cache
def _redis(location: str) -> Redis:
    return Redis.from_url(location, socket_connect_timeout=2, socket_timeout=2)


def encoded(told: Sequence[News]) -> bytes:
    return json.dumps([asdict(news) for news in told], separators=(",", ":")).encode()


def decoded(message: bytes) -> list[News]:
    """The news of a message. ``ValueError`` or ``TypeError`` for one that is none of ours (a
    neighbour of another version)."""
    return [News(**told) for told in json.loads(message)]
