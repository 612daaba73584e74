"""`Idempotency-Key`: the same request again gives the same submission."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from uuid import UUID

from django.db import transaction
from django.db.models.functions import Now

from cases.access import Actor
from cases.errors import IdempotencyConflict, StateConflict
from cases.models import IDEMPOTENCY_LIFE, Submission
from cases.services.fields import SubmissionFields
from cases.services.locks import advisory_lock
from cases.services.uploads import Upload


def request_fingerprint(fields: SubmissionFields, uploads: Sequence[Upload], reason: str) -> str:
    """SHA-256 over what was asked for: the parsed fields and the files.

    A file that was given up for its size has no hash; its name and size stand for it.
    """
    files = [
        upload.received.sha256 or f"{upload.received.name} {upload.received.size}"
        for upload in uploads
    ]
    content = {"fields": fields.canonical(), "files": files, "override": reason}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@transaction.atomic
def submission_in_progress(*, actor: Actor, key: str) -> bool:
    """Whether a request with this key of the actor is being taken in at this moment."""
    owner = actor.token_id or actor.user_id
    return not advisory_lock("idempotency", str(owner), key, wait=False)


def submission_earlier(owner: UUID | None, key: str, fingerprint: str) -> Submission | None:
    """The submission this key already made within 24 h; None for a new key.

    Takes the key for the rest of the transaction. Raises ``StateConflict`` while another request
    has it, ``IdempotencyConflict`` where the key was used for another request.
    """
    if not advisory_lock("idempotency", str(owner), key, wait=False):
        raise StateConflict(
            "A request with this Idempotency-Key is still in progress. Try again in a moment.",
            retry_after=1,
        )
    earlier = (
        Submission.objects.filter(
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
