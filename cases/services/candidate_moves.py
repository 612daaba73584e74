"""The one function that changes the state of a training candidate, and what every move leaves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import transaction
from django.db.models import F

from cases.access import Actor
from cases.errors import StateConflict
from cases.models import CandidateEvent, FindingOutcome, TrainingCandidate
from cases.services.audit import audit_record
from cases.states import CANDIDATE, CandidateState

UNDECIDED: dict[str, Any] = {
    "decided_by_id": None,
    "decided_at": None,
    "reason": "",
    "identity_checked": False,
    "box": None,
}
UNLABELLED: dict[str, Any] = {"label": "", "basis": "", "outcome": None}
_VERBS = {
    CandidateState.PENDING: "reopened",
    CandidateState.ACCEPTED: "accepted",
    CandidateState.REJECTED: "rejected",
    CandidateState.LAPSED: "lapsed",
}


def labelled(outcome: FindingOutcome, label: str) -> dict[str, Any]:
    """The columns of a candidate that takes ``label`` from ``outcome``."""
    return {"label": label, "basis": outcome.basis, "outcome": outcome}


def candidate_move(
    candidate: TrainingCandidate,
    *,
    to: CandidateState,
    actor: Actor,
    changes: Mapping[str, Any],
    reason: str = "",
) -> TrainingCandidate:
    """Move ``candidate`` as it was read to ``to`` with its event and audit row.

    ``changes``: other columns. ``reason``: of the event.

    ``StateConflict`` for a move the lifecycle does not know, and where it has changed since it was
    read.
    """
    source = CandidateState(candidate.state)
    if not CANDIDATE.allows(source, to):
        raise StateConflict(f"A candidate cannot go from {source.lower()} to {to.lower()}.")
    with transaction.atomic():
        moved = TrainingCandidate.objects.filter(
            pk=candidate.pk, state=source, version=candidate.version
        ).update(state=to, version=F("version") + 1, **changes)
        if not moved:
            raise StateConflict("Somebody was faster. Look at the image again.")
        candidate.refresh_from_db()
        candidate_event(candidate, source=source, actor=actor, verb=_VERBS[to], reason=reason)
    return candidate


def candidate_event(
    candidate: TrainingCandidate,
    *,
    source: CandidateState | None,
    actor: Actor,
    verb: str,
    reason: str = "",
) -> None:
    """The trail of a candidate. The reason is free text: it is no part of the audit."""
    case = candidate.image.case
    CandidateEvent.objects.create(
        candidate=candidate,
        case=case,
        from_state=source.value if source else "",
        to_state=candidate.state,
        label=candidate.label,
        reason=reason[:500],
        actor=actor.label,
    )
    audit_record(
        actor=actor,
        action=f"candidate.{verb}",
        object_type="candidate",
        object_id=candidate.pk,
        site_id=case.site_id,
        case_id=case.pk,
        changed_fields=["state"],
        detail={
            "image": str(candidate.image_id),
            "label": candidate.label,
            "basis": candidate.basis,
            "conflict": candidate.conflict,
        },
    )
