"""What becomes of trainings whose snapshot holds a picture that was taken back since: the patient's
data was erased, the patient opted out, or the image is no longer accepted."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.db.models import Exists, OuterRef

from cases.access import Actor
from cases.models import TrainingRun, TrainingSnapshot
from cases.selectors.snapshots import frozen_void, snapshot_void_count
from cases.services.moves import job_audit, jobs_move
from cases.states import JobState
from cases.vocabulary import PICTURES_TAKEN_BACK


class PicturesTakenBackError(Exception):
    """The training may not go on, and nothing may come of it."""

    code = PICTURES_TAKEN_BACK

    def __init__(self, count: int) -> None:
        self.detail = taken_back_words(count)
        super().__init__(self.detail)


def taken_back_words(count: int) -> str:
    return (
        f"{count} of its pictures may not be trained on any more: their patient opted out or was "
        "erased, or they are not accepted any more. Make a new snapshot of accepted images."
    )


def taken_back_refuse(snapshot: TrainingSnapshot) -> None:
    """Raise ``PicturesTakenBackError`` where a snapshot holds such pictures."""
    count = snapshot_void_count(snapshot)
    if count:
        raise PicturesTakenBackError(count)


@transaction.atomic
def trainings_call_off(*, actor: Actor) -> int:
    """PENDING -> CANCELLED for every training that waits with a snapshot that holds such pictures.

    The reason stands in its event, in the audit trail and, as code and detail, with the run. Safe
    to run at any time and twice at once. One that runs is ended by its next heartbeat. Returns how
    many were called off.
    """
    void = frozen_void().filter(freeze__snapshot=OuterRef("snapshot"))
    waiting = TrainingRun.objects.filter(Exists(void), job__state=JobState.PENDING)
    called_off = 0
    for run in waiting.select_related("snapshot").order_by("pk"):
        detail = taken_back_words(snapshot_void_count(run.snapshot))
        told: dict[str, Any] = {"error_code": PICTURES_TAKEN_BACK, "error_detail": detail}
        for job in jobs_move(
            [run.pk],
            to=JobState.CANCELLED,
            sources=frozenset({JobState.PENDING}),
            actor=actor,
            reason=detail,
            **told,
        ):
            job_audit(actor, job, "job.cancelled", detail={"reason": detail})
            called_off += 1
    return called_off
