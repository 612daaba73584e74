"""Giving a job back so that it is tried again, and by which model."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction

from cases.access import Actor
from cases.models import Job, ModelEvent, ModelVersion
from cases.selectors.serving import suspension_now
from cases.services.model_moves import model_life_share
from cases.services.moves import jobs_move
from cases.states import JobState, ModelState
from cases.vocabulary import JobKind

RUNNING = frozenset({JobState.RUNNING})


def requeue_share(*, job_id: UUID) -> None:
    """Let no model move while an image is perhaps given back: before any row is locked.

    A rollback then finds it waiting, or `job_requeue` finds the rollback. Other kinds of jobs
    keep their model whatever happens, and need nothing.
    """
    if Job.objects.filter(pk=job_id, kind=JobKind.INFERENCE).exists():
        model_life_share()


def job_requeue(
    *,
    actor: Actor,
    job_id: UUID,
    kind: JobKind,
    model_id: UUID | None,
    fence: int,
    reason: str,
    **changes: Any,
) -> Job | None:
    """RUNNING -> PENDING for the holder of attempt ``fence``; None where another one has it.

    An image whose model was rolled back from while it was being read waits for the live model
    from now on, like those that waited then; where it waits for that one already, RUNNING ->
    CANCELLED. The caller has called `requeue_share`.
    """
    heir = _heir(model_id) if kind is JobKind.INFERENCE and model_id else None
    if heir is None:
        moved = jobs_move(
            [job_id],
            to=JobState.PENDING,
            sources=RUNNING,
            actor=actor,
            reason=reason,
            fence=fence,
            **changes,
        )
        return moved[0] if moved else None
    try:
        with transaction.atomic():
            moved = jobs_move(
                [job_id],
                to=JobState.PENDING,
                sources=RUNNING,
                actor=actor,
                reason=f"{reason.rstrip('.')}. Rolled back meanwhile: {heir.version} answers.",
                fence=fence,
                model_version=heir,
                **changes,
            )
    except IntegrityError:
        moved = jobs_move(
            [job_id],
            to=JobState.CANCELLED,
            sources=RUNNING,
            actor=actor,
            reason=f"waits for {heir.version} already",
            fence=fence,
        )
    return moved[0] if moved else None


def readings_hindered(*, model_id: UUID) -> bool:
    """Whether images that a worker took for this model must not be begun now: answers are
    suspended, or the model was rolled back from."""
    return suspension_now() is not None or _heir(model_id) is not None


def _heir(model_id: UUID) -> ModelVersion | None:
    """The live model, where ``model_id`` was rolled back from; None where it was replaced by a
    newer one (its jobs stay its own) or has not left."""
    left = ModelEvent.objects.filter(model_version_id=model_id).order_by("-id").first()
    if left is None or left.to_state != ModelState.RETIRED:
        return None
    # The two moves of a rollback bear the same time, and only there a retired model comes back.
    back = ModelEvent.objects.filter(
        at=left.at, from_state=ModelState.RETIRED, to_state=ModelState.ACTIVE
    )
    if not back.exists():
        return None
    return ModelVersion.objects.filter(state=ModelState.ACTIVE).first()
