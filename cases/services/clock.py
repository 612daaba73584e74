"""The database's clock."""

from __future__ import annotations

from datetime import datetime
from typing import Any, cast

from django.db import connection
from django.db.models import DateTimeField, Func


def clock_now() -> Any:
    """The moment itself. ``Now()`` is that of the transaction's begin: the same for all in it."""
    return Func(function="clock_timestamp", output_field=DateTimeField())


def clock_read() -> datetime:
    """What the database's clock says now."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        return cast(datetime, cursor.fetchone()[0])
