"""Computing a stored result again: asking for it, and keeping what was found."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Value
from django.db.models.functions import Now

from cases import queue
from cases.access import Actor, ActorKind, Capability
from cases.errors import NotFound, Overloaded
from cases.models import Job, Replay, Result
from cases.services.audit import audit_record
from cases.services.comparison import differences, tolerance_between
from cases.services.leases import job_fence_to_succeeded
from cases.services.moves import job_audit, jobs_record
from cases.services.results import Answer
from cases.services.review import image_kept
from cases.states import JOB
from cases.vocabulary import JobKind, PriorityRank

ACTIVE = [state.value for state in JOB.active]
# New answers go before checks of old ones, but not for ever.
REPLAY_GRACE = timedelta(hours=2)
# Each may load a model of its own before the next image is read: a site's share of that.
MAX_ACTIVE = 50


@transaction.atomic
def replay_request(*, actor: Actor, result_id: UUID, ring: bool = True) -> Job:
    """A PENDING replay of a stored result, with the model, image and frame it was made with.

    Twice is once: a replay that waits or runs is returned as it is. ``ring`` False: nobody is
    woken, because the caller takes the job itself. ``NotFound`` at another site; ``Erased``
    where the patient's data was erased; ``Overloaded`` for people and systems whose site has
    ``MAX_ACTIVE`` replays waiting or running.
    """
    if not actor.can(Capability.OPERATE):
        actor.require(Capability.SUBMIT)
    results = Result.objects.select_related("image__case")
    if actor.kind in (ActorKind.USER, ActorKind.TOKEN):
        results = results.filter(image__case__site_id=actor.own_site)
    image_id = results.filter(pk=result_id).values_list("image_id", flat=True).first()
    if image_id is not None:
        image_kept(image_id)
    # Locked, so that of two requests at once the second finds the job of the first.
    result = results.select_for_update(of=("self",)).filter(pk=result_id).first()
    if result is None:
        raise NotFound()
    waiting = Job.objects.filter(replay_of=result, state__in=ACTIVE).first()
    if waiting is not None:
        return waiting
    if actor.kind in (ActorKind.USER, ActorKind.TOKEN):
        _require_room(actor.own_site)
    job = Job.objects.create(
        kind=JobKind.REPLAY,
        site_id=result.image.case.site_id,
        replay_of=result,
        frame=result.frame,
        model_version_id=result.model_version_id,
        due_at=Now() + Value(REPLAY_GRACE),
        max_attempts=settings.BCWEB_MAX_ATTEMPTS,
        request_id=actor.request_id,
    )
    jobs_record([job], {}, actor=actor, reason="")
    job_audit(actor, job, "job.created")
    if ring:
        queue.ring_on_commit(kind=JobKind.REPLAY, job_ids=[job.pk], priority=PriorityRank.ROUTINE)
    return job


def _require_room(site_id: UUID) -> None:
    """``Overloaded`` where the site's share is used up. Not locked: requests at the same moment
    may go a few beyond it, which does no harm."""
    jobs = Job.objects.filter(kind=JobKind.REPLAY, site_id=site_id, state__in=ACTIVE)
    if jobs.count() >= MAX_ACTIVE:
        raise Overloaded(
            f"{MAX_ACTIVE} answers are being computed again already. Ask again once some are done.",
            retry_after=60,
        )


@transaction.atomic
def replay_store(*, actor: Actor, job_id: UUID, attempt: int, answer: Answer) -> Replay | None:
    """RUNNING -> SUCCEEDED with what was found, for the holder of ``attempt``.

    The result itself is never changed. None, and nothing written, where the job was cancelled
    or another attempt holds it.
    """
    job = job_fence_to_succeeded(actor=actor, job_id=job_id, attempt=attempt)
    if job is None:
        return None
    result = job.replay_of
    assert result is not None
    tolerance = tolerance_between(result.engine, answer.engine)
    found = differences(result, answer, tolerance)
    replay = Replay.objects.create(
        job=job,
        result=result,
        equal=not found,
        differences=found,
        tolerance=tolerance.score,
        engine=answer.engine,
        duration_ms=answer.duration_ms,
    )
    audit_record(
        actor=actor,
        action="replay.stored",
        object_type="result",
        object_id=result.pk,
        site_id=job.site_id,
        case_id=result.image.case_id,
        detail={"job": str(job.pk), "equal": replay.equal},
    )
    return replay
