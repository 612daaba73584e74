"""Reading training runs."""

from __future__ import annotations

from django.db.models import QuerySet

from cases.access import Actor, Capability
from cases.models import Job
from cases.vocabulary import JobKind


def training_run_list(*, actor: Actor) -> QuerySet[Job]:
    """The training jobs of the actor's site, newest first, for viewers of models and trainers.

    Approvers see them without seeing cases: they judge how a model came about.
    """
    if not actor.can(Capability.TRAIN):
        actor.require(Capability.VIEW_MODELS)
    return (
        Job.objects.filter(site_id=actor.own_site, kind=JobKind.TRAINING)
        .select_related("result")
        .order_by("-created_at", "-id")
    )
