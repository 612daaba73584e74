"""Which results somebody has read."""

from __future__ import annotations

from collections.abc import Iterable

from cases.access import Actor
from cases.models import Result, ResultRead


def results_unread(*, actor: Actor, results: Iterable[Result]) -> list[Result]:
    """Those of ``results`` that the actor (the token, or the person) has not read yet.

    One query for any number, so that a page full of results costs as much as one.
    """
    found = list(results)
    reader = actor.token_id or actor.user_id
    if reader is None or not found:
        return []
    read = set(
        ResultRead.objects.filter(reader_id=reader, result__in=found).values_list(
            "result_id", flat=True
        )
    )
    return [result for result in found if result.pk not in read]
