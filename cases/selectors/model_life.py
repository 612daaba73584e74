"""Which model was live when, and whether answers were suspended then."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from cases.access import Actor, Capability
from cases.models import ModelEvent, ModelVersion
from cases.selectors.learning import model_live_at
from cases.selectors.serving import Suspension, suspension_at, suspension_now
from cases.states import ModelState


@dataclass(frozen=True)
class LiveInterval:
    """A stretch of time in which one model was live; ``until`` None while it lasts."""

    model: ModelVersion
    since: datetime
    by: str
    reason: str
    until: datetime | None = None


@dataclass(frozen=True)
class LiveAt:
    """What stood at a moment: the live model, since when, and the suspension if there was one."""

    model: ModelVersion
    since: datetime
    suspension: Suspension | None


def live_at(*, actor: Actor, at: datetime | None) -> LiveAt:
    """The model that was live at ``at`` (now where None). ``NotFound`` where none was."""
    model = model_live_at(actor=actor, at=at)
    entered = ModelEvent.objects.filter(model_version=model, to_state=ModelState.ACTIVE)
    if at is not None:
        entered = entered.filter(at__lte=at)
    since = entered.order_by("-id").values_list("at", flat=True)[0]
    return LiveAt(model, since, suspension_now() if at is None else suspension_at(at))


def live_intervals(*, actor: Actor, limit: int = 100) -> list[LiveInterval]:
    """When which model was live, newest first."""
    actor.require(Capability.VIEW_MODELS)
    active = ModelState.ACTIVE.value
    moves = ModelEvent.objects.filter(to_state=active) | ModelEvent.objects.filter(
        from_state=active
    )
    events = moves.select_related("model_version").defer("model_version__card")
    found: list[LiveInterval] = []
    left: dict[object, datetime] = {}
    for event in events.order_by("-id")[: 2 * limit]:
        if event.from_state == active:
            left[event.model_version_id] = event.at
            continue
        found.append(
            LiveInterval(
                model=event.model_version,
                since=event.at,
                by=event.actor,
                reason=event.reason,
                until=left.pop(event.model_version_id, None),
            )
        )
    return found


def model_events(*, actor: Actor, model: ModelVersion) -> list[ModelEvent]:
    """The moves of one model, oldest first."""
    actor.require(Capability.VIEW_MODELS)
    return list(ModelEvent.objects.filter(model_version=model).order_by("id"))
