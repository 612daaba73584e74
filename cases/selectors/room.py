"""Is there room for more work: a queue that is not too long, disks that are not too full.

Asked before a request's body is read, so it must cost next to nothing at any length of the queue.
"""

from __future__ import annotations

import math
import shutil
import tempfile
from enum import StrEnum
from pathlib import Path
from uuid import UUID

from django.conf import settings
from django.db.models import QuerySet

from cases.models import Job
from cases.states import JobState
from cases.vocabulary import JobKind

MIB = 1024 * 1024
# So much of the queue's limit comes on top of it for stat images: a tenth.
STAT_PART = 10


class Shortage(StrEnum):
    """What there is too little of."""

    QUEUE = "queue"
    DISK = "disk"


def shortage_now(*, incoming: int = 0, stat: bool = False) -> Shortage | None:
    """What keeps ``incoming`` bytes of new work from being taken in; None where nothing does.

    ``stat``: of work that may use the part of the queue that is kept for it.
    """
    if disk_is_full(incoming=incoming):
        return Shortage.DISK
    return Shortage.QUEUE if queue_is_full(stat=stat) else None


def queue_is_full(*, stat: bool = False) -> bool:
    """Whether ``BCWEB_MAX_QUEUE`` images wait for an answer (0: no limit); for ``stat`` whether
    those and the tenth that is kept for stat images do.

    Walks the queue's own index no further than the limit: what lies behind it costs nothing.
    """
    limit = settings.BCWEB_MAX_QUEUE
    if not limit:
        return False
    return bool(waiting_at(limit + math.ceil(limit / STAT_PART) if stat else limit))


def waiting_at(place: int) -> QuerySet[Job, tuple[UUID]]:
    """The image at this place of the queue (1: the next one), if so many wait.

    Not asked by `exists()`, which would drop the order: any plan would do then, also one that reads
    the whole table.
    """
    waiting = Job.objects.filter(kind=JobKind.INFERENCE, state=JobState.PENDING)
    return waiting.order_by("due_at", "id").values_list("pk")[place - 1 : place]


def disk_is_full(*, incoming: int = 0) -> bool:
    """Whether ``incoming`` bytes would not fit, or leave less than ``BCWEB_RESERVE_MB`` to the
    database (0: nobody looks).

    Looks at the disk where uploads wait while they are checked, and at the embedded database's.
    """
    if not settings.BCWEB_RESERVE_MB:
        return False
    wanted = [(Path(settings.FILE_UPLOAD_TEMP_DIR or tempfile.gettempdir()), incoming)]
    if settings.POSTGRES_DATA is not None:
        wanted.append((settings.POSTGRES_DATA, incoming + settings.BCWEB_RESERVE_MB * MIB))
    # Both may lie on one disk, which then needs room for both.
    needed: dict[int, tuple[Path, int]] = {}
    for place, size in wanted:
        device = place.stat().st_dev
        needed[device] = (place, needed.get(device, (place, 0))[1] + size)
    return any(shutil.disk_usage(place).free < size for place, size in needed.values())
