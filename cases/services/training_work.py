"""The worker's side of a training: claim, heartbeat, finish, fail, release.

As leases.py for what an engine does; here one job is in hand for hours, and each heartbeat brings
what the training has told since the last one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import F
from django.db.models.functions import Coalesce, Now

from cases import queue
from cases.access import Actor
from cases.models import Job, ModelVersion, TrainingEpoch, TrainingRun, TrainingSnapshot
from cases.services.audit import audit_record
from cases.services.gate_reports import gate_report_keep, gate_report_read
from cases.services.learning import model_candidate_register
from cases.services.leases import job_fail, job_fence_to_succeeded, lease_end
from cases.services.moves import jobs_move
from cases.services.taken_back import taken_back_refuse, trainings_call_off
from cases.states import JobState
from cases.vocabulary import JobKind

# The end of the log is kept, for the page.
MAX_LOG = 16_000


@dataclass(frozen=True)
class TrainingClaim:
    """One training in a worker's hands: the fence is the pair of id and attempt."""

    job_id: UUID
    attempt: int
    request_id: str


@dataclass
class TrainingNews:
    """What a training has told since the last heartbeat; None: nothing new."""

    progress: dict[str, Any] | None = None
    facts: dict[str, Any] | None = None
    log_tail: str | None = None
    epochs: list[dict[str, Any]] = field(default_factory=list)


def training_claim(*, actor: Actor) -> TrainingClaim | None:
    """PENDING -> RUNNING for the run that waits longest on a line where none runs; else None.

    Those whose pictures were taken back are called off before.
    """
    trainings_call_off(actor=actor)
    running = Job.objects.filter(kind=JobKind.TRAINING, state=JobState.RUNNING)
    try:
        with transaction.atomic():
            job = (
                Job.objects.filter(
                    kind=JobKind.TRAINING, state=JobState.PENDING, available_at__lte=Now()
                )
                .exclude(model_line__in=running.values("model_line"))
                .select_for_update(skip_locked=True, of=("self",))
                .order_by("due_at", "id")
                .first()
            )
            if job is None:
                return None
            (moved,) = jobs_move(
                [job.pk],
                to=JobState.RUNNING,
                sources=frozenset({JobState.PENDING}),
                actor=actor,
                worker=actor.label[:120],
                attempt=F("attempt") + 1,
                lease_expires_at=lease_end(),
                started_at=Coalesce(F("started_at"), Now()),
            )
    except IntegrityError:
        # Another worker began a run of the line at the same moment.
        return None
    return TrainingClaim(moved.pk, moved.attempt, moved.request_id)


@transaction.atomic
def training_heartbeat(*, claim: TrainingClaim, news: TrainingNews) -> bool:
    """Extend the lease and note the news. False, and nothing noted, where it is no longer held:
    cancelled, or another attempt has it.

    Raises ``PicturesTakenBackError``, and nothing is noted, where a picture of its snapshot was
    taken back.
    """
    taken_back_refuse(TrainingSnapshot.objects.get(runs=claim.job_id))
    changes: dict[str, Any] = {"lease_expires_at": lease_end()}
    if news.progress is not None:
        changes["progress"] = news.progress
    # RUNNING stays RUNNING: no move, so no event.
    held = Job.objects.filter(
        pk=claim.job_id, attempt=claim.attempt, state=JobState.RUNNING
    ).update(**changes)
    if held:
        _note(claim.job_id, news)
    return bool(held)


def _note(run_id: UUID, news: TrainingNews) -> None:
    told: dict[str, Any] = {}
    if news.facts is not None:
        told["facts"] = news.facts
    if news.log_tail is not None:
        told["log_tail"] = news.log_tail[-MAX_LOG:].replace("\x00", "")
    if told:
        TrainingRun.objects.filter(pk=run_id).update(**told)
    _epochs_store(run_id, news.epochs)


def _epochs_store(run_id: UUID, rows: Sequence[Mapping[str, Any]]) -> None:
    """Keep lines of the epoch table; one that is told again replaces the earlier one."""
    TrainingEpoch.objects.bulk_create(
        [
            TrainingEpoch(
                run_id=run_id,
                epoch=int(row["epoch"]),
                values={k: v for k, v in row.items() if k != "epoch"},
            )
            for row in {int(row["epoch"]): row for row in rows}.values()
        ],
        update_conflicts=True,
        unique_fields=["run", "epoch"],
        update_fields=["values"],
    )


@transaction.atomic
def training_succeed(
    *,
    actor: Actor,
    claim: TrainingClaim,
    weights: bytes,
    card: Mapping[str, Any],
    news: TrainingNews,
    report: bytes | None = None,
) -> ModelVersion | None:
    """RUNNING -> SUCCEEDED with a CANDIDATE model, for the holder of the attempt.

    ``report``: what the gate wrote, for a run with a plan; its verdict is the model's, and the use
    of the locked set is noted. None, and nothing stored, where the run was cancelled or another
    attempt holds it. Raises ``ValueError`` where the bytes are not those of the card, or the
    report is missing, without a plan, or of another plan or model, and ``PicturesTakenBackError``
    where a picture of its snapshot was taken back.
    """
    snapshot = TrainingSnapshot.objects.get(runs=claim.job_id)
    taken_back_refuse(snapshot)
    # First the fence: its row lock keeps the sweeper away while the bytes are stored.
    job = job_fence_to_succeeded(actor=actor, job_id=claim.job_id, attempt=claim.attempt)
    if job is None:
        return None
    _note(claim.job_id, news)
    run = TrainingRun.objects.select_related("plan").get(pk=claim.job_id)
    judged = gate_report_read(run, report, sha256=card["weights"]["sha256"])
    model, _ = model_candidate_register(
        actor=actor,
        weights=weights,
        card=card,
        gate=judged.verdict if judged else None,
        reason=f"training run {claim.job_id}",
    )
    TrainingRun.objects.filter(pk=claim.job_id).update(
        model_version=model,
        weights_sha256=model.sha256,
        card=dict(card),
        gate_report=gate_report_keep(run, judged) if judged else "",
    )
    audit_record(
        actor=actor,
        action="training_run.succeeded",
        object_type="training_run",
        object_id=claim.job_id,
        site_id=job.site_id,
        changed_fields=["state"],
        detail={"model": str(model.pk), "sha256": model.sha256},
    )
    # Again: storing the weights takes seconds, in which a patient may have opted out.
    taken_back_refuse(snapshot)
    return model


@transaction.atomic
def training_fail(
    *,
    actor: Actor,
    claim: TrainingClaim,
    code: str,
    detail: str,
    transient: bool,
    news: TrainingNews,
) -> JobState | None:
    """End an attempt: RUNNING -> PENDING where the fault may pass and attempts are left, else
    RUNNING -> FAILED with its code. None where another took over."""
    state = job_fail(
        actor=actor,
        job_id=claim.job_id,
        attempt=claim.attempt,
        code=code,
        detail=detail,
        transient=transient,
    )
    if state is not None:
        _note(claim.job_id, news)
    return state


@transaction.atomic
def training_release(*, actor: Actor, claim: TrainingClaim, reason: str) -> None:
    """RUNNING -> PENDING for a run whose worker must stop: it goes on from its checkpoint.

    The attempt stays used, and the run gets another one instead.
    """
    jobs_move(
        [claim.job_id],
        to=JobState.PENDING,
        sources=frozenset({JobState.RUNNING}),
        actor=actor,
        reason=reason,
        fence=claim.attempt,
        worker="",
        max_attempts=F("max_attempts") + 1,
        available_at=Now(),
    )
    queue.ring_on_commit(kind=JobKind.TRAINING, job_ids=[claim.job_id])
