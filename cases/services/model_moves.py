"""The one function that changes the state of a model version, and what every move leaves behind."""

from __future__ import annotations

from datetime import datetime

from django.db import connection, transaction

from cases.access import Actor
from cases.errors import StateConflict
from cases.models import ModelEvent, ModelVersion
from cases.services.audit import audit_record
from cases.services.locks import advisory_lock
from cases.states import MODEL, ModelState


def model_life_lock() -> datetime:
    """Let one transaction at a time change which model is what; the moment it came in.

    The database's clock after the wait, not the start of the transaction: events of the trail
    are then in the order of their times, and "which model was live at T" has one answer.
    """
    advisory_lock("model-life", wait=True)
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        now: datetime = cursor.fetchone()[0]
    return now


def model_life_share() -> None:
    """Let no model move until this transaction ends: what names the live model stays true.

    Any number of transactions may do so at once. Taken late in a transaction, since a promotion
    or rollback waits for it.
    """
    advisory_lock("model-life", wait=True, shared=True)


def model_move(
    model: ModelVersion, *, to: ModelState, actor: Actor, at: datetime, reason: str
) -> ModelVersion:
    """Move ``model`` to ``to`` with its event and audit row.

    ``at`` is the moment of `model_life_lock`, which the caller holds. ``StateConflict`` for a
    move the lifecycle does not know, and where somebody was faster.
    """
    source = ModelState(model.state)
    if not MODEL.allows(source, to):
        raise StateConflict(f"A model cannot go from {source} to {to}.")
    with transaction.atomic():
        moved = ModelVersion.objects.filter(pk=model.pk, state=source).update(state=to)
        if not moved:
            raise StateConflict()
        model_event(model, source=source, to=to, actor=actor, at=at, reason=reason)
    model.refresh_from_db(fields=["state"])
    return model


def model_event(
    model: ModelVersion,
    *,
    source: ModelState | None,
    to: ModelState,
    actor: Actor,
    at: datetime,
    reason: str,
) -> None:
    ModelEvent.objects.create(
        model_version=model,
        from_state=source.value if source else "",
        to_state=to.value,
        actor=actor.label,
        reason=reason,
        at=at,
    )
    audit_record(
        actor=actor,
        action=f"model.{to.value.lower()}",
        object_type="model",
        object_id=model.pk,
        changed_fields=["state"],
        detail={"sha256": model.sha256, "reason": reason},
        every_site=True,
    )
