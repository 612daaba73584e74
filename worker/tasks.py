"""Envelopes: a message means "look". The work and its truth are in the rows."""

from __future__ import annotations

from uuid import UUID

import structlog
from celery import shared_task

from cases.access import Actor, ActorKind
from cases.services.deliveries import deliveries_tidy
from cases.services.schedules import training_schedule_fire
from cases.services.seals import audit_seal
from cases.services.sessions import sessions_tidy
from cases.services.tallies import jobs_tally
from worker import process, sweeping

log = structlog.get_logger(__name__)


@shared_task(name="worker.tasks.run_inference")
def run_inference(job_id: str) -> None:
    """Take whatever waits for an engine, readings and replays; done when nothing waits."""
    taken = process.work()
    log.debug("doorbell", job_id=job_id, taken=taken)


@shared_task(name="worker.tasks.sweep")
def sweep() -> None:
    """Call off trainings that may not begin any more, take back what dead workers held, and ring
    for what nobody holds."""
    process.ensure_ready()
    sweeping.sweep()


@shared_task(name="worker.tasks.seal_audit")
def seal_audit() -> None:
    """Seal what the audit trail has gained; a long backlog over several turns."""
    sealed = audit_seal()
    if sealed.seals:
        log.info("audit_sealed", **vars(sealed))


@shared_task(name="worker.tasks.tally_jobs")
def tally_jobs() -> None:
    """Add the latest moves of jobs to the counts that `/metrics` tells."""
    moves = jobs_tally()
    log.debug("jobs_tallied", moves=moves)


@shared_task(name="worker.tasks.run_training")
def run_training(job_id: str) -> None:
    """Train whatever waits, one run after the other."""
    taken = process.train()
    log.debug("doorbell", job_id=job_id, taken=taken)


@shared_task(name="worker.tasks.run_freeze")
def run_freeze(job_id: str) -> None:
    """Make accepted images into the snapshots that wait to be made."""
    taken = process.freeze()
    log.debug("doorbell", job_id=job_id, taken=taken)


@shared_task(name="worker.tasks.fire_training_schedule")
def fire_training_schedule(schedule_id: str) -> None:
    """A schedule's time has come: start a training where its conditions are met."""
    firing = training_schedule_fire(
        actor=Actor(kind=ActorKind.WORKER, label="scheduler"), schedule_id=UUID(schedule_id)
    )
    if firing is not None:
        log.info("schedule_fired", schedule_id=schedule_id, outcome=firing.outcome, why=firing.why)


@shared_task(name="worker.tasks.deliver_webhooks")
def deliver_webhooks() -> None:
    """Send the messages to webhooks that are due."""
    made = process.deliver()
    log.debug("doorbell", attempts=made)


@shared_task(name="worker.tasks.tidy_webhooks")
def tidy_webhooks() -> None:
    """Remove messages that were kept for their days."""
    removed = deliveries_tidy()
    if removed:
        log.info("webhooks_tidied", deliveries=removed)


@shared_task(name="worker.tasks.tidy_sessions")
def tidy_sessions() -> None:
    """Remove sessions of the portal whose time is over."""
    removed = sessions_tidy()
    if removed:
        log.info("sessions_tidied", sessions=removed)
