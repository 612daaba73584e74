"""The case page's part about a patient's identity that an administrator opened."""

from __future__ import annotations

from math import ceil
from typing import Any

from django.http import HttpRequest
from django.utils import timezone

from cases.access import Actor, Capability
from cases.models import Case
from cases.selectors.openings import opening_now, openings_of


def session_of(request: HttpRequest) -> str:
    return request.session.session_key or ""


def identity_context(request: HttpRequest, actor: Actor, case: Case) -> dict[str, Any]:
    """Whether the identity is open to this person now, may be opened, and to whom it was.

    With an opening ``patient`` comes too: the page then shows what it shows to those who care for
    the patient. Nothing else follows the opening, neither files nor free text.
    """
    may_open = actor.can(Capability.OPEN_IDENTITY) and not actor.can(Capability.VIEW_IDENTITY)
    opening = (
        opening_now(actor=actor, case_id=case.pk, session=session_of(request)) if may_open else None
    )
    sees = actor.can(Capability.VIEW_IDENTITY)
    told: dict[str, Any] = {
        "opening": opening,
        "may_open_identity": may_open,
        # The reason is free text that may speak of the patient: for who wrote it, and for those who
        # see identity anyway.
        "openings": [
            (found, found.reason if sees or found.user_id == actor.user_id else "")
            for found in openings_of(case=case)
        ],
    }
    if opening is not None:
        left = (opening.expires_at - timezone.now()).total_seconds()
        # The page is drawn anew a moment after the time is over, not before.
        told |= {"patient": case.patient, "opening_seconds": max(1, ceil(left) + 1)}
    return told
