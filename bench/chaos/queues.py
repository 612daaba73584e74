"""The messages that wait in Valkey, as Celery's transport keeps them: lists, one per priority."""

from __future__ import annotations

from collections.abc import Sequence

import redis

QUEUES = ("inference", "maintenance")
# Between the name of a queue and a priority other than the first.
_SEPARATOR = "\x06\x16"
_STEPS = (0, 1, 2)


def messages(broker: redis.Redis) -> dict[str, list[bytes]]:
    """What waits, by the key of its list; lists that are empty are left out."""
    keys = [
        name if step == 0 else f"{name}{_SEPARATOR}{step}" for name in QUEUES for step in _STEPS
    ]
    found = {key: list(broker.lrange(key, 0, -1)) for key in keys}  # type: ignore[arg-type]
    return {key: waiting for key, waiting in found.items() if waiting}


def rewrite(broker: redis.Redis, key: str, waiting: Sequence[bytes]) -> None:
    """Put these messages in the place of the list's."""
    with broker.pipeline(transaction=True) as pipe:
        pipe.delete(key)
        if waiting:
            pipe.rpush(key, *waiting)
        pipe.execute()
