"""What the library tells of second factors goes into the audit trail."""

from __future__ import annotations

from typing import Any

from allauth.mfa import signals as factors
from allauth.mfa.models import Authenticator
from django.dispatch import receiver
from django.http import HttpRequest

from cases.services.audit import audit_record
from cases.services.people import actor_for_user


def _note(request: HttpRequest, user: Any, action: str, **detail: Any) -> None:
    actor = actor_for_user(user, request_id=str(getattr(request, "request_id", "")))
    audit_record(actor=actor, action=action, object_type="user", object_id=user.pk, detail=detail)


@receiver(factors.authenticator_added)
def note_added(request: HttpRequest, user: Any, authenticator: Authenticator, **_: Any) -> None:
    if authenticator.type == Authenticator.Type.RECOVERY_CODES:
        _note(request, user, "user.recovery_codes_made")
    else:
        _note(request, user, "user.second_factor_added", code=authenticator.type)


@receiver(factors.authenticator_reset)
def note_reset(request: HttpRequest, user: Any, **_: Any) -> None:
    _note(request, user, "user.recovery_codes_made")


@receiver(factors.authenticator_removed)
def note_removed(request: HttpRequest, user: Any, authenticator: Authenticator, **_: Any) -> None:
    if authenticator.type != Authenticator.Type.RECOVERY_CODES:
        _note(request, user, "user.second_factor_removed", code=authenticator.type)


@receiver(factors.authenticator_used)
def note_used(request: HttpRequest, user: Any, authenticator: Authenticator, **_: Any) -> None:
    """How somebody signed in is told with the sign-in; a recovery code is worth a line."""
    if authenticator.type == Authenticator.Type.RECOVERY_CODES:
        _note(request, user, "user.recovery_code_used")
