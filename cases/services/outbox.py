"""From moves of jobs to messages for webhooks, in the transaction of the move.

The events are the outbox: they and their deliveries commit together or not at all, so there is
nothing to relay, no place in a sequence to remember and nothing that commits late to be missed
(docs/adr/0010).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC
from uuid import UUID, uuid5

from cases import queue
from cases.models import JobEvent, Webhook, WebhookDelivery
from cases.states import JobState
from cases.vocabulary import JobKind, WebhookEvent

TOLD: dict[tuple[str, str], WebhookEvent] = {
    ("", JobState.PENDING): WebhookEvent.JOB_CREATED,
    (JobState.PENDING, JobState.RUNNING): WebhookEvent.JOB_STARTED,
    (JobState.RUNNING, JobState.PENDING): WebhookEvent.JOB_REQUEUED,
    (JobState.RUNNING, JobState.SUCCEEDED): WebhookEvent.JOB_SUCCEEDED,
    (JobState.RUNNING, JobState.FAILED): WebhookEvent.JOB_FAILED,
    (JobState.PENDING, JobState.CANCELLED): WebhookEvent.JOB_CANCELLED,
    (JobState.RUNNING, JobState.CANCELLED): WebhookEvent.JOB_CANCELLED,
}


def kind_of(event: JobEvent) -> WebhookEvent | None:
    """What a webhook is told of this event; None: nothing. ``event.job`` is loaded.

    Nothing of a model in shadow: its jobs are kept from everybody who reads answers.
    """
    if event.job.kind == JobKind.SHADOW:
        return None
    return TOLD.get((event.from_state, event.to_state))


def delivery_id(webhook_id: UUID, event: JobEvent) -> UUID:
    """The same for the same message, whenever and however often it is made.

    After a restore the numbers of events are given out again, to other events: job and time go in.
    """
    return uuid5(webhook_id, f"{event.pk}:{event.job_id}:{event.at.astimezone(UTC).isoformat()}")


def deliveries_make(events: Sequence[JobEvent]) -> None:
    """PENDING deliveries of new ``events`` for each webhook of their sites that is on.

    In the caller's transaction, which holds the locks of the jobs: ids of events of one job
    therefore rise in the order in which they commit. Rings on commit.
    """
    told = [(event, kind) for event in events if (kind := kind_of(event)) is not None]
    if not told:
        return
    sites = {event.job.site_id for event, _ in told}
    webhooks = list(
        Webhook.objects.filter(enabled=True, site_id__in=sites).only("pk", "site_id", "events")
    )
    deliveries = [
        delivery_of(webhook, event, kind)
        for event, kind in told
        for webhook in webhooks
        if webhook.site_id == event.job.site_id and kind in webhook.events
    ]
    if deliveries:
        WebhookDelivery.objects.bulk_create(deliveries)
        queue.ring_deliverer_on_commit()


def delivery_of(webhook: Webhook, event: JobEvent, kind: WebhookEvent) -> WebhookDelivery:
    return WebhookDelivery(
        pk=delivery_id(webhook.pk, event),
        webhook=webhook,
        event=event,
        job_id=event.job_id,
        kind=kind,
    )
