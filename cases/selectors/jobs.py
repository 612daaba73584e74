"""Reading jobs and the queue."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import BooleanField, Prefetch, Q, QuerySet, Value
from django.db.models.expressions import Combinable

from cases.access import Actor, Capability
from cases.errors import NotFound
from cases.models import Job, Result
from cases.selectors.reader_first import is_open, results_open
from cases.states import JOB, JobState
from cases.vocabulary import ENGINE_KINDS, JobKind

# Beyond this many jobs ahead a position says nothing, and counting costs.
MAX_POSITION = 1000


@dataclass(frozen=True)
class JobGlance:
    """All that is told of a job and may change, but its place in the queue."""

    state: str
    attempt: int
    progress: Any
    started_at: datetime | None
    finished_at: datetime | None
    priority: int
    kind: str
    # When its answer was withdrawn, and why.
    withdrawn: tuple[datetime, str] | None
    # Its answer is there, and not for this actor yet (docs/adr/0014).
    withheld: bool = False

    @property
    def is_active(self) -> bool:
        return JobState(self.state) in JOB.active


def with_results(jobs: QuerySet[Job], *, actor: Actor) -> QuerySet[Job]:
    """``jobs`` with their results and the models that gave them, without the models' long cards.

    A result that the actor must not see yet is as if it were not there: the job has succeeded and
    has none (`answer_withheld`).
    """
    if actor.opened_by is not None:
        results = Result.objects.select_related("model_version", "withdrawal")
        shown = results_open(actor=actor, results=results.defer("model_version__card"))
        return jobs.prefetch_related(Prefetch("result", queryset=shown))
    return jobs.select_related("result__model_version", "result__withdrawal").defer(
        "result__model_version__card"
    )


def answer_withheld(job: Job) -> bool:
    """Whether ``job``, loaded by ``with_results``, has an answer that is withheld."""
    succeeded = job.kind == JobKind.INFERENCE and job.state == JobState.SUCCEEDED
    return succeeded and getattr(job, "result", None) is None


def job_list(*, actor: Actor) -> QuerySet[Job]:
    """The jobs of the actor's site, newest first, without those of a model in shadow: nobody
    asked for them, and their answers are kept from readers."""
    _require_view(actor)
    jobs = Job.objects.filter(site_id=actor.own_site).select_related("image")
    jobs = jobs.exclude(kind=JobKind.SHADOW)
    return with_results(jobs, actor=actor).order_by("-created_at", "-id")


def job_get(*, actor: Actor, job_id: UUID) -> Job:
    """One job with its result. ``NotFound`` where it is not of the actor's site, or in shadow.

    A token that may only submit sees the jobs of its own submissions and the replays of theirs.
    """
    jobs = with_results(_job_of(actor, job_id), actor=actor)
    try:
        # Unlike `first`, it asks for no order: there is one row at most.
        return jobs.get()
    except Job.DoesNotExist:
        raise NotFound() from None


def job_glance(*, actor: Actor, job_id: UUID) -> JobGlance:
    """What tells whether a job has changed, without its image and result. As ``job_get``.

    For those who poll: few columns, since asking for all of them costs more than the answer.
    """
    names = ("state", "attempt", "progress", "started_at", "finished_at", "priority", "kind")
    is_shown: Combinable = Value(True, BooleanField())
    if actor.opened_by is not None:
        is_shown = is_open(actor, case="image__case_id")
    rows = _job_of(actor, job_id).values_list(
        *names, "result__withdrawal__at", "result__withdrawal__reason", is_shown
    )
    try:
        *told, withdrawn_at, reason, shown = rows.get()
    except Job.DoesNotExist:
        raise NotFound() from None
    seen = dict(zip(names, told, strict=True))
    succeeded = seen["kind"] == JobKind.INFERENCE and seen["state"] == JobState.SUCCEEDED
    withheld = succeeded and not shown
    withdrawn = None if withdrawn_at is None or withheld else (withdrawn_at, reason)
    return JobGlance(**seen, withdrawn=withdrawn, withheld=withheld)


def _job_of(actor: Actor, job_id: UUID) -> QuerySet[Job]:
    """The job as a query, where the actor may see it."""
    jobs = Job.objects.filter(pk=job_id, site_id=actor.own_site).exclude(kind=JobKind.SHADOW)
    if not (actor.can(Capability.VIEW_CASES) or actor.can(Capability.OPERATE)):
        actor.require(Capability.SUBMIT)
        own = Q(submission__token_id=actor.token_id, submission__user=actor.user_id)
        # A replay has no submission: it belongs to that of its result.
        replays = Q(
            replay_of__job__submission__token_id=actor.token_id,
            replay_of__job__submission__user=actor.user_id,
        )
        jobs = jobs.filter(own | replays)
    return jobs


def glance_of(job: Job) -> JobGlance:
    """The same of a job that is loaded with its result."""
    withdrawal = getattr(getattr(job, "result", None), "withdrawal", None)
    return JobGlance(
        state=job.state,
        attempt=job.attempt,
        progress=job.progress,
        started_at=job.started_at,
        finished_at=job.finished_at,
        priority=job.priority,
        kind=job.kind,
        withdrawn=None if withdrawal is None else (withdrawal.at, withdrawal.reason),
        withheld=answer_withheld(job),
    )


def _require_view(actor: Actor) -> None:
    if not actor.can(Capability.OPERATE):
        actor.require(Capability.VIEW_CASES)


def queue_position(job: Job) -> int | None:
    """How many jobs go first; None once the job is taken, and beyond ``MAX_POSITION``."""
    if job.state != JobState.PENDING:
        return None
    # Readings and replays stand in one line: the same workers take both.
    kinds = ENGINE_KINDS if job.kind in ENGINE_KINDS else (job.kind,)
    ahead = (
        Job.objects.filter(kind__in=kinds, state=JobState.PENDING)
        .filter(Q(due_at__lt=job.due_at) | Q(due_at=job.due_at, id__lt=job.pk))
        .order_by()[: MAX_POSITION + 1]
        .count()
    )
    return ahead if ahead <= MAX_POSITION else None
