"""Reading readings: what is signed for everybody at the site, a draft for its reader only."""

from __future__ import annotations

from uuid import UUID

from django.db.models import QuerySet

from cases.access import Actor, Capability
from cases.models import Reading, Result
from cases.selectors.reader_first import readings_shown


def reading_list(*, actor: Actor, case_id: UUID | None = None) -> QuerySet[Reading]:
    """The signed readings and addenda of the actor's site, last signed first; of one case if given.

    ``PermissionDenied`` without VIEW_CASES. Another site's case has none. Without those that may
    tell an answer which the actor must not see yet.
    """
    actor.require(Capability.VIEW_CASES)
    readings = Reading.objects.filter(case__site_id=actor.own_site, signed_at__isnull=False)
    if case_id is not None:
        readings = readings.filter(case_id=case_id)
    readings = readings_shown(actor=actor, readings=readings)
    return readings.select_related("reader").order_by("-signed_at", "-id")


def case_readings(*, actor: Actor, case_id: UUID) -> list[Reading]:
    """The signed readings and addenda of a case in the order of signing, in one query."""
    return list(reading_list(actor=actor, case_id=case_id).order_by("signed_at", "id"))


def readings_naming(*, result: Result) -> int:
    """How many signed readings and addenda name a result the actor may see as one of record."""
    readings = Reading.objects.filter(case_id=result.image.case_id, signed_at__isnull=False)
    return readings.filter(results_of_record__contains=[result.pk]).count()


def drafts_of(*, actor: Actor, case_id: UUID) -> list[Reading]:
    """The actor's own drafts for a case."""
    if not actor.can(Capability.READ_CASES):
        return []
    drafts = Reading.objects.filter(
        case_id=case_id,
        case__site_id=actor.own_site,
        reader_id=actor.user_id,
        signed_at__isnull=True,
    )
    return list(drafts.select_related("reader"))
