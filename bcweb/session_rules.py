"""What holds for every request of a session: it ends when nobody uses it, and a second factor is
there where a role asks for one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import structlog
from allauth.account.adapter import get_adapter
from allauth.account.internal.flows.login import get_authentication_records
from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from bcweb.errors import refused
from cases.errors import Overloaded, PermissionDenied
from cases.models import User
from cases.selectors.accounts import has_second_factor, needs_second_factor, session_state
from cases.services.people import actor_for_user
from cases.services.sessions import session_begin, session_expire, session_seen

log = structlog.get_logger(__name__)

# Pages one can see before a second factor is set up: those to set it up with, and the way out.
OPEN_PAGES = frozenset(
    {
        "sign-in",
        "sign-out",
        "account",
        "account-idle",
        "set-language",
        "script-words",
        "account_reauthenticate",
        "account_change_password",
        "mfa_activate_totp",
        "mfa_add_webauthn",
        "mfa_reauthenticate",
        "mfa_reauthenticate_webauthn",
        "healthz",
        "readyz",
    }
)


def is_activity(request: HttpRequest) -> bool:
    """Whether a person did this: pages that look by themselves must not keep a session alive.

    What people do within a page (typing, pointing) its script tells by POST.
    """
    if request.method not in ("GET", "HEAD"):
        return True
    if "HX-Request" in request.headers:
        return False
    # Browsers tell a page that was asked for (navigate) from what it loads by itself; over plain
    # HTTP, and old ones, only by what they would take: streams and scripts do not ask for a page.
    mode = request.headers.get("Sec-Fetch-Mode")
    if mode is None:
        return "text/html" in request.headers.get("Accept", "text/html")
    return mode == "navigate"


def _factor_missing(request: HttpRequest, user: User) -> bool:
    """Whether a role of ``user`` asks for a second factor that is not there."""
    if not needs_second_factor(user=user) or has_second_factor(user=user):
        return False
    if not settings.BCWEB_ACCOUNTS.oidc_second_factor:
        return True
    records = get_authentication_records(request, user)
    return not any(record.get("method") == "socialaccount" for record in records)


class SessionRulesMiddleware:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        try:
            if settings.SESSION_COOKIE_NAME in request.COOKIES and isinstance(request.user, User):
                self._keep_or_end(request, request.user)
        except (OperationalError, InterfaceError) as error:
            log.warning("session_database", error=type(error.__cause__ or error).__name__)
            return refused(request, Overloaded())
        return self.get_response(request)

    def _keep_or_end(self, request: HttpRequest, user: User) -> None:
        key = request.session.session_key or ""
        state = session_state(key=key)
        if state is None:
            session_begin(
                user=user,
                key=key,
                address=get_adapter(request).get_client_ip(request),
                agent=request.headers.get("User-Agent", ""),
            )
        elif state.ended:
            actor = actor_for_user(user, request_id=str(getattr(request, "request_id", "")))
            session_expire(actor=actor, key=key, why=state.ended)
            request.session.flush()
            request.user = AnonymousUser()
            request.session_ended = state.ended  # type: ignore[attr-defined]
        elif is_activity(request):
            session_seen(key=key)

    def process_view(
        self, request: HttpRequest, view: Callable[..., Any], args: Any, kwargs: Any
    ) -> HttpResponse | None:
        name = request.resolver_match.url_name if request.resolver_match else None
        if settings.SESSION_COOKIE_NAME not in request.COOKIES or name in OPEN_PAGES:
            return None
        try:
            if not isinstance(request.user, User) or not _factor_missing(request, request.user):
                return None
        except (OperationalError, InterfaceError) as error:
            log.warning("session_database", error=type(error.__cause__ or error).__name__)
            return refused(request, Overloaded())
        if request.path.startswith("/api/"):
            # An empty one is none: the session would count after all.
            if request.headers.get("Authorization", "").strip():
                return None
            return refused(
                request,
                PermissionDenied(
                    "Your role asks for a second factor: set it up on your account's page."
                ),
            )
        return redirect("account")
