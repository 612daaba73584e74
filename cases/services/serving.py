"""The switch that suspends answers: jobs wait, nothing is refused, the history stays."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from cases import queue
from cases.access import Actor, Capability
from cases.errors import PermissionDenied, StateConflict
from cases.models import Job, ServingEvent
from cases.selectors.serving import suspension_now
from cases.services.audit import audit_record
from cases.services.model_moves import model_life_lock
from cases.services.persons import person_required, reason_required
from cases.states import JobState
from cases.vocabulary import JobKind, ServingChange


@transaction.atomic
def serving_suspend(*, actor: Actor, reason: str) -> ServingEvent:
    """Answering -> suspended: from now on no worker takes an image; submissions still come in.

    For OPERATE or PROMOTE, by a token too: stopping is always the safe side. Images being read
    at this moment are finished. ``StateConflict`` where answers are suspended already,
    ``FieldInvalid`` without a reason.
    """
    told = reason_required(reason)
    if not (actor.can(Capability.OPERATE) or actor.can(Capability.PROMOTE)):
        raise PermissionDenied()
    at = model_life_lock()
    if suspension_now() is not None:
        raise StateConflict("Answers are suspended already.")
    return _event(actor, ServingChange.SUSPENDED, told, at)


@transaction.atomic
def serving_resume(*, actor: Actor, reason: str) -> ServingEvent:
    """Suspended -> answering: what waits is answered, oldest due first.

    For a person with OPERATE or PROMOTE, never a token. ``StateConflict`` where answers are not
    suspended.
    """
    told = reason_required(reason)
    person_required(actor, Capability.OPERATE, Capability.PROMOTE)
    at = model_life_lock()
    if suspension_now() is None:
        raise StateConflict("Answers are not suspended.")
    event = _event(actor, ServingChange.RESUMED, told, at)
    waiting = Job.objects.filter(kind=JobKind.INFERENCE, state=JobState.PENDING)
    first = list(waiting.order_by("due_at", "id").values_list("pk", flat=True)[: queue.MAX_RINGS])
    queue.ring_on_commit(kind=JobKind.INFERENCE, job_ids=first)
    return event


def _event(actor: Actor, change: ServingChange, reason: str, at: datetime) -> ServingEvent:
    event = ServingEvent.objects.create(
        change=change.value, reason=reason, actor=actor.label, user_id=actor.user_id, at=at
    )
    audit_record(
        actor=actor,
        action=f"serving.{change.value}",
        object_type="serving",
        changed_fields=["change"],
        detail={"reason": reason},
        every_site=True,
    )
    return event
