"""Single sign-on: what is written down when a user comes from the issuer for the first time."""

from __future__ import annotations

from cases.models import User
from cases.services.audit import audit_record
from cases.services.people import actor_for_user


def sign_on_note(*, user: User, request_id: str = "") -> None:
    """The issuer's subject and ``user`` belong together from now on. The library keeps the link."""
    audit_record(
        actor=actor_for_user(user, request_id=request_id),
        action="user.sign_on_linked",
        object_type="user",
        object_id=user.pk,
    )
