"""Sealing the audit trail (docs/adr/0008)."""

from __future__ import annotations

import time
from dataclasses import dataclass

import structlog
from django.db import connection, transaction

from cases.models import AuditEvent, AuditSeal
from cases.sealing import ALGORITHM, SealFacts, entries_pack, epoch
from cases.selectors.seals import event_rows, seal_last
from cases.selectors.settled import Horizon, settled
from cases.services.locks import advisory_lock

log = structlog.get_logger(__name__)

# One seal, and one transaction, covers no more: a backlog is worked off in several.
SEAL_EVENTS = 5_000


@dataclass(frozen=True)
class Sealing:
    """What was sealed. ``done``: nothing that could be sealed was left."""

    seals: int
    events: int
    done: bool


def audit_seal(
    *, seconds: float | None = 4.0, patience_s: float = 1.0, wait: bool = False
) -> Sealing:
    """Seal the events that nobody can commit another one between.

    Ends after ``seconds`` (None: when all is sealed), each seal in a transaction of its own. Of
    two at once one seals; the other one leaves it to it, or with ``wait`` seals what is left.
    While somebody who writes an event does not commit within ``patience_s``, nothing is sealed.
    It writes no audit event: the seal is its own record.
    """
    last = seal_last()
    horizon = settled(AuditEvent, above=last.last_id if last else None, patience_s=patience_s)
    if horizon is None:
        behind = AuditEvent.objects.order_by("-id").values_list("id", flat=True).first()
        done = behind is None or (last is not None and behind <= last.last_id)
        if not done:
            log.warning(
                "audit_seal_waits", why="a transaction that writes events is not at its end"
            )
        return Sealing(0, 0, done)
    deadline = None if seconds is None else time.monotonic() + seconds
    seals = events = 0
    while (count := _seal_next(horizon, wait=wait)) is not None:
        if count == 0:
            return Sealing(seals, events, True)
        seals, events = seals + 1, events + count
        if deadline is not None and time.monotonic() >= deadline:
            break
    return Sealing(seals, events, False)


@transaction.atomic
def _seal_next(horizon: Horizon, *, wait: bool) -> int | None:
    """Append one seal. How many events it covers; None where somebody else is sealing."""
    if not advisory_lock("audit-seal", wait=wait):
        return None
    last = seal_last()
    rows = event_rows(after=last.last_id if last else None, until=horizon.id, limit=SEAL_EVENTS)
    if not rows:
        return 0
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        (sealed_at,) = cursor.fetchone()
    first_id, last_id = rows[0][0], rows[-1][0]
    facts = SealFacts(
        number=last.number + 1 if last else 1,
        algorithm=ALGORITHM,
        after_id=last.last_id if last else min(0, first_id - 1),
        first_id=first_id,
        last_id=last_id,
        count=len(rows),
        entries=entries_pack(rows),
        previous=last.hash if last else "",
        horizon_id=horizon.id,
        horizon_at=epoch(horizon.at),
        sealed_at=epoch(sealed_at),
    )
    stored = vars(facts) | {"horizon_at": horizon.at, "sealed_at": sealed_at}
    AuditSeal.objects.create(**stored, hash=facts.digest())
    return len(rows)
