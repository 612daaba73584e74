"""Back-pressure: new work is refused before it is taken in, where there is no room for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from django.db import OperationalError
from psycopg.errors import DiskFull

from cases.errors import Overloaded
from cases.intake.files import is_full, no_room
from cases.selectors.room import Shortage, shortage_now
from cases.vocabulary import PriorityRank

log = structlog.get_logger(__name__)

# A worker takes a batch in about a second: by then some images have left the queue.
QUEUE_RETRY_S = 30


class QueueIsFull(Overloaded):
    """More images wait than the service takes on at once."""

    default_detail = (
        "More images are waiting than this service takes on at once. Nothing was taken in; what "
        "was submitted before is safe and goes on. Try again in a moment."
    )


def room_require(*, priority: PriorityRank | None = None, incoming: int = 0) -> None:
    """Raise ``Overloaded`` (503, with ``retry_after``) where ``incoming`` bytes of new work cannot
    be taken in: ``QueueIsFull`` where that is why. What was accepted before goes on, and nothing
    is written.

    A part of the queue is kept for stat images. ``priority`` None: nobody knows yet, it may be one.
    """
    shortage = shortage_now(incoming=incoming, stat=priority in (None, PriorityRank.STAT))
    if shortage is None:
        return
    log.warning("no_room", shortage=shortage.value)
    if shortage is Shortage.DISK:
        raise no_room()
    raise QueueIsFull(retry_after=QUEUE_RETRY_S)


@contextmanager
def disk_full_is_overloaded() -> Iterator[None]:
    """A disk that fills up while something is stored is ``Overloaded``, not a fault of ours.

    Around a whole transaction, which is then rolled back: nothing stays half stored.
    """
    try:
        yield
    except OSError as error:
        if not is_full(error):
            raise
        log.error("disk_full", where="storage")
        raise no_room() from error
    except OperationalError as error:
        if not isinstance(error.__cause__, DiskFull):
            raise
        log.error("disk_full", where="database")
        raise no_room() from error
