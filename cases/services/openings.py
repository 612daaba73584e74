"""Opening a patient's identity to an administrator: of one case, in one session, for a while."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from django.db import transaction
from django.db.models.functions import Now

from cases.access import Actor, Capability
from cases.errors import PermissionDenied, StateConflict
from cases.models import IdentityClosing, IdentityOpening
from cases.models.openings import session_mark
from cases.services.audit import audit_record
from cases.services.persons import person_required
from cases.services.review import case_locked, reason_required

OPEN_MINUTES = 15


@transaction.atomic
def identity_open(*, actor: Actor, case_id: UUID, reason: str, session: str) -> IdentityOpening:
    """Show this person, in this session, who the patient of the case is, for ``OPEN_MINUTES``.

    Twice is once: what is open stays open until its time. The reason stands with the case, not in
    the audit trail, which nobody could empty when the patient's data is erased. ``FieldInvalid``
    without a reason, ``NotFound`` at another site, ``Erased``, ``StateConflict`` for who sees
    identities anyway, ``PermissionDenied`` for tokens and without OPEN_IDENTITY.
    """
    user_id = person_required(actor, Capability.OPEN_IDENTITY)
    if actor.can(Capability.VIEW_IDENTITY):
        raise StateConflict("You see who the patient is without opening anything.")
    if not session:
        raise PermissionDenied("Sign in at the portal to open a patient's identity.")
    case = case_locked(actor=actor, case_id=case_id)
    why = reason_required(reason)
    mark = session_mark(session)
    known = IdentityOpening.objects.filter(
        case=case, user_id=user_id, session=mark, expires_at__gt=Now(), closing__isnull=True
    ).first()
    if known is not None:
        return known
    opening = IdentityOpening.objects.create(
        case=case,
        user_id=user_id,
        session=mark,
        reason=why,
        expires_at=Now() + timedelta(minutes=OPEN_MINUTES),
    )
    opening.refresh_from_db()
    _note(actor, opening, "opened", {"minutes": OPEN_MINUTES})
    return opening


@transaction.atomic
def identity_close(*, actor: Actor, case_id: UUID, session: str) -> None:
    """Hide it again before its time is over. Twice is once; ``NotFound`` at another site."""
    user_id = person_required(actor, Capability.OPEN_IDENTITY)
    case = case_locked(actor=actor, case_id=case_id)
    for opening in IdentityOpening.objects.filter(
        case=case,
        user_id=user_id,
        session=session_mark(session),
        expires_at__gt=Now(),
        closing__isnull=True,
    ):
        IdentityClosing.objects.create(opening=opening)
        _note(actor, opening, "closed", {})


def _note(actor: Actor, opening: IdentityOpening, verb: str, detail: dict[str, int]) -> None:
    audit_record(
        actor=actor,
        action=f"identity.{verb}",
        object_type="case",
        object_id=opening.case_id,
        site_id=opening.case.site_id,
        case_id=opening.case_id,
        detail=dict(detail),
    )
