"""Sweeping, asked for by beat or not.

Beat may be gone, or its messages with the broker, and jobs of dead workers must not wait for it. So
every worker also sweeps by its monotonic clock, more seldom; two sweeps at once do no harm.

A worker with a backlog answers neither beat nor a timer until the last job is done, and may be the
only one there is: it sweeps between batches.
"""

from __future__ import annotations

import time

import structlog
from django.conf import settings
from django.db import DatabaseError, close_old_connections

from cases.access import Actor, ActorKind
from cases.services.leases import jobs_sweep
from cases.services.taken_back import trainings_call_off
from cases.services.worklist import worklist_fold

log = structlog.get_logger(__name__)

# A worker sweeps by itself once for so many sweeps of beat.
SELDOM = 4
# Changes of the worklist that one sweep works off.
LISTED_AT_ONCE = 10_000

_swept_at = time.monotonic()


def own_sweep_seconds() -> float:
    return float(SELDOM * settings.BCWEB_SWEEP_SECONDS)


def sweep() -> None:
    """Call off trainings that may not begin any more, take back what dead workers held, and ring
    for what nobody holds."""
    global _swept_at
    _swept_at = time.monotonic()
    sweeper = Actor(kind=ActorKind.WORKER, label="sweeper")
    # Before it rings for them.
    called_off = trainings_call_off(actor=sweeper)
    counts = {**jobs_sweep(actor=sweeper), "called_off": called_off}
    if any(counts.values()):
        log.info("swept", **counts)
    # Where nobody looks at the worklist its changes would pile up.
    worklist_fold(limit=LISTED_AT_ONCE)


def sweep_when_due() -> None:
    """Sweep where this process has not done so for a while."""
    if time.monotonic() - _swept_at >= own_sweep_seconds():
        sweep()


def sweep_unasked() -> None:
    """The same between tasks, where nobody minds the connection or an error."""
    close_old_connections()
    try:
        sweep()
    except DatabaseError as error:
        # Perhaps restarting; the next sweep finds it.
        log.warning("sweep_failed", error=type(error).__name__)
    finally:
        close_old_connections()
