"""Moments as people type them: in the portal's time zone, without naming it."""

from __future__ import annotations

from datetime import datetime

from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext

from cases.errors import FieldInvalid


def typed_moment(request: HttpRequest, name: str) -> datetime | None:
    """The moment in the field ``name`` of the query; None where it is empty.

    ``FieldInvalid`` where it is none, or one that a change of the clocks leaves out.
    """
    text = request.GET.get(name, "").strip()[:40]
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
        if moment.utcoffset() is None:
            moment = timezone.make_aware(moment)
        # What the database can hold.
        moment.astimezone(timezone.get_default_timezone())
    except (ValueError, OverflowError) as error:
        raise FieldInvalid(
            errors={name: [gettext("Enter a date and a time, for example 2026-03-01 08:30.")]}
        ) from error
    return moment
