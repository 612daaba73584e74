"""Locks on names, held until the transaction ends."""

from __future__ import annotations

import hashlib

from django.db import connection


def advisory_lock(*parts: str, wait: bool) -> bool:
    """Lock the name made of ``parts``. False where ``wait`` is off and somebody else has it.

    Several names are locked in sorted order, so that two transactions cannot wait for each
    other. Waiting ends with the connection's lock_timeout (an ``OperationalError``).
    """
    digest = hashlib.sha256("\0".join(parts).encode()).digest()
    number = int.from_bytes(digest[:8], "big", signed=True)
    with connection.cursor() as cursor:
        if wait:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [number])
            return True
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [number])
        row = cursor.fetchone()
        return bool(row and row[0])
