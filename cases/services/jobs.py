"""What people and systems ask of jobs: create, cancel, rerun. The worker's side: leases.py."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Value
from django.db.models.functions import Now

from cases import queue
from cases.access import Actor, ActorKind, Capability
from cases.errors import NotFound, Overloaded, StateConflict
from cases.models import Image, Job, ModelVersion, Submission
from cases.services.audit import audit_record_all
from cases.services.frames import frame_ensure
from cases.services.model_moves import model_life_share
from cases.services.moves import job_audit, jobs_move, jobs_record
from cases.services.review import image_kept
from cases.services.room import disk_full_is_overloaded, room_require
from cases.states import JOB, JobState, ModelState
from cases.vocabulary import JobKind, PriorityRank

# How long a job may be overtaken by later ones of higher priority (docs/adr/0003).
GRACE: dict[PriorityRank, timedelta] = {
    PriorityRank.STAT: timedelta(0),
    PriorityRank.URGENT: timedelta(minutes=10),
    PriorityRank.ROUTINE: timedelta(minutes=60),
}


def live_model() -> ModelVersion:
    """The ACTIVE model. Raises ``Overloaded`` (503) where none is live."""
    # Its card is long, and of those who ask for the live model hardly any reads it.
    model = ModelVersion.objects.filter(state=ModelState.ACTIVE).defer("card").first()
    if model is None:
        raise Overloaded("No model is live at the moment. Nothing was taken in.")
    return model


def inference_jobs_create(
    *,
    actor: Actor,
    images: Sequence[Image],
    priority: PriorityRank,
    submission: Submission | None,
    frame: int | None = None,
    rerun_of: Job | None = None,
) -> list[Job]:
    """A PENDING job per image for the live model; rings on commit.

    ``frame`` None: each image's representative frame. Raises ``StateConflict`` where such a job
    is waiting or running already.
    """
    try:
        with transaction.atomic():
            jobs = _create(actor, images, priority, submission, frame, rerun_of)
    except IntegrityError as error:
        raise StateConflict("This image is already waiting for an answer.") from error
    queue.ring_on_commit(
        kind=JobKind.INFERENCE, job_ids=[job.pk for job in jobs], priority=priority
    )
    return jobs


def _create(
    actor: Actor,
    images: Sequence[Image],
    priority: PriorityRank,
    submission: Submission | None,
    frame: int | None,
    rerun_of: Job | None,
) -> list[Job]:
    # A rollback then finds these jobs, or they find the model that came back.
    model_life_share()
    model = live_model()
    jobs = Job.objects.bulk_create(
        Job(
            kind=JobKind.INFERENCE,
            site_id=image.case.site_id,
            submission=submission,
            image=image,
            frame=image.frame if frame is None else frame,
            model_version=model,
            rerun_of=rerun_of,
            priority=priority,
            due_at=Now() + Value(GRACE[priority]),
            max_attempts=settings.BCWEB_MAX_ATTEMPTS,
            request_id=actor.request_id,
        )
        for image in images
    )
    jobs_record(jobs, {}, actor=actor, reason="")
    audit_record_all(
        actor=actor,
        action="job.created",
        object_type="job",
        case_of={job.pk: image.case_id for job, image in zip(jobs, images, strict=True)},
        site_of={job.pk: job.site_id for job in jobs},
    )
    return jobs


def _job_for(actor: Actor, job_id: UUID) -> Job:
    jobs = Job.objects.select_related("image__case")
    if actor.kind in (ActorKind.USER, ActorKind.TOKEN):
        jobs = jobs.filter(site_id=actor.own_site).exclude(kind=JobKind.SHADOW)
    job = jobs.filter(pk=job_id).first()
    if job is None:
        raise NotFound()
    return job


@transaction.atomic
def job_cancel(*, actor: Actor, job_id: UUID) -> Job:
    """PENDING | RUNNING -> CANCELLED. A running attempt is fenced out and stores nothing.

    Twice is once: a cancelled job is returned as it is. ``StateConflict`` where the job has
    ended otherwise, and for a training, which is called off with a reason
    (`training.training_run_cancel`); ``NotFound`` at another site.
    """
    _require_any(actor, Capability.SUBMIT, Capability.OPERATE)
    job = _job_for(actor, job_id)
    if job.kind == JobKind.TRAINING:
        actor.require(Capability.TRAIN)
        raise StateConflict(
            "A training is called off with a reason: on its page, or by "
            f"POST /training-runs/{job.pk}/cancel/."
        )
    if job.kind == JobKind.FREEZE:
        actor.require(Capability.CURATE)
    moved = jobs_move(
        [job_id],
        to=JobState.CANCELLED,
        sources=frozenset({JobState.PENDING, JobState.RUNNING}),
        actor=actor,
    )
    if moved:
        job_audit(actor, moved[0], "job.cancelled")
        return moved[0]
    job.refresh_from_db()
    if job.state != JobState.CANCELLED:
        state = job.state.lower()
        raise StateConflict(f"The job has already ended ({state}) and cannot be cancelled.")
    return job


@disk_full_is_overloaded()
@transaction.atomic
def job_rerun(*, actor: Actor, job_id: UUID, frame: int | None = None) -> Job:
    """A new PENDING job for the same image on the live model; the old one stays.

    ``frame``: another frame of a cine (its lossless picture is made now); None: the same one.

    ``StateConflict`` while the old one, or another for the same image, is waiting or running;
    ``Erased`` where the patient's data was erased; ``Overloaded`` where there is no room for more
    work: a rerun is new work like any other.
    """
    _require_any(actor, Capability.SUBMIT, Capability.OPERATE)
    old = _job_for(actor, job_id)
    if JobState(old.state) not in JOB.final or old.image is None:
        raise StateConflict("The job has not ended yet; wait for it or cancel it first.")
    image_kept(old.image.pk)
    room_require(priority=PriorityRank(old.priority))
    wanted = old.frame if frame is None else frame
    if frame is not None:
        frame_ensure(image=old.image, index=frame)
    return inference_jobs_create(
        actor=actor,
        images=[old.image],
        priority=PriorityRank(old.priority),
        submission=old.submission,
        frame=wanted,
        rerun_of=old,
    )[0]


def _require_any(actor: Actor, *capabilities: Capability) -> None:
    if not any(actor.can(capability) for capability in capabilities):
        actor.require(capabilities[0])
