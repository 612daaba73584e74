"""What readers said before the model's answer was shown to them, and what they said after."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import Any
from uuid import UUID

from django.db.models import Exists, OuterRef, QuerySet

from cases.access import Actor, Capability
from cases.models import Reading, Result
from cases.reading_changes import ModelSide, ReadPlace
from cases.selectors.reader_first import many_answers_required
from cases.vocabulary import BiradsCategory, Label, Outcome

STRETCH = 2000


def read_places(
    *, actor: Actor, since: datetime | None = None, until: datetime | None = None
) -> Iterator[ReadPlace]:
    """The places of the site's cases that were read before the answer was shown, with the reader's
    first and last word, in the order of signing; signed from ``since`` to before ``until``.

    Only of cases that this reader has read as a whole since: the answers of others are withheld.
    Nobody's name but the reader's. ``PermissionDenied`` without OPERATE, and for who reads cases at
    a site that reads first. Worked through in stretches, however many there are.
    """
    readings = _first_words(actor, since, until).iterator(chunk_size=STRETCH)
    while stretch := list(islice(readings, STRETCH)):
        yield from _with_last_words(stretch)


def readings_set_aside(
    *, actor: Actor, since: datetime | None = None, until: datetime | None = None
) -> dict[str, int]:
    """How many readings of the same period have no first word to compare: signed after the answer
    was shown (``after``), or by somebody who had seen one all the same (``seen``), before the site
    read first or with a token."""
    rooted = _rooted(actor, since, until)
    return {
        "after": rooted.filter(after_reveal=True).count(),
        "seen": rooted.filter(after_reveal=False, ai_seen=True).count(),
    }


def _rooted(actor: Actor, since: datetime | None, until: datetime | None) -> QuerySet[Reading]:
    actor.require(Capability.OPERATE)
    many_answers_required(actor)
    readings = Reading.objects.filter(
        case__site_id=actor.own_site, signed_at__isnull=False, addendum_to=None
    )
    if since is not None:
        readings = readings.filter(signed_at__gte=since)
    if until is not None:
        readings = readings.filter(signed_at__lt=until)
    return readings


def _first_words(actor: Actor, since: datetime | None, until: datetime | None) -> QuerySet[Reading]:
    whole = Reading.objects.filter(
        case_id=OuterRef("case_id"),
        reader_id=OuterRef("reader_id"),
        finding=None,
        addendum_to=None,
        signed_at__isnull=False,
    )
    blind = _rooted(actor, since, until).filter(after_reveal=False, ai_seen=False)
    return (
        blind.filter(Exists(whole)).select_related("reader", "finding").order_by("signed_at", "id")
    )


def _with_last_words(readings: Sequence[Reading]) -> Iterator[ReadPlace]:
    added = defaultdict[UUID, list[Reading]](list)
    addenda = Reading.objects.filter(
        addendum_to__in=[reading.pk for reading in readings], signed_at__isnull=False
    )
    # Only the reader's own: what a colleague adds changes nobody's mind but theirs.
    for row in addenda.exclude(category="").order_by("signed_at", "id"):
        if row.addendum_to_id is not None:
            added[row.addendum_to_id].append(row)
    told = _told({pk for reading in readings for pk in reading.results_of_record})
    for reading in readings:
        own = [row for row in added[reading.pk] if row.reader_id == reading.reader_id]
        first = last = reading.category
        for row in own:
            last = row.category
            if row.after_reveal is False:
                first = row.category
        yield ReadPlace(
            reading_id=reading.pk,
            case_id=reading.case_id,
            finding=reading.finding.number if reading.finding else None,
            reader=reading.reader.get_username(),
            signed_at=reading.signed_at or reading.updated_at,
            first=BiradsCategory(first),
            last=BiradsCategory(last),
            model=_side(reading, told),
        )


def _told(result_ids: set[UUID]) -> dict[UUID, dict[str, Any]]:
    rows: Any = Result.objects.filter(pk__in=result_ids)
    names = ("pk", "outcome", "label", "image__finding_id")
    return {row["pk"]: row for row in rows.values(*names)}


def _side(reading: Reading, told: dict[UUID, dict[str, Any]]) -> ModelSide:
    """What the answers of record say of the place: of a finding those of its images."""
    results = [told[pk] for pk in reading.results_of_record if pk in told]
    if reading.finding_id is not None:
        results = [row for row in results if row["image__finding_id"] == reading.finding_id]
    answered = [row for row in results if row["outcome"] == Outcome.ANSWERED]
    if any(row["label"] == Label.MALIGNANT for row in answered):
        return ModelSide.ABOVE
    # One image without an answer keeps a place from reading as negative.
    return ModelSide.BELOW if results and len(answered) == len(results) else ModelSide.NO_ANSWER
