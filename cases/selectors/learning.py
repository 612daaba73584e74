"""Reading model versions."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from django.db.models import QuerySet

from cases.access import Actor, Capability
from cases.errors import NotFound
from cases.models import ModelEvent, ModelVersion
from cases.states import ModelState


def model_list(*, actor: Actor) -> QuerySet[ModelVersion]:
    actor.require(Capability.VIEW_MODELS)
    return ModelVersion.objects.order_by("-created_at", "-id")


def model_get(*, actor: Actor, model_id: UUID) -> ModelVersion:
    model = model_list(actor=actor).filter(pk=model_id).first()
    if model is None:
        raise NotFound()
    return model


def model_of(*, model_id: UUID) -> ModelVersion:
    """The model a claimed job names, without its long card, for the worker that runs it."""
    return ModelVersion.objects.defer("card").get(pk=model_id)


def model_active() -> ModelVersion | None:
    """The ACTIVE model, for the worker that judges another one beside it."""
    return ModelVersion.objects.filter(state=ModelState.ACTIVE).first()


def model_live_at(*, actor: Actor, at: datetime | None) -> ModelVersion:
    """The model that was ACTIVE at ``at`` (now where None). ``NotFound`` where none was."""
    actor.require(Capability.VIEW_MODELS)
    if at is None:
        model = ModelVersion.objects.filter(state=ModelState.ACTIVE).first()
    else:
        model = _active_at(at)
    if model is None:
        raise NotFound("No model was live at that time.")
    return model


def _active_at(at: datetime) -> ModelVersion | None:
    """From the trail: the last activation before ``at`` that was not ended before it."""
    active = ModelState.ACTIVE.value
    events = ModelEvent.objects.filter(at__lte=at).order_by("-id")
    entered = events.filter(to_state=active).select_related("model_version").first()
    if entered is None:
        return None
    left = events.filter(
        id__gt=entered.pk, model_version_id=entered.model_version_id, from_state=active
    )
    return None if left.exists() else entered.model_version
