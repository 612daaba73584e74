"""Bearer tokens for systems, the portal's session for people; the actor of a request."""

from __future__ import annotations

from typing import Any

from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from cases.access import Actor
from cases.models import ApiToken, User
from cases.services.people import actor_for_token, actor_for_user, token_authenticate


class BearerTokenAuthentication(BaseAuthentication):
    """`Authorization: Bearer TOKEN` (RFC 6750). A bad token is 401, never "anonymous"."""

    def authenticate(self, request: Request) -> tuple[User, ApiToken] | None:
        scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
        if not scheme:
            return None
        if scheme.lower() != "bearer" or not secret.strip():
            raise AuthenticationFailed("Send `Authorization: Bearer TOKEN`.")
        token = token_authenticate(secret.strip())
        if token is None:
            raise AuthenticationFailed("The token is unknown, expired or revoked.")
        return token.user, token

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="bcweb"'


class PortalSessionAuthentication(SessionAuthentication):
    """The portal's session cookie, with CSRF for anything that changes something."""

    def authenticate(self, request: Request) -> tuple[Any, None] | None:
        signed_in: tuple[Any, None] | None = super().authenticate(request)
        return signed_in


def actor_of(request: Request) -> Actor | None:
    """The actor of ``request``, made once; None for an anonymous one."""
    known: Actor | None = getattr(request, "_bcweb_actor", None)
    if known is not None:
        return known
    request_id = str(getattr(request, "request_id", ""))
    if isinstance(request.auth, ApiToken):
        known = actor_for_token(request.auth, request_id=request_id)
    elif isinstance(request.user, User):
        known = actor_for_user(request.user, request_id=request_id)
    request._bcweb_actor = known  # type: ignore[attr-defined]
    return known
