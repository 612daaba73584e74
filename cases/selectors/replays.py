"""Reading what became of replays."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from cases.access import Actor, Capability
from cases.errors import NotFound
from cases.models import Job, Result
from cases.selectors.reader_first import answer_required_open


def replayable_get(*, actor: Actor, result_id: UUID) -> Result:
    """A result of the actor's site. ``NotFound`` where it is of another, ``AnswerWithheld`` where
    the actor must not see it yet: what a replay finds tells of the answer.

    A token that may only submit sees the results of its own submissions, as with jobs.
    """
    results = Result.objects.filter(pk=result_id, image__case__site_id=actor.own_site)
    if not (actor.can(Capability.VIEW_CASES) or actor.can(Capability.OPERATE)):
        actor.require(Capability.SUBMIT)
        results = results.filter(
            job__submission__token_id=actor.token_id, job__submission__user=actor.user_id
        )
    result = results.select_related("image").first()
    if result is None:
        raise NotFound()
    answer_required_open(actor=actor, case_id=result.image.case_id)
    return result


def replays_last(results: Iterable[UUID]) -> dict[UUID, Job]:
    """The newest replay of each of these results that has one, in one query."""
    ids = list(results)
    if not ids:
        return {}
    jobs = Job.objects.filter(replay_of__in=ids).select_related("replay")
    newest = jobs.order_by("replay_of", "-created_at", "-id").distinct("replay_of")
    return {job.replay_of_id: job for job in newest if job.replay_of_id is not None}


def replay_job(*, job_id: UUID) -> Job:
    """A replay with what it found, for the command that waits for it."""
    return Job.objects.select_related("replay").get(pk=job_id)
