"""Asking the model in shadow: one silent job for each result of record."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import transaction
from django.db.models.functions import Now

from cases.access import Actor
from cases.models import Job, ModelVersion, Result
from cases.services.moves import jobs_move, jobs_record
from cases.states import JOB, JobState, ModelState
from cases.vocabulary import JobKind, PriorityRank


def shadow_jobs_create(*, actor: Actor, results: Sequence[Result]) -> list[Job]:
    """A PENDING shadow job for each job that one of ``results`` ended; none where no model is in
    shadow.

    Called in the transaction that stores the results, so that no answered job is left out; it
    holds `model_life_share`. Not rung for: a worker takes them when nothing else waits.
    """
    model = ModelVersion.objects.filter(state=ModelState.SHADOW).only("pk").first()
    if model is None:
        return []
    jobs = [
        Job(
            kind=JobKind.SHADOW,
            site_id=result.job.site_id,
            shadow_of=result,
            frame=result.frame,
            model_version=model,
            priority=PriorityRank.ROUTINE,
            due_at=Now(),
            # A candidate that kills the engine gets no second try: the next answer needs it.
            max_attempts=1,
            request_id=result.job.request_id,
        )
        for result in results
        # A result of the shadow model itself has nothing to be compared with.
        if result.model_version_id != model.pk
    ]
    if jobs:
        Job.objects.bulk_create(jobs)
        jobs_record(jobs, {}, actor=actor, reason="")
    return jobs


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
