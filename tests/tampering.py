"""Changing what must not change, as somebody could who owns the tables."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection

from cases.models import Result


def tamper(result: Result, **columns: Any) -> None:
    """Overwrite columns of a stored result behind the trigger's back."""
    with connection.cursor() as cursor:
        # Inside the test's transaction, checks that wait for its end stand in the way.
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("ALTER TABLE cases_result DISABLE TRIGGER unchangeable")
        Result.objects.filter(pk=result.pk).update(**columns)
        cursor.execute("ALTER TABLE cases_result ENABLE ALWAYS TRIGGER unchangeable")


@contextmanager
def unguarded(*tables: str) -> Iterator[None]:
    """Append-only tables with their triggers switched off."""
    with connection.cursor() as cursor:
        for table in tables:
            cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        yield
        for table in tables:
            for trigger in ("append_only", "append_only_truncate"):
                cursor.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {trigger}")
