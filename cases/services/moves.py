"""The one function that changes the state of a job, and what every move leaves behind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast
from uuid import UUID

from django.core.exceptions import EmptyResultSet
from django.db import connection, transaction
from django.db.models import Q
from django.db.models.functions import Now
from django.db.models.sql import Query, UpdateQuery

from cases.access import Actor
from cases.events.news import announce_on_commit
from cases.models import Job, JobEvent
from cases.services.audit import audit_record
from cases.services.outbox import deliveries_make
from cases.states import JOB, JobState
from cases.vocabulary import JobKind


def jobs_move(
    job_ids: Iterable[UUID],
    *,
    to: JobState,
    sources: frozenset[JobState],
    actor: Actor,
    reason: str = "",
    fence: int | Mapping[UUID, int] | None = None,
    **changes: Any,
) -> list[Job]:
    """Move those of ``job_ids`` that are in ``sources`` (and at attempt ``fence``) to ``to``.

    ``fence``: one attempt for all, or each job's own. A conditional UPDATE: whoever comes second
    moves nothing. The rows are locked in the order of their ids, whoever moves several. Writes a
    `JobEvent` per moved job in the same transaction; the number of statements does not depend on
    the number of jobs. Returns the moved jobs as they are now. Raises ``ValueError`` for a move
    the lifecycle does not know.
    """
    for source in sources:
        if not JOB.allows(source, to):
            raise ValueError(f"job: {source} -> {to} is not a legal move")
    changes["lease_expires_at"] = changes.get("lease_expires_at")
    if to in JOB.final:
        changes["finished_at"] = Now()
    # no_key: what refers to a job meanwhile, such as a message about it, need not wait.
    held = Job.objects.select_for_update(no_key=True).filter(
        _at(list(job_ids), fence), state__in=sources
    )
    # Without a savepoint of its own: who catches what goes wrong here has one around it.
    with transaction.atomic(savepoint=False):
        try:
            held_sql, held_params = _compiled(held.order_by("pk").values("pk", "state").query)
        except EmptyResultSet:
            return []
        moved_sql, moved_params = _compiled(_update({"state": to, **changes}))
        sql = _MOVE.format(held=held_sql, moved=moved_sql)
        moved = list(Job.objects.raw(sql, (*held_params, *moved_params)))
        before = {job.pk: str(job.from_state) for job in moved}  # type: ignore[attr-defined]
        jobs_record(moved, before, actor=actor, reason=reason)
        return moved


# The rows are locked in order, changed, and given back as they are now, in one statement: a worker
# that moves a batch waits for the database once.
_MOVE = """
WITH held (id, state) AS ({held}), moved AS ({moved} RETURNING *)
SELECT moved.*, held.state AS from_state, cases_image.case_id AS case_of
FROM moved JOIN held ON held.id = moved.id LEFT JOIN cases_image ON cases_image.id = moved.image_id
"""


def _update(values: dict[str, Any]) -> Query:
    """The UPDATE of the rows that `_MOVE` holds, in the ORM's words."""
    rows = Job.objects.extra(where=["cases_job.id IN (SELECT id FROM held)"])
    query = cast(UpdateQuery, rows.query.chain(UpdateQuery))
    query.add_update_values(values)
    return query


def _compiled(query: Query) -> tuple[str, tuple[Any, ...]]:
    sql, params = query.get_compiler(connection=connection).as_sql()
    return sql, tuple(params)


def _at(job_ids: Sequence[UUID], fence: int | Mapping[UUID, int] | None) -> Q:
    """The jobs, each at the attempt of the fence."""
    if not isinstance(fence, Mapping):
        at = Q(pk__in=job_ids)
        return at if fence is None else at & Q(attempt=fence)
    held: dict[int, list[UUID]] = {}
    for job_id in job_ids:
        held.setdefault(fence[job_id], []).append(job_id)
    pairs = Q(pk__in=[])
    for attempt, ids in held.items():
        pairs |= Q(pk__in=ids, attempt=attempt)
    return pairs


def jobs_record(
    moved: Sequence[Job], before: dict[UUID, str], *, actor: Actor, reason: str
) -> None:
    """Write an event for each moved job, and what webhooks and those who wait are told of it."""
    events = [
        JobEvent(
            job=job,
            from_state=before.get(job.pk, ""),
            to_state=job.state,
            attempt=job.attempt,
            actor=actor.label,
            reason=reason[:500],
            request_id=actor.request_id or job.request_id,
        )
        for job in moved
    ]
    JobEvent.objects.bulk_create(events)
    deliveries_make(events)
    announce_on_commit(events)


def job_audit(actor: Actor, job: Job, action: str, detail: dict[str, Any] | None = None) -> None:
    """Audit what happened to a job. A replay's trail is under its result, as ``replay.…``; so is
    that of a job in shadow, as ``shadow.…``; a training's is ``training_run.…``, a freeze's
    ``freeze.…``."""
    told, kind, about = dict(detail or {}), "job", job.pk
    if job.kind == JobKind.TRAINING:
        action, kind = action.replace("job.", "training_run."), "training_run"
    elif job.kind == JobKind.FREEZE:
        action, kind = action.replace("job.", "freeze."), "freeze"
    image = job.image
    result, noun = (job.replay_of, "replay.") if job.replay_of else (job.shadow_of, "shadow.")
    if result is not None:
        action, kind, about = action.replace("job.", noun), "result", result.pk
        told["job"] = str(job.pk)
        image = result.image
    audit_record(
        actor=actor,
        action=action,
        object_type=kind,
        object_id=about,
        site_id=job.site_id,
        case_id=image.case_id if image else None,
        changed_fields=["state"],
        detail=told or None,
    )
