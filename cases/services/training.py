"""What people and systems ask of trainings: start and cancel. The worker's side:
training_work.py."""

from __future__ import annotations

import hashlib
import json
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now

from cases import queue
from cases.access import Actor, ActorKind, Capability
from cases.errors import FieldInvalid, IdempotencyConflict, NotFound, Overloaded, StateConflict
from cases.models import (
    IDEMPOTENCY_LIFE,
    Job,
    ModelVersion,
    TrainingRun,
    TrainingSchedule,
    TrainingSnapshot,
)
from cases.selectors.snapshots import at_site
from cases.services.clock import clock_now
from cases.services.gates import gate_plan_for_run, locked_pictures_refuse
from cases.services.jobs import live_model
from cases.services.locks import advisory_lock
from cases.services.moves import job_audit, jobs_move, jobs_record
from cases.services.schedule_people import orderers_freeze
from cases.services.taken_back import PicturesTakenBackError, taken_back_refuse
from cases.services.training_fields import TrainingPlan, reason_parse
from cases.states import JOB, JobState
from cases.vocabulary import MODEL_LINE, IfRunning, JobKind, PriorityRank

ACTIVE = [state.value for state in JOB.active]
# Trainings take hours: more that wait than this are a mistake.
MAX_WAITING = 20


class TrainingRunOn(StateConflict):
    """Another training of the model line waits or runs. Of another site's it tells no more."""

    def __init__(self, run: TrainingRun, *, site_id: UUID) -> None:
        own = run.job.site_id == site_id
        self.run_id = run.pk if own else None
        who = (
            f"Training run {run.pk}, asked for by {run.requested_by},"
            if own
            else ("A training of another site")
        )
        state = "runs" if run.job.state == JobState.RUNNING else "waits"
        # What is the case, without the advice to whoever asked.
        self.case = f"{who} {state} already."
        super().__init__(f"{self.case} Queue this one behind it, or wait for its end.")


@transaction.atomic
def training_run_request(
    *,
    actor: Actor,
    snapshot_id: str,
    plan: TrainingPlan,
    reason: str,
    if_running: IfRunning,
    gate_plan_id: UUID | None = None,
    site_id: UUID | None = None,
    idempotency_key: str = "",
    schedule: TrainingSchedule | None = None,
) -> TrainingRun:
    """A PENDING training of the model line, rung for on commit.

    ``schedule``: the one that fired; its editors up to now are kept with the run.
    ``gate_plan_id``: the plan its model is judged by, frozen by its hash; without one the model
    comes without a verdict. ``site_id``: for actors that belong to no site. While another run of
    the line waits or runs, ``if_running`` queues this one behind it or raises ``TrainingRunOn``
    (409), which names that run. The same request under the same key gives the same run for 24 h;
    ``IdempotencyConflict`` for another one. Raises ``FieldInvalid`` for a snapshot that is not
    known or another site's, whose pictures are not known, that shares some with a locked set, or
    that holds some which may not be trained on any more, and for an unknown plan; ``Overloaded``
    without a live model to start from or with too many runs waiting.
    """
    actor.require(Capability.TRAIN)
    site = site_id or actor.own_site
    reason = reason_parse(reason)
    owner = actor.token_id or actor.user_id
    fingerprint = _fingerprint(snapshot_id, plan, reason, if_running, gate_plan_id)
    if idempotency_key:
        earlier = _earlier(owner, idempotency_key, fingerprint)
        if earlier is not None:
            return earlier
    snapshot = _snapshot(snapshot_id, site)
    gate_plan = (
        gate_plan_for_run(actor=actor, plan_id=gate_plan_id, site_id=site) if gate_plan_id else None
    )
    # Two administrators at once: the second waits here, and then sees the first one's run.
    advisory_lock("training", MODEL_LINE, wait=True)
    locked_pictures_refuse(snapshot, site_id=site)
    _void_refuse(snapshot)
    _heed_others(if_running, site)
    start = live_model() if plan.init == "active" else None
    job = _job(actor, site)
    run = TrainingRun.objects.create(
        job=job,
        snapshot=snapshot,
        recipe=plan.recipe,
        init=plan.init,
        init_model=start,
        seed=plan.seed,
        epochs=plan.epochs,
        size=plan.size,
        limit_images=plan.limit_images,
        reason=reason,
        requested_by=actor.label,
        requested_by_user_id=actor.user_id or (schedule.created_by_user_id if schedule else None),
        schedule=schedule,
        plan=gate_plan,
        plan_sha256=gate_plan.sha256 if gate_plan else "",
        idempotency_owner=owner if idempotency_key else None,
        idempotency_key=idempotency_key,
        fingerprint=fingerprint,
        created_at=clock_now(),
    )
    run.refresh_from_db()
    if schedule is not None:
        orderers_freeze(run=run, schedule=schedule)
    job_audit(actor, job, "job.created", detail=_told(run, start))
    queue.ring_on_commit(kind=JobKind.TRAINING, job_ids=[job.pk])
    return run


def _told(run: TrainingRun, start: ModelVersion | None) -> dict[str, str]:
    told = {"snapshot": run.snapshot_id, "recipe": run.recipe, "reason": run.reason}
    if start is not None:
        told["init_sha256"] = start.sha256
    if run.plan_sha256:
        told["plan_sha256"] = run.plan_sha256
    return told


def _job(actor: Actor, site_id: UUID) -> Job:
    job = Job.objects.create(
        kind=JobKind.TRAINING,
        site_id=site_id,
        model_line=MODEL_LINE,
        priority=PriorityRank.ROUTINE,
        due_at=clock_now(),
        max_attempts=settings.BCWEB_MAX_ATTEMPTS,
        request_id=actor.request_id,
    )
    job.refresh_from_db()
    jobs_record([job], {}, actor=actor, reason="")
    return job


def _snapshot(snapshot_id: str, site_id: UUID) -> TrainingSnapshot:
    snapshot = TrainingSnapshot.objects.filter(at_site(site_id), pk=snapshot_id).first()
    if snapshot is None:
        raise FieldInvalid(errors={"snapshot": ["There is no snapshot with this id."]})
    if not snapshot.data_root:
        raise FieldInvalid(
            errors={
                "snapshot": [
                    "Nobody has told where the pictures of this snapshot lie. Import their folder "
                    "again (manage.py import_dataset)."
                ]
            }
        )
    return snapshot


def _void_refuse(snapshot: TrainingSnapshot) -> None:
    try:
        taken_back_refuse(snapshot)
    except PicturesTakenBackError as error:
        raise FieldInvalid(errors={"snapshot": [error.detail]}) from error


def _heed_others(if_running: IfRunning, site_id: UUID) -> None:
    others = TrainingRun.objects.filter(job__model_line=MODEL_LINE, job__state__in=ACTIVE)
    if if_running is IfRunning.REFUSE:
        # The one that runs, else the one that is next.
        on = others.select_related("job").order_by("-job__state", "created_at").first()
        if on is not None:
            raise TrainingRunOn(on, site_id=site_id)
    if others.count() >= MAX_WAITING:
        raise Overloaded(f"{MAX_WAITING} trainings are waiting already.", retry_after=3600)


def _fingerprint(
    snapshot_id: str,
    plan: TrainingPlan,
    reason: str,
    if_running: IfRunning,
    gate_plan_id: UUID | None,
) -> str:
    content: dict[str, Any] = {
        "snapshot": snapshot_id,
        "plan": plan.canonical(),
        "reason": reason,
        "if_running": if_running.value,
    }
    if gate_plan_id is not None:
        content["gate_plan"] = str(gate_plan_id)
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _earlier(owner: UUID | None, key: str, fingerprint: str) -> TrainingRun | None:
    """The run this key already made; takes the key for the rest of the transaction."""
    if not advisory_lock("idempotency", "training", str(owner), key, wait=False):
        raise StateConflict(
            "A request with this Idempotency-Key is still in progress. Try again in a moment.",
            retry_after=1,
        )
    earlier = (
        TrainingRun.objects.filter(
            idempotency_owner=owner,
            idempotency_key=key,
            created_at__gt=Now() - IDEMPOTENCY_LIFE,
        )
        .order_by("-created_at")
        .first()
    )
    if earlier is not None and earlier.fingerprint != fingerprint:
        raise IdempotencyConflict()
    return earlier


@transaction.atomic
def training_run_cancel(*, actor: Actor, run_id: UUID, reason: str) -> TrainingRun:
    """PENDING | RUNNING -> CANCELLED. The worker ends the training between two steps.

    Twice is once: a cancelled run is returned as it is. ``StateConflict`` where the run has ended
    otherwise, ``NotFound`` at another site, ``FieldInvalid`` without a reason.
    """
    actor.require(Capability.TRAIN)
    reason = reason_parse(reason)
    runs = TrainingRun.objects.select_related("job")
    if actor.kind in (ActorKind.USER, ActorKind.TOKEN):
        runs = runs.filter(job__site_id=actor.own_site)
    run = runs.filter(pk=run_id).first()
    if run is None:
        raise NotFound()
    moved = jobs_move(
        [run_id],
        to=JobState.CANCELLED,
        sources=frozenset({JobState.PENDING, JobState.RUNNING}),
        actor=actor,
        reason=reason,
    )
    if moved:
        job_audit(actor, moved[0], "job.cancelled", detail={"reason": reason})
    run.job.refresh_from_db()
    if run.job.state != JobState.CANCELLED:
        raise StateConflict(
            f"The training has already ended ({run.job.state.lower()}) and cannot be cancelled."
        )
    return run
