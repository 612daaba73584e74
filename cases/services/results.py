"""Storing answers through the fence, and noting who read them first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import DataError, IntegrityError, connection, transaction

from cases.access import Actor
from cases.models import Job, Result, ResultRead
from cases.services.audit import audit_record_all
from cases.services.leases import jobs_fence_to_succeeded
from cases.services.model_moves import model_life_share
from cases.services.shadow_jobs import shadow_jobs_create
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


@dataclass(frozen=True)
class Finished:
    """What the engine said for one job, and the attempt that asked it."""

    job_id: UUID
    attempt: int
    answer: Answer


@dataclass(frozen=True)
class Stored:
    """What became of a batch: the results by job, and the jobs whose answer the database refused.

    A job in neither was called off, or another attempt holds it.
    """

    results: dict[UUID, Result]
    refused: frozenset[UUID] = frozenset()


def result_store(*, actor: Actor, job_id: UUID, attempt: int, answer: Answer) -> Result | None:
    """RUNNING -> SUCCEEDED with its one result, for the holder of ``attempt``.

    None, and nothing written, where the job was cancelled or another attempt holds it: the
    fence that makes "exactly one result" true.
    """
    return _store(actor, [Finished(job_id, attempt, answer)]).get(job_id)


def results_store(*, actor: Actor, finished: Sequence[Finished]) -> Stored:
    """``result_store`` for a whole batch, in one transaction and a constant number of statements.

    Each job has its own fence: those that were called off or taken over are left out, and the
    rest is stored. Where the database refuses a row, the answers are stored one by one, so that
    the bad one loses nobody else's; its job stays RUNNING, and the caller ends it.
    """
    try:
        return Stored(_store(actor, finished))
    except (IntegrityError, DataError):
        if len(finished) == 1:
            return Stored({}, frozenset({finished[0].job_id}))
    results: dict[UUID, Result] = {}
    refused: set[UUID] = set()
    for one in finished:
        try:
            results.update(_store(actor, [one]))
        except (IntegrityError, DataError):
            refused.add(one.job_id)
    return Stored(results, frozenset(refused))


@transaction.atomic
def _store(actor: Actor, finished: Sequence[Finished]) -> dict[UUID, Result]:
    # The model in shadow leaves before this, or when its job stands and can be called off. Before
    # any row: a promotion that holds the lock wants the live model's row, which our result keeps.
    model_life_share()
    answers = {one.job_id: one.answer for one in finished}
    jobs = jobs_fence_to_succeeded(actor=actor, fence={one.job_id: one.attempt for one in finished})
    if not jobs:
        return {}
    case_of = _images_hold({job.image_id: answers[job.pk].phash for job in jobs})
    results = [_row(job, answers[job.pk]) for job in jobs]
    Result.objects.bulk_create(results)
    audit_record_all(
        actor=actor,
        action="result.stored",
        object_type="result",
        case_of={result.pk: case_of[result.image_id] for result in results},
        site_of={result.pk: result.job.site_id for result in results},
        detail_of={
            result.pk: {"job": str(result.job_id), "outcome": result.outcome} for result in results
        },
    )
    shadow_jobs_create(actor=actor, results=results)
    return {result.job_id: result for result in results}


def _images_hold(phash_of: Mapping[UUID | None, int | None]) -> dict[UUID, UUID]:
    """The case of each image, all locked in the order of their ids; a first hash is kept.

    After the jobs and in one order, as whoever erases a patient's data locks them. One statement
    for all; the ORM would need two, and write a CASE of as many branches.
    """
    hashes = [None if value is None else signed64(value) for value in phash_of.values()]
    with connection.cursor() as cursor:
        cursor.execute(
            "WITH told AS (SELECT * FROM unnest(%s::uuid[], %s::bigint[]) AS told (id, phash)), "
            "held AS (SELECT id, case_id, phash FROM cases_image WHERE id IN (SELECT id FROM told) "
            "ORDER BY id FOR NO KEY UPDATE), "
            "kept AS (UPDATE cases_image SET phash = told.phash FROM told JOIN held USING (id) "
            "WHERE cases_image.id = held.id AND held.phash IS NULL AND told.phash IS NOT NULL) "
            "SELECT id, case_id FROM held",
            [list(phash_of), hashes],
        )
        return {row[0]: row[1] for row in cursor.fetchall()}


def _row(job: Job, answer: Answer) -> Result:
    assert job.image_id and job.frame is not None and job.model_version_id
    scores = answer.scores or {}
    return Result(
        job=job,
        image_id=job.image_id,
        frame=job.frame,
        model_version_id=job.model_version_id,
        attempt=job.attempt,
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


def result_read_note(*, actor: Actor, result: Result, case_id: UUID) -> None:
    """Audit the first read of a result by a token, or by a person; later reads leave nothing."""
    reader = actor.token_id or actor.user_id
    if reader is None or ResultRead.objects.filter(result=result, reader_id=reader).exists():
        # Who polls has nearly always read it: that costs one query and no transaction.
        return
    results_read_note(actor=actor, case_of={result.pk: case_id})


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
