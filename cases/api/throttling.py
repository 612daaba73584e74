"""So many requests a minute from one token or person: uploads and everything else apart.

Counted in Redis for all processes together. It guards against a program that runs wild; where
Redis does not answer, everybody is let in.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

import structlog
from django.conf import settings
from django.core.cache import cache
from redis.exceptions import RedisError
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from cases.api.authentication import actor_of

if TYPE_CHECKING:
    from rest_framework.views import APIView

log = structlog.get_logger(__name__)

MINUTE_S = 60
# Where Redis did not answer, requests do not wait for it again so soon.
SILENCE_S = 5.0
_silent_until = 0.0


class CallerThrottle(BaseThrottle):
    """A count for each caller and minute; one round trip to Redis for a request."""

    def __init__(self) -> None:
        self._wait: float | None = None

    def allow_request(self, request: Request, view: APIView) -> bool:
        global _silent_until
        actor = actor_of(request)
        uploads = request.method == "POST" and getattr(view, "takes_uploads", False)
        limit: int = settings.BCWEB_THROTTLE_UPLOADS if uploads else settings.BCWEB_THROTTLE
        if actor is None or not limit or time.monotonic() < _silent_until:
            return True
        now = time.time()
        minute = int(now // MINUTE_S)
        caller = actor.token_id or actor.user_id
        key = f"throttle:{'uploads' if uploads else 'requests'}:{caller}:{minute}"
        try:
            count = _count(key)
        except (RedisError, OSError) as error:
            _silent_until = time.monotonic() + SILENCE_S
            log.warning("throttle_off", error=type(error).__name__)
            return True
        self._wait = (minute + 1) * MINUTE_S - now
        return bool(count <= limit)

    def wait(self) -> float | None:
        return None if self._wait is None else math.ceil(self._wait)


def _count(key: str) -> Any:
    """One more under ``key``, which is forgotten a while after its minute."""
    try:
        return cache.incr(key)
    except ValueError:
        # The first of the minute. Of two at once one adds, and both count.
        cache.add(key, 0, timeout=2 * MINUTE_S)
        return cache.incr(key)
