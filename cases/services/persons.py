"""What only a person may do, at the portal: never a token, a worker or a command."""

from __future__ import annotations

from uuid import UUID

from cases.access import Actor, ActorKind, Capability
from cases.errors import FieldInvalid, PermissionDenied

MAX_REASON = 500


def person_required(actor: Actor, *any_of: Capability) -> UUID:
    """The user's id. ``PermissionDenied`` for anybody else, and without one of ``any_of``."""
    if actor.kind is not ActorKind.USER or actor.user_id is None:
        raise PermissionDenied("This takes a person at the portal. No token may do it.")
    if not any(actor.can(capability) for capability in any_of):
        raise PermissionDenied()
    return actor.user_id


def reason_required(reason: str) -> str:
    """``reason`` trimmed. ``FieldInvalid`` where nothing is left, or too much."""
    told = " ".join(reason.replace("\x00", "").split())
    if not told:
        raise FieldInvalid(errors={"reason": ["Say why."]})
    if len(told) > MAX_REASON:
        raise FieldInvalid(errors={"reason": [f"Use at most {MAX_REASON} characters."]})
    return told
