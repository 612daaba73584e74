"""Asking the model in shadow: one silent job for each result of record."""

from __future__ import annotations

from django.db import transaction
from django.db.models.functions import Now

from cases.access import Actor
from cases.models import Job, ModelVersion, Result
from cases.services.moves import jobs_move, jobs_record
from cases.states import JOB, JobState, ModelState
from cases.vocabulary import JobKind, PriorityRank


def shadow_job_create(*, actor: Actor, result: Result, request_id: str) -> Job | None:
    """A PENDING shadow job for the job that ``result`` ended; None where no model is in shadow.

    Called in the transaction that stores the result, so that no answered job is left out; it
    holds `model_life_share`. Not rung for: a worker takes it when nothing else waits.
    """
    model = ModelVersion.objects.filter(state=ModelState.SHADOW).only("pk").first()
    # A result of the shadow model itself has nothing to be compared with.
    if model is None or model.pk == result.model_version_id:
        return None
    job = Job.objects.create(
        kind=JobKind.SHADOW,
        site_id=result.job.site_id,
        shadow_of=result,
        frame=result.frame,
        model_version=model,
        priority=PriorityRank.ROUTINE,
        due_at=Now(),
        # A candidate that kills the engine gets no second try: the next answer needs it.
        max_attempts=1,
        request_id=request_id,
    )
    jobs_record([job], {}, actor=actor, reason="")
    return job


@transaction.atomic
def shadow_jobs_cancel(*, actor: Actor, model: ModelVersion, reason: str) -> int:
    """PENDING | RUNNING -> CANCELLED for what ``model`` still had to do in shadow; how many."""
    jobs = Job.objects.filter(kind=JobKind.SHADOW, model_version=model, state__in=JOB.active)
    moved = jobs_move(
        list(jobs.values_list("pk", flat=True)),
        to=JobState.CANCELLED,
        sources=frozenset({JobState.PENDING, JobState.RUNNING}),
        actor=actor,
        reason=reason,
    )
    return len(moved)
