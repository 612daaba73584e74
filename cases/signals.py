"""Sign-in, sign-out and failed sign-in go into the audit trail; bytes of refused requests go."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from allauth.account.adapter import get_adapter
from allauth.account.internal.flows.login import get_authentication_records
from django.contrib.auth import get_user_model
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.core.signals import request_finished
from django.dispatch import receiver
from django.http import HttpRequest

from cases.access import SYSTEM
from cases.services.audit import audit_record
from cases.services.people import actor_for_user
from cases.services.sessions import session_begin
from cases.storage import uploads


def _request_id(request: HttpRequest | None) -> str:
    return str(getattr(request, "request_id", ""))


@receiver(user_logged_in)
def note_sign_in(request: HttpRequest, user: Any, **_: Any) -> None:
    actor = actor_for_user(user, request_id=_request_id(request))
    steps = [
        str(record.get("type") or record["method"])
        for record in get_authentication_records(request, user)
    ]
    audit_record(
        actor=actor,
        action="user.signed_in",
        object_type="user",
        object_id=user.pk,
        detail={"with": steps} if steps else None,
    )
    if not request.session.session_key:
        request.session.create()
    session_begin(
        user=user,
        key=request.session.session_key or "",
        address=get_adapter(request).get_client_ip(request),
        agent=request.META.get("HTTP_USER_AGENT", ""),
    )


@receiver(user_logged_out)
def note_sign_out(request: HttpRequest, user: Any, **_: Any) -> None:
    if user is not None:
        actor = actor_for_user(user, request_id=_request_id(request))
        audit_record(actor=actor, action="user.signed_out", object_type="user", object_id=user.pk)


@receiver(user_login_failed)
def note_failed_sign_in(
    credentials: dict[str, Any], request: HttpRequest | None = None, **_: Any
) -> None:
    """Names the account where there is one; never the typed text: it may be a password."""
    typed = str(credentials.get("username", ""))[:150]
    user = get_user_model().objects.filter(username=typed).first()
    audit_record(
        actor=replace(SYSTEM, request_id=_request_id(request)),
        action="user.sign_in_failed",
        object_type="user",
        object_id=user.pk if user else "",
        site_id=user.site_id if user else None,
    )


@receiver(request_finished)
def tidy_bytes(**_: Any) -> None:
    """What the request stored in a transaction that was rolled back, where that does not go by
    itself."""
    uploads().tidy()
