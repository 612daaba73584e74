"""Requests to promote a model, and what deciding them would do, in numbers."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from django.db.models import Count, Q, QuerySet

from cases.access import Actor, Capability
from cases.errors import NotFound
from cases.models import (
    GateVerdict,
    Job,
    ModelFault,
    ModelVersion,
    PromotionRequest,
    TrainingRun,
)
from cases.states import JOB, JobState, ModelState
from cases.vocabulary import JobKind


@dataclass(frozen=True)
class Outlook:
    """The state that a decision would change. Counts are over all sites: one model serves all."""

    active: ModelVersion | None
    shadow: ModelVersion | None
    waiting: int
    running: int


def outlook(*, actor: Actor) -> Outlook:
    actor.require(Capability.VIEW_MODELS)
    models = ModelVersion.objects.defer("card")
    by_state = {
        model.state: model
        for model in models.filter(state__in=[ModelState.ACTIVE, ModelState.SHADOW])
    }
    counts = Job.objects.filter(kind=JobKind.INFERENCE, state__in=JOB.active).aggregate(
        waiting=Count("pk", filter=Q(state=JobState.PENDING)),
        running=Count("pk", filter=Q(state=JobState.RUNNING)),
    )
    return Outlook(by_state.get(ModelState.ACTIVE), by_state.get(ModelState.SHADOW), **counts)


def promotion_list(*, actor: Actor) -> QuerySet[PromotionRequest]:
    """All requests, newest first: a model is the same for every site."""
    actor.require(Capability.VIEW_MODELS)
    return (
        PromotionRequest.objects.select_related("model_version", "requested_by", "decided_by")
        .defer("model_version__card")
        .order_by("-created_at", "-id")
    )


def promotion_get(*, actor: Actor, request_id: UUID) -> PromotionRequest:
    request = promotion_list(actor=actor).filter(pk=request_id).first()
    if request is None:
        raise NotFound()
    return request


def promotions_open(*, actor: Actor) -> list[PromotionRequest]:
    """Those that wait for a second person."""
    return list(promotion_list(actor=actor).filter(decision=""))


def training_ordered_by(*, model: ModelVersion, user_id: UUID) -> bool:
    """Whether this person ordered a training that ``model`` came of: by hand, by a token of
    theirs, or by a schedule that they had added, changed or switched on before it fired."""
    ordered = Q(requested_by_user_id=user_id) | Q(orderers__user_id=user_id)
    return TrainingRun.objects.filter(ordered, model_version=model).exists()


def gate_of(*, model: ModelVersion) -> GateVerdict | None:
    """The verdict of a model that the caller has let the actor see."""
    return GateVerdict.objects.filter(pk=model.pk).first()


def faults_of(*, model: ModelVersion) -> list[ModelFault]:
    """When its file was refused, newest first."""
    return list(ModelFault.objects.filter(model_version=model).order_by("-id")[:10])
