"""The database's clock."""

from __future__ import annotations

from typing import Any

from django.db.models import DateTimeField, Func


def clock_now() -> Any:
    """The moment itself. ``Now()`` is that of the transaction's begin: the same for all in it."""
    return Func(function="clock_timestamp", output_field=DateTimeField())
