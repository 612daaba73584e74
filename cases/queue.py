"""The only publisher. A message means "look": losing one loses nothing, the sweeper rings again."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from uuid import UUID

import structlog
from celery import current_app
from django.core.cache import cache
from django.db import transaction
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from cases.vocabulary import JobKind, PriorityRank

log = structlog.get_logger(__name__)

TASK_OF_KIND: dict[JobKind, str] = {
    JobKind.INFERENCE: "worker.tasks.run_inference",
    # The same loop, which takes whatever is most due; and a name that earlier workers know.
    JobKind.REPLAY: "worker.tasks.run_inference",
    JobKind.SHADOW: "worker.tasks.run_inference",
    JobKind.TRAINING: "worker.tasks.run_training",
    JobKind.FREEZE: "worker.tasks.run_freeze",
}
QUEUE_OF_KIND: dict[JobKind, str] = {
    JobKind.INFERENCE: "inference",
    JobKind.TRAINING: "training",
    # Where the pictures of snapshots lie.
    JobKind.FREEZE: "training",
    # Where the engines are.
    JobKind.REPLAY: "inference",
    JobKind.SHADOW: "inference",
}
SWEEP_TASK = "worker.tasks.sweep"
DELIVER_TASK = "worker.tasks.deliver_webhooks"
DELIVER_QUEUE = "webhooks"

# One ring wakes one worker, which then takes all that waits; more rings only wake more workers.
MAX_RINGS = 8
RING_LIFE_S = 60
# A bell that rings and is not answered keeps others silent for so long: its message may be lost.
BELL_LIFE_S = 5
# The queues whose workers take the bell off before they look at the rows.
BELLS = frozenset({"inference", DELIVER_QUEUE})


def ring_on_commit(
    *, kind: JobKind, job_ids: Sequence[UUID], priority: int = PriorityRank.ROUTINE
) -> None:
    """Ring for these jobs once the surrounding transaction has committed."""
    transaction.on_commit(partial(ring, kind=kind, job_ids=job_ids, priority=priority))


def ring(
    *,
    kind: JobKind,
    job_ids: Sequence[UUID],
    priority: int = PriorityRank.ROUTINE,
    sure: bool = False,
) -> None:
    """Send up to ``MAX_RINGS`` messages now. A dead broker is logged, not raised.

    The jobs are safe in Postgres; failing the request that stored them would be a lie. Where a
    bell rings already and nobody has answered it yet, whoever does will find these jobs too: no
    message is sent. ``sure``: send all the same.
    """
    name = QUEUE_OF_KIND[kind]
    if not (sure or _bell_free(name)):
        return
    try:
        for job_id in job_ids[:MAX_RINGS]:
            current_app.send_task(
                TASK_OF_KIND[kind],
                args=[str(job_id)],
                queue=name,
                priority=int(priority),
                # A stale ring says nothing: the sweeper rings for whatever waits.
                expires=RING_LIFE_S,
            )
    except (OperationalError, RedisError, OSError) as error:
        log.warning("ring_failed", kind=kind.value, jobs=len(job_ids), error=type(error).__name__)
        # No message went out: who comes next shall not be silent for it.
        bell_answer(name)


def ring_deliverer_on_commit() -> None:
    """Wake the deliverer of webhooks once the surrounding transaction has committed."""
    transaction.on_commit(ring_deliverer)


def ring_deliverer(*, sure: bool = False) -> None:
    """One message, where none waits already: the deliverer takes all that is due. ``sure``: send
    all the same. A dead broker is logged, not raised."""
    if not (sure or _bell_free(DELIVER_QUEUE)):
        return
    try:
        current_app.send_task(DELIVER_TASK, queue=DELIVER_QUEUE, expires=RING_LIFE_S)
    except (OperationalError, RedisError, OSError) as error:
        log.warning("ring_failed", kind="webhooks", error=type(error).__name__)
        bell_answer(DELIVER_QUEUE)


def _bell_free(queue: str) -> bool:
    """Whether no bell of this queue rings; it does from now on. Who cannot know rings."""
    if queue not in BELLS:
        return True
    try:
        return cache.add(f"bell:{queue}", 1, timeout=BELL_LIFE_S)
    except (RedisError, OSError) as error:
        log.warning("bell_not_heard", queue=queue, error=type(error).__name__)
        return True


def bell_answer(queue: str) -> None:
    """Take the bell off. Before the first look at the rows: who rings after it is heard again."""
    try:
        cache.delete(f"bell:{queue}")
    except (RedisError, OSError) as error:
        # It falls silent by itself.
        log.warning("bell_not_answered", queue=queue, error=type(error).__name__)
