"""What a webhook is told: ids, addresses, states and codes. Never identity, never a score.

A message is made when it is sent, of rows that no longer change: the same bytes at each attempt.
"""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

from django.conf import settings
from django.urls import reverse

from cases.access import Actor
from cases.models import Job, JobEvent, WebhookDelivery
from cases.selectors.reader_first import answers_withheld
from cases.states import JobState
from cases.vocabulary import WebhookEvent

CONTENT_TYPE = "application/json"
USER_AGENT = "bcweb-webhooks/1"


def message_of(delivery: WebhookDelivery) -> dict[str, Any]:
    """The message of a delivery. ``event``, ``job``, its image and result are loaded."""
    event = delivery.event
    if event is None or delivery.job is None:
        return {
            "type": WebhookEvent.PING.value,
            "timestamp": _moment(delivery.created_at),
            "data": {"webhook": str(delivery.webhook_id)},
        }
    return {
        "type": delivery.kind,
        "timestamp": _moment(event.at),
        "data": _data(delivery.job, event),
    }


def message_shown(*, actor: Actor, delivery: WebhookDelivery) -> dict[str, Any]:
    """The message as a page shows it to ``actor``: without the outcome of an answer that they must
    not see yet (docs/adr/0014). What is sent stays as it is."""
    message = message_of(delivery)
    image = delivery.job.image if delivery.job is not None else None
    told = message["data"].get("result")
    if told and image and answers_withheld(actor=actor, case_ids=[image.case_id]):
        told["outcome"] = "(withheld until the case is read)"
    return message


def message_bytes(message: dict[str, Any]) -> bytes:
    return json.dumps(message, separators=(",", ":"), sort_keys=True).encode()


def _data(job: Job, event: JobEvent) -> dict[str, Any]:
    image = job.image
    result = getattr(job, "result", None) if event.to_state == JobState.SUCCEEDED else None
    failed = event.to_state == JobState.FAILED
    return {
        "job": _thing("job-detail", job.pk),
        "kind": job.kind,
        "state": event.to_state,
        "previous_state": event.from_state or None,
        "attempt": event.attempt,
        # Which of the job's events this is: a receiver can tell a late one from a new one.
        "sequence": JobEvent.objects.filter(job=job, pk__lte=event.pk).count(),
        "submission": _thing("submission-detail", job.submission_id),
        "case": _thing("case-detail", image.case_id if image else None),
        "image": _thing("image-detail", job.image_id),
        "result": (
            {**_made("result-detail", result.pk), "outcome": result.outcome} if result else None
        ),
        "error": {"code": job.error_code} if failed else None,
    }


def _thing(view: str, key: UUID | None) -> dict[str, str] | None:
    return None if key is None else _made(view, key)


def _made(view: str, key: UUID) -> dict[str, str]:
    path = reverse(f"api:{view}", args=[key])
    return {"id": str(key), "url": settings.BCWEB_URL.rstrip("/") + path}


def _moment(at: Any) -> str:
    text: str = at.isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")
