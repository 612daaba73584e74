"""Up to which id a table that only grows is complete.

Ids are taken when a row is written and seen when its transaction commits, so the highest id one
sees says nothing of the ids below it: somebody may still be about to commit one.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime

from django.db import connection, models

LOOK_S = 0.05

# Who writes a row holds this lock on the table since before it took the row's id, and lets go of it
# after its commit can be seen. pg_locks reads a session's own locks before the shared ones, to
# which they may move, but never the other way: no holder is missed.
_WRITERS = """
SELECT virtualtransaction FROM pg_locks
WHERE locktype = 'relation' AND relation = %s::regclass AND mode = 'RowExclusiveLock'
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND pid IS DISTINCT FROM pg_backend_pid()
"""


@dataclass(frozen=True)
class Horizon:
    """No row with an id up to ``id`` can appear any more; ``at`` is when that id was seen."""

    id: int
    at: datetime


def settled(table: type[models.Model], *, above: int | None, patience_s: float) -> Horizon | None:
    """The horizon of a table with serial ids, whose highest id is that of a row one sees now.

    Waits for the transactions that write to the table at this moment, not for those that come
    after; None where one of them is still at it after ``patience_s``, or where there is no id
    beyond ``above``. What is read in a later statement (READ COMMITTED) is complete up to it.
    """
    name = connection.ops.quote_name(table._meta.db_table)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT max(id), clock_timestamp() FROM {name}")  # noqa: S608
        highest, at = cursor.fetchone()
    if highest is None or (above is not None and highest <= above):
        return None
    writers = _writers(name)
    deadline = time.monotonic() + patience_s
    while writers:
        if time.monotonic() >= deadline:
            return None
        time.sleep(LOOK_S)
        writers &= _writers(name)
    return Horizon(highest, at)


def _writers(name: str) -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute(_WRITERS, [name])
        return {row[0] for row in cursor.fetchall()}
