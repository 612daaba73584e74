"""Bearer tokens for systems, the portal's session for people."""

from __future__ import annotations

from typing import Any

from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from cases.models import ApiToken, User
from cases.services.people import token_authenticate


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
