"""Whether a site reads first, and the one gate before what the model answered (docs/adr/0014).

Where a site reads first, a person sees an answer of a case only once the reading of the case as a
whole is signed: their own where they read cases, anybody's where they do not. Every selector that
gives answers asks here; no view and no template decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from uuid import UUID

from django.db.models import Exists, OuterRef, Q, QuerySet

from cases.access import Actor, Capability, OpenedBy
from cases.errors import AnswerWithheld, PermissionDenied
from cases.models import AuditEvent, Case, ReaderFirstEvent, Reading, Result

# What the trail tells of an answer: of events of these kinds only ids are shown while it is
# withheld.
_TELLING = ("result.", "replay.", "shadow.")
_IDS = ("job", "result")


def reader_first_now(*, site_id: UUID) -> bool:
    """Whether a site reads first now. One row by its index."""
    last = ReaderFirstEvent.objects.filter(site_id=site_id).order_by("-id")
    return bool(last.values_list("on", flat=True).first())


def reader_first_history(*, actor: Actor, limit: int = 100) -> list[ReaderFirstEvent]:
    """When the actor's site began and ceased to read first, newest first; for OPERATE."""
    actor.require(Capability.OPERATE)
    events = ReaderFirstEvent.objects.filter(site_id=actor.own_site)
    return list(events.select_related("changed_by").order_by("-id")[:limit])


def cases_withheld_count(*, actor: Actor, most: int = 10_000) -> int:
    """In how many cases of the actor's site nobody has signed a reading of the whole case: what the
    model answers there is withheld from everybody while the site reads first. Up to ``most``."""
    actor.require(Capability.OPERATE)
    signed = Reading.objects.filter(
        case_id=OuterRef("pk"), finding=None, addendum_to=None, signed_at__isnull=False
    )
    cases = Case.objects.filter(~Exists(signed), site_id=actor.own_site)
    return cases.filter(patient__erased_at__isnull=True).order_by()[:most].count()


def is_open(actor: Actor, *, case: str) -> Exists:
    """As SQL: whether the answers of the case whose id a row holds under ``case`` are open to an
    actor whose site reads first."""
    signed = Reading.objects.filter(
        case_id=OuterRef(case), finding=None, addendum_to=None, signed_at__isnull=False
    )
    if actor.opened_by is OpenedBy.OWN:
        signed = signed.filter(reader_id=actor.user_id)
    return Exists(signed)


def results_open(
    *, actor: Actor, results: QuerySet[Result], case: str = "image__case_id"
) -> QuerySet[Result]:
    """Those of ``results`` that the actor may see. ``case``: the way from a row to its case."""
    if actor.opened_by is None:
        return results
    return results.filter(is_open(actor, case=case))


def answers_withheld(*, actor: Actor, case_ids: Iterable[UUID]) -> frozenset[UUID]:
    """Those of these cases whose answers the actor must not see yet.

    No query where the actor's site does not read first; else one.
    """
    asked = frozenset(case_ids)
    if actor.opened_by is None or not asked:
        return frozenset()
    signed = Reading.objects.filter(
        case_id__in=asked, finding=None, addendum_to=None, signed_at__isnull=False
    )
    if actor.opened_by is OpenedBy.OWN:
        signed = signed.filter(reader_id=actor.user_id)
    return asked - set(signed.values_list("case_id", flat=True))


def answers_withheld_beside(
    *, actor: Actor, case_id: UUID, others: Iterable[UUID]
) -> frozenset[UUID]:
    """The same for other cases that are shown beside ``case_id``, such as earlier ones of the
    patient: while its own answer is withheld, theirs are too."""
    asked = frozenset(others)
    withheld = answers_withheld(actor=actor, case_ids=asked | {case_id})
    return asked if case_id in withheld else asked & withheld


def shown_beside(*, actor: Actor, case_id: UUID, others: Sequence[Case]) -> Sequence[Case]:
    """``others``, loaded by ``with_answers`` to be shown beside ``case_id``: without their answers
    where those are withheld there."""
    ids = [other.pk for other in others]
    withheld = answers_withheld_beside(actor=actor, case_id=case_id, others=ids)
    for other in others:
        if other.pk in withheld:
            for image in other.images.all():
                for job in image.jobs.all():
                    # As the gate leaves it where a result is not loaded at all.
                    job._state.fields_cache["result"] = None
    return others


def answer_required_open(*, actor: Actor, case_id: UUID) -> None:
    """``AnswerWithheld`` where the actor must not see the answers of this case yet."""
    if answers_withheld(actor=actor, case_ids=[case_id]):
        raise AnswerWithheld()


def answers_rank(actor: Actor) -> bool:
    """Whether lists may be sorted or filtered by what the model answered: not where any of it is
    withheld, since the place of a row would tell."""
    return actor.opened_by is None


def many_answers_required(actor: Actor) -> None:
    """``PermissionDenied`` for somebody who reads cases at a site that reads first: figures over
    many cases are not shown to them, since of a few cases they tell single answers."""
    if actor.opened_by is OpenedBy.OWN:
        raise PermissionDenied(
            "Your site reads first. What the model answered in many cases is shown to people who "
            "read no cases."
        )


def readings_shown(*, actor: Actor, readings: QuerySet[Reading]) -> QuerySet[Reading]:
    """``readings`` without those of colleagues who had seen an answer that the actor must not see
    yet: what they say may tell it."""
    if actor.opened_by is None:
        return readings
    # Where no answer had been seen there is nothing to tell of.
    untold = Q(ai_seen=False) & (Q(after_reveal__isnull=True) | Q(after_reveal=False))
    own = Q(reader_id=actor.user_id)
    return readings.filter(untold | own | Q(is_open(actor, case="case_id")))


def events_shown(*, actor: Actor, events: Sequence[AuditEvent]) -> Sequence[AuditEvent]:
    """``events`` as the actor may see them: of answers that are withheld, only that they are there.

    Of events that name an answer but no case nothing more is told either.
    """
    if actor.opened_by is None:
        return events
    cases = {event.case_id for event in events if event.case_id is not None}
    withheld = answers_withheld(actor=actor, case_ids=cases)
    for event in events:
        hidden = event.case_id is None or event.case_id in withheld
        if hidden and event.action.startswith(_TELLING):
            event.detail = {name: event.detail[name] for name in _IDS if name in event.detail}
    return events
