"""Which results a token has read."""

from __future__ import annotations

from collections.abc import Iterable

from cases.access import Actor
from cases.models import Result, ResultRead


def results_unread(*, actor: Actor, results: Iterable[Result]) -> list[Result]:
    """Those of ``results`` that the actor's token has not read yet; none for a person.

    One query for any number, so that a page full of results costs as much as one.
    """
    found = list(results)
    if actor.token_id is None or not found:
        return []
    read = set(
        ResultRead.objects.filter(token_id=actor.token_id, result__in=found).values_list(
            "result_id", flat=True
        )
    )
    return [result for result in found if result.pk not in read]
