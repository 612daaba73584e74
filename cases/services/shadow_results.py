"""Keeping what the model in shadow said, apart from the results of record."""

from __future__ import annotations

from uuid import UUID

from django.db import transaction

from cases.access import Actor
from cases.models import Result, ShadowResult
from cases.services.leases import job_fence_to_succeeded
from cases.services.results import Answer


@transaction.atomic
def shadow_result_store(
    *, actor: Actor, job_id: UUID, attempt: int, answer: Answer
) -> ShadowResult | None:
    """RUNNING -> SUCCEEDED with the silent answer, for the holder of ``attempt``.

    The result of record is never touched. None, and nothing written, where the job was called
    off (the model has left the shadow) or another attempt holds it. No heatmap is kept.
    """
    job = job_fence_to_succeeded(actor=actor, job_id=job_id, attempt=attempt)
    if job is None:
        return None
    assert job.shadow_of_id is not None and job.model_version_id is not None
    result = Result.objects.defer("heatmap").get(pk=job.shadow_of_id)
    scores = answer.scores or {}
    return ShadowResult.objects.create(
        job=job,
        result=result,
        model_version_id=job.model_version_id,
        outcome=answer.outcome.value,
        reason_code=answer.reason_code,
        label=answer.label,
        score_benign=scores.get("benign"),
        score_malignant=scores.get("malignant"),
        score_normal=scores.get("normal"),
        threshold=answer.threshold,
        agrees=(answer.outcome.value, answer.label) == (result.outcome, result.label),
        engine=answer.engine,
        duration_ms=answer.duration_ms,
    )
