"""Locks on names, held until the transaction ends."""

from __future__ import annotations

import hashlib

from django.db import connection


def advisory_lock(*parts: str, wait: bool, shared: bool = False) -> bool:
    """Lock the name made of ``parts``. False where ``wait`` is off and somebody else has it.

    ``shared``: any number may have it so, but none beside one that has it alone.

    Several names are locked in sorted order, so that two transactions cannot wait for each
    other. Waiting ends with the connection's lock_timeout (an ``OperationalError``).
    """
    digest = hashlib.sha256("\0".join(parts).encode()).digest()
    number = int.from_bytes(digest[:8], "big", signed=True)
    kind = "_shared" if shared else ""
    with connection.cursor() as cursor:
        if wait:
            cursor.execute(f"SELECT pg_advisory_xact_lock{kind}(%s)", [number])
            return True
        cursor.execute(f"SELECT pg_try_advisory_xact_lock{kind}(%s)", [number])
        row = cursor.fetchone()
        return bool(row and row[0])


def lock_patience(milliseconds: int) -> None:
    """Wait for locks no longer than this in the rest of this transaction."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('lock_timeout', %s, true)", [f"{milliseconds}ms"])
