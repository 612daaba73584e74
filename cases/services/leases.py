"""The worker's side of a job: claim, heartbeat, finish, release; and the sweeper.

All times are the database's: a worker with a wrong clock cannot hold or lose a lease by it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from django.db.models import F, QuerySet, Value
from django.db.models.functions import Coalesce, Now

from cases import queue
from cases.access import Actor
from cases.intake.formats import AS_SENT
from cases.models import Frame, Image, Job, Result
from cases.selectors.serving import suspension_now
from cases.services.locks import lock_patience
from cases.services.model_moves import model_life_share
from cases.services.moves import job_audit, jobs_move
from cases.services.requeues import job_requeue, requeue_share
from cases.states import JobState
from cases.vocabulary import ENGINE_KINDS, JobKind

RETRY_PAUSE = timedelta(seconds=3)
AHEAD_PATIENCE_MS = 500


@dataclass(frozen=True)
class Claim:
    """One job in a worker's hands: the fence is the pair of id and attempt."""

    job_id: UUID
    kind: JobKind
    attempt: int
    image_id: UUID
    frame: int
    storage_name: str
    model_version_id: UUID
    request_id: str


def lease_end() -> Any:
    """When a lease that is taken or extended now ends, by the database's clock."""
    return Now() + Value(timedelta(seconds=settings.BCWEB_LEASE_SECONDS))


def engine_jobs_claim(*, actor: Actor, limit: int, readings_only: bool = False) -> list[Claim]:
    """Take what is most due: up to ``limit`` readings of one model, or one replay.

    PENDING -> RUNNING for ``BCWEB_LEASE_SECONDS`` at a time; rows another worker is taking are
    skipped. One replay only: those behind it are perhaps due after the images that wait. Where
    neither waits, one job of the model in shadow: an answer that comes in meanwhile waits for
    that one image at most. While answers are suspended only replays are taken.

    ``readings_only``: for who takes the next batch while it still reads one. Nothing where it is
    the turn of something else; ``OperationalError`` rather than a wait that its leases and its
    watch over the engine would not bear.
    """
    if readings_only:
        with transaction.atomic():
            lock_patience(AHEAD_PATIENCE_MS)
            due = _kinds_due((*ENGINE_KINDS, JobKind.SHADOW))
            return _claim(actor, due[0], limit) if due[:1] == [JobKind.INFERENCE] else []
    for kind in _kinds_due((*ENGINE_KINDS, JobKind.SHADOW)):
        # Another worker may have been faster with one kind: then the next one's turn has come.
        claims = _claim(actor, kind, limit if kind is JobKind.INFERENCE else 1)
        if claims:
            return claims
    return []


def _kinds_due(kinds: Sequence[JobKind]) -> list[JobKind]:
    """The kinds of which a job waits, in whose turn it is, in one query; the shadow comes last."""
    first, *others = [_waiting(kind).values_list("due_at", "kind")[:1] for kind in kinds]
    heads = [(due_at, JobKind(kind)) for due_at, kind in first.union(*others, all=True)]
    return [kind for _, kind in sorted(heads, key=lambda head: (head[1] == JobKind.SHADOW, head))]


def replay_job_claim(*, actor: Actor, job_id: UUID) -> list[Claim]:
    """Take just this replay, where it still waits; else an empty list."""
    return _claim(actor, JobKind.REPLAY, 1, job_id=job_id)


def _waiting(kind: JobKind) -> QuerySet[Job]:
    waiting = Job.objects.filter(kind=kind, state=JobState.PENDING, available_at__lte=Now())
    return waiting.order_by("due_at", "id")


@transaction.atomic
def _claim(actor: Actor, kind: JobKind, limit: int, *, job_id: UUID | None = None) -> list[Claim]:
    if kind is not JobKind.REPLAY:
        # Whoever suspends answers waits for this claim, or it sees that they are. Before any row.
        model_life_share()
        if suspension_now() is not None:
            return []
    waiting = _waiting(kind)
    if job_id is not None:
        waiting = waiting.filter(pk=job_id)
    rows = list(
        waiting.select_for_update(skip_locked=True, of=("self",)).values_list(
            "pk", "model_version_id", "error_code"
        )[:limit]
    )
    if not rows:
        return []
    chosen = _batch(rows)
    moved = jobs_move(
        chosen,
        to=JobState.RUNNING,
        sources=frozenset({JobState.PENDING}),
        actor=actor,
        worker=actor.label[:120],
        attempt=F("attempt") + 1,
        lease_expires_at=lease_end(),
        started_at=Coalesce(F("started_at"), Now()),
    )
    return _claims(moved, chosen)


def _batch(rows: Sequence[tuple[UUID, UUID | None, str]]) -> list[UUID]:
    """Which of these jobs (id, model, what an earlier attempt stumbled over) go together.

    One batch runs on one model; jobs of another version are the next batch. What failed before
    goes alone: perhaps it took its worker down, and would take its batch-mates' attempts again.
    """
    first, model, stumbled = rows[0]
    if stumbled:
        return [first]
    return [pk for pk, other, error in rows if other == model and not error]


def _claims(moved: Sequence[Job], order: Sequence[UUID]) -> list[Claim]:
    """What the worker needs to know of the jobs; a replay, like a job in shadow, works on its
    result's image."""
    result_of = {job.pk: job.replay_of_id or job.shadow_of_id for job in moved}
    about = [result_id for result_id in result_of.values() if result_id]
    image_of_result = dict(
        Result.objects.filter(pk__in=about).values_list("pk", "image_id") if about else ()
    )
    image_of = {
        job.pk: image_of_result[result_id] if (result_id := result_of[job.pk]) else job.image_id
        for job in moved
    }
    wanted = {image_id for image_id in image_of.values() if image_id}
    images = {image.pk: image for image in Image.objects.filter(pk__in=wanted)}
    drawn = [pk for pk, image in images.items() if image.format not in AS_SENT]
    frames = {
        (frame.image_id, frame.index): frame.storage_name
        for frame in (Frame.objects.filter(image_id__in=drawn) if drawn else ())
    }
    claims = []
    for job in sorted(moved, key=lambda job: order.index(job.pk)):
        image_id = image_of[job.pk]
        assert image_id is not None and job.frame is not None
        assert job.model_version_id is not None
        claims.append(
            Claim(
                job_id=job.pk,
                kind=JobKind(job.kind),
                attempt=job.attempt,
                image_id=image_id,
                frame=job.frame,
                storage_name=frames.get((image_id, job.frame), images[image_id].storage_name),
                model_version_id=job.model_version_id,
                request_id=job.request_id,
            )
        )
    return claims


def jobs_heartbeat(*, claims: Sequence[Claim]) -> frozenset[UUID]:
    """Extend the leases still held. Returns the ids still held: the rest was taken or cancelled.

    RUNNING stays RUNNING: no move, so no event. One statement, which locks the rows in the order
    in which moves do.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "WITH held AS (SELECT job.id FROM cases_job AS job "
            "JOIN unnest(%s::uuid[], %s::int[]) AS told (id, attempt) "
            "ON job.id = told.id AND job.attempt = told.attempt "
            "WHERE job.state = %s ORDER BY job.id FOR NO KEY UPDATE OF job) "
            "UPDATE cases_job SET lease_expires_at = statement_timestamp() + %s::interval "
            "FROM held WHERE cases_job.id = held.id RETURNING cases_job.id",
            [
                [claim.job_id for claim in claims],
                [claim.attempt for claim in claims],
                JobState.RUNNING.value,
                f"{settings.BCWEB_LEASE_SECONDS} seconds",
            ],
        )
        return frozenset(row[0] for row in cursor.fetchall())


def job_fence_to_succeeded(*, actor: Actor, job_id: UUID, attempt: int) -> Job | None:
    """RUNNING -> SUCCEEDED for the holder of ``attempt``; None where another took over.

    Only `replays.replay_store`, `shadow_results.shadow_result_store`,
    `training_work.training_succeed` and `freeze_work.freeze_store` call it, in the transaction
    that stores what the job was for.
    """
    moved = jobs_fence_to_succeeded(actor=actor, fence={job_id: attempt})
    return moved[0] if moved else None


def jobs_fence_to_succeeded(*, actor: Actor, fence: Mapping[UUID, int]) -> list[Job]:
    """RUNNING -> SUCCEEDED for the holders of these attempts, by job; the others are left out.

    `results.results_store` calls it, in the transaction that stores the answers.
    """
    return jobs_move(
        fence,
        to=JobState.SUCCEEDED,
        sources=frozenset({JobState.RUNNING}),
        actor=actor,
        fence=fence,
        # What an earlier attempt stumbled over is in its events; the job itself went well.
        error_code="",
        error_detail="",
    )


@transaction.atomic
def job_fail(
    *, actor: Actor, job_id: UUID, attempt: int, code: str, detail: str, transient: bool
) -> JobState | None:
    """End an attempt that went wrong.

    ``transient`` and attempts left: RUNNING -> PENDING after a pause (`requeues.job_requeue`);
    else RUNNING -> FAILED with ``code`` and ``detail`` (no patient data). Returns the new state,
    or None where another attempt holds the job.
    """
    requeue_share(job_id=job_id)
    job = Job.objects.select_for_update().filter(pk=job_id).first()
    if job is None:
        return None
    told: dict[str, Any] = {
        "worker": "",
        "error_code": code[:40],
        "error_detail": detail[:500],
        "available_at": Now() + Value(RETRY_PAUSE * attempt),
    }
    reason = f"{code}: {detail}"
    if transient and job.attempt < job.max_attempts:
        again = job_requeue(
            actor=actor,
            job_id=job_id,
            kind=JobKind(job.kind),
            model_id=job.model_version_id,
            fence=attempt,
            reason=reason,
            **told,
        )
        return JobState(again.state) if again else None
    moved = jobs_move(
        [job_id],
        to=JobState.FAILED,
        sources=frozenset({JobState.RUNNING}),
        actor=actor,
        reason=reason,
        fence=attempt,
        **told,
    )
    if not moved:
        return None
    job_audit(actor, moved[0], "job.failed", detail={"code": code})
    return JobState.FAILED


@transaction.atomic
def jobs_release(
    *, actor: Actor, claims: Sequence[Claim], reason: str, pause: timedelta = timedelta(0)
) -> None:
    """RUNNING -> PENDING for jobs that were taken but not begun; claimable after ``pause``.

    The attempt stays used (its number must never come twice, or the fence would not hold) and
    the job gets another one instead. By which model: `requeues.job_requeue`.
    """
    if any(claim.kind is JobKind.INFERENCE for claim in claims):
        model_life_share()
    # In the order in which whoever moves several locks them.
    for claim in sorted(claims, key=lambda claim: claim.job_id):
        job_requeue(
            actor=actor,
            job_id=claim.job_id,
            kind=claim.kind,
            model_id=claim.model_version_id,
            fence=claim.attempt,
            reason=reason,
            worker="",
            max_attempts=F("max_attempts") + 1,
            available_at=Now() + Value(pause),
        )
    for kind in {claim.kind for claim in claims}:
        ids = [claim.job_id for claim in claims if claim.kind == kind]
        queue.ring_on_commit(kind=kind, job_ids=ids)


def jobs_sweep(*, actor: Actor) -> dict[str, int]:
    """Take back what a dead worker held, and ring for what nobody holds.

    Leases past their end: RUNNING -> PENDING, or FAILED (`worker_lost`) where the attempts are
    used up. Safe to run at any time and twice at once.
    """
    counts = {"requeued": 0, "failed": 0, "rung": 0}
    lost = Job.objects.filter(state=JobState.RUNNING, lease_expires_at__lt=Now())
    for job_id, attempt in list(lost.values_list("pk", "attempt")[:500]):
        state = _take_back(actor, job_id, attempt)
        if state is not None:
            counts["failed" if state == JobState.FAILED else "requeued"] += 1
    # While answers are suspended nobody may take what a ring would be for; trainings go on.
    held = suspension_now() is not None
    engine_kinds = (JobKind.REPLAY,) if held else (*ENGINE_KINDS, JobKind.SHADOW)
    for kind in (*engine_kinds, JobKind.TRAINING, JobKind.FREEZE):
        overdue = _waiting(kind).filter(available_at__lte=Now() - timedelta(seconds=2))
        if kind is JobKind.TRAINING:
            # Behind a training that runs nobody may begin one: for hours, each ring would stay.
            running = Job.objects.filter(kind=kind, state=JobState.RUNNING)
            overdue = overdue.exclude(model_line__in=running.values("model_line"))
        elif kind is JobKind.FREEZE:
            # The same worker trains.
            kinds = (JobKind.TRAINING, JobKind.FREEZE)
            if Job.objects.filter(kind__in=kinds, state=JobState.RUNNING).exists():
                continue
        waiting = list(overdue.values_list("pk", flat=True)[: queue.MAX_RINGS])
        if waiting:
            queue.ring(kind=kind, job_ids=waiting, sure=True)
            counts["rung"] += len(waiting)
    return counts


@transaction.atomic
def _take_back(actor: Actor, job_id: UUID, attempt: int) -> JobState | None:
    """End an attempt whose lease ran out; None where it is held again or somebody was faster."""
    requeue_share(job_id=job_id)
    # The lease may have been extended since: look again under the row's lock.
    still = (
        Job.objects.select_for_update(skip_locked=True)
        .filter(pk=job_id, attempt=attempt, lease_expires_at__lt=Now())
        .exists()
    )
    if not still:
        return None
    return job_fail(
        actor=actor,
        job_id=job_id,
        attempt=attempt,
        code="worker_lost",
        detail="The worker stopped answering while it had the job.",
        transient=True,
    )
