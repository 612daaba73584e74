"""Storing answers through the fence, and noting who read them first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from cases.access import Actor
from cases.models import Image, Job, Result, ResultRead
from cases.services.audit import audit_record, audit_record_all
from cases.services.leases import job_fence_to_succeeded
from cases.services.model_moves import model_life_share
from cases.services.shadow_jobs import shadow_job_create
from cases.vocabulary import Outcome


@dataclass(frozen=True)
class Answer:
    """What the engine says about one frame, with all that is needed to compute it again.

    ``scores``: calibrated scores by class in 0..1, or None where refused. ``heatmap``: float16
    bytes, C order, 3 x ``heatmap_rows`` x ``heatmap_columns``. ``phash``: unsigned 64 bits.
    ``temperature``, ``threshold`` and ``minimum_score`` (None: never abstains) turned logits
    into the answer; ``transform`` says how the frame was put on the input square.
    ``feature_distance``: from the model's training images, 1 in their mean square; None where the
    model has no measure of it.
    """

    outcome: Outcome
    reason: str
    label: str
    scores: dict[str, float] | None
    threshold: float
    sensitivity: float
    heatmap: bytes | None
    heatmap_rows: int
    heatmap_columns: int
    heatmap_box: list[float] | None
    phash: int | None
    engine: str
    preprocessing: str
    duration_ms: float
    reason_code: str = ""
    temperature: float | None = None
    minimum_score: float | None = None
    transform: dict[str, Any] | None = None
    feature_distance: float | None = None


def signed64(value: int) -> int:
    """An unsigned 64-bit hash as Postgres keeps it (bigint is signed)."""
    return value - (1 << 64) if value >= 1 << 63 else value


@transaction.atomic
def result_store(*, actor: Actor, job_id: UUID, attempt: int, answer: Answer) -> Result | None:
    """RUNNING -> SUCCEEDED with its one result, for the holder of ``attempt``.

    None, and nothing written, where the job was cancelled or another attempt holds it: the
    fence that makes "exactly one result" true.
    """
    # The model in shadow leaves before this, or when its job stands and can be called off. Before
    # any row: a promotion that holds the lock wants the live model's row, which our result keeps.
    model_life_share()
    job = job_fence_to_succeeded(actor=actor, job_id=job_id, attempt=attempt)
    if job is None:
        return None
    result = _create(job, attempt, answer)
    if answer.phash is not None:
        Image.objects.filter(pk=result.image_id, phash__isnull=True).update(
            phash=signed64(answer.phash)
        )
    audit_record(
        actor=actor,
        action="result.stored",
        object_type="result",
        object_id=result.pk,
        site_id=job.site_id,
        case_id=job.image.case_id if job.image else None,
        detail={"job": str(job.pk), "outcome": answer.outcome.value},
    )
    shadow_job_create(actor=actor, result=result, request_id=job.request_id)
    return result


def _create(job: Job, attempt: int, answer: Answer) -> Result:
    assert job.image_id and job.frame is not None and job.model_version_id
    scores = answer.scores or {}
    return Result.objects.create(
        job=job,
        image_id=job.image_id,
        frame=job.frame,
        model_version_id=job.model_version_id,
        attempt=attempt,
        outcome=answer.outcome.value,
        reason=answer.reason[:300],
        reason_code=answer.reason_code,
        label=answer.label,
        score_benign=scores.get("benign"),
        score_malignant=scores.get("malignant"),
        score_normal=scores.get("normal"),
        threshold=answer.threshold,
        sensitivity=answer.sensitivity,
        temperature=answer.temperature,
        minimum_score=answer.minimum_score,
        transform=answer.transform,
        feature_distance=answer.feature_distance,
        heatmap=answer.heatmap,
        heatmap_rows=answer.heatmap_rows,
        heatmap_columns=answer.heatmap_columns,
        heatmap_box=answer.heatmap_box,
        engine=answer.engine,
        preprocessing=answer.preprocessing,
        duration_ms=answer.duration_ms,
    )


@transaction.atomic
def result_read_note(*, actor: Actor, result: Result, case_id: UUID) -> None:
    """Audit the first read of a result by a token, or by a person; later reads leave nothing."""
    reader = actor.token_id or actor.user_id
    if reader is None:
        return
    _, first = ResultRead.objects.get_or_create(result=result, reader_id=reader)
    if first:
        audit_record(
            actor=actor,
            action="result.read",
            object_type="result",
            object_id=result.pk,
            case_id=case_id,
        )


@transaction.atomic
def results_read_note(*, actor: Actor, case_of: Mapping[UUID, UUID]) -> None:
    """``result_read_note`` for many results (id to its case) at the cost of one.

    Of two readers at once with the same token only one notes each first read.
    """
    reader = actor.token_id or actor.user_id
    if reader is None or not case_of:
        return
    with connection.cursor() as cursor:
        # The ORM cannot tell which rows a conflict left out; in one order, so that none waits
        # for the other.
        cursor.execute(
            "INSERT INTO cases_resultread (result_id, reader_id) "
            "SELECT unnest(%s::uuid[]), %s ON CONFLICT DO NOTHING RETURNING result_id",
            [sorted(case_of), reader],
        )
        first = [row[0] for row in cursor.fetchall()]
    audit_record_all(
        actor=actor,
        action="result.read",
        object_type="result",
        case_of={result_id: case_of[result_id] for result_id in first},
    )
