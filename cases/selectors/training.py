"""Reading training runs."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from django.db.models import Prefetch, QuerySet

from cases.access import Actor, Capability
from cases.errors import NotFound
from cases.models import TrainingEpoch, TrainingRun
from cases.states import JOB, JobState

ACTIVE = [state.value for state in JOB.active]
FINAL = [state.value for state in JOB.final]


def training_run_list(*, actor: Actor) -> QuerySet[TrainingRun]:
    """The training runs of the actor's site, newest first, for viewers of models and trainers.

    Approvers see them without seeing cases: they judge how a model came about.
    """
    if not actor.can(Capability.TRAIN):
        actor.require(Capability.VIEW_MODELS)
    return (
        TrainingRun.objects.filter(job__site_id=actor.own_site)
        .select_related("job", "snapshot", "model_version__gate", "init_model", "schedule", "plan")
        .defer("card", "log_tail", "model_version__card", "init_model__card")
        .order_by("-created_at", "-job_id")
    )


def training_run_get(*, actor: Actor, run_id: UUID) -> TrainingRun:
    """One run with its epoch table and the trail of its job. ``NotFound`` at another site."""
    epochs = Prefetch("epoch_rows", queryset=TrainingEpoch.objects.order_by("epoch"))
    run = (
        training_run_list(actor=actor)
        .defer(None)
        .defer("card", "model_version__card", "init_model__card")
        .prefetch_related(epochs, "job__events")
        .filter(pk=run_id)
        .first()
    )
    if run is None:
        raise NotFound()
    return run


def training_run_ahead(run: TrainingRun) -> TrainingRun | None:
    """The run of the same line that goes before one that waits: the one running, else the next.

    Lines are shared by all sites: it may be another site's, of which no more is told.
    """
    if run.job.state != JobState.PENDING:
        return None
    ahead = (
        TrainingRun.objects.select_related("job")
        .filter(job__model_line=run.job.model_line, job__state__in=ACTIVE)
        .exclude(pk=run.pk)
    )
    running = ahead.filter(job__state=JobState.RUNNING).first()
    return running or ahead.filter(job__due_at__lt=run.job.due_at).order_by("job__due_at").first()


def training_run_work(*, run_id: UUID) -> TrainingRun:
    """A claimed run with what a worker needs to do it."""
    return TrainingRun.objects.select_related(
        "snapshot", "init_model", "job", "plan__locked_set"
    ).get(pk=run_id)


def training_runs_ended(*, run_ids: Iterable[UUID]) -> set[UUID]:
    """Those of these runs that have come to their end: their folders are no longer needed."""
    ended = TrainingRun.objects.filter(pk__in=list(run_ids), job__state__in=FINAL)
    return set(ended.values_list("pk", flat=True))
