"""Whether a patient's identity is open to somebody, and to whom it was."""

from __future__ import annotations

from uuid import UUID

from django.db.models.functions import Now

from cases.access import Actor, Capability
from cases.models import Case, IdentityOpening
from cases.models.openings import session_mark


def opening_now(*, actor: Actor, case_id: UUID, session: str) -> IdentityOpening | None:
    """The opening that lasts now, for this person in this session; None where there is none."""
    if actor.user_id is None or not session or not actor.can(Capability.OPEN_IDENTITY):
        return None
    openings = IdentityOpening.objects.filter(case_id=case_id, case__site_id=actor.own_site)
    return openings.filter(
        user_id=actor.user_id,
        session=session_mark(session),
        expires_at__gt=Now(),
        closing__isnull=True,
    ).first()


def openings_of(*, case: Case, limit: int = 20) -> list[IdentityOpening]:
    """The last openings of a case, newest first. The caller has let the actor see the case."""
    return list(case.openings.select_related("user", "closing")[:limit])
