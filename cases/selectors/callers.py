"""Whether those who wait still may: their token or session holds, with the rights it began with."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal
from uuid import UUID

from django.conf import settings
from django.contrib.auth import get_user
from django.db.models.functions import Now
from django.http import HttpRequest

from cases.access import Capability, Scope, capabilities_of
from cases.models import ApiToken, User


@dataclass(frozen=True)
class Caller:
    """On whose behalf somebody waits: a token or a session, and what it was allowed then."""

    kind: Literal["token", "session"]
    # Id of the token, or key of the session.
    key: str
    capabilities: frozenset[Capability]


def callers_holding(callers: Iterable[Caller]) -> set[Caller]:
    """Those of ``callers`` whose token or session still holds, with the same rights.

    One look for all tokens together, and one for each session.
    """
    callers = set(callers)
    tokens = _tokens({UUID(caller.key) for caller in callers if caller.kind == "token"})
    return {
        caller
        for caller in callers
        if caller.capabilities
        == (tokens.get(caller.key) if caller.kind == "token" else _session(caller.key))
    }


def _tokens(token_ids: set[UUID]) -> dict[str, frozenset[Capability]]:
    if not token_ids:
        return {}
    live = ApiToken.objects.filter(
        pk__in=token_ids, revoked_at__isnull=True, expires_at__gt=Now(), user__is_active=True
    )
    return {
        str(token.pk): capabilities_of(token.user.roles, frozenset(map(Scope, token.scopes)))
        for token in live.select_related("user").prefetch_related("user__role_rows")
    }


def _session(key: str) -> frozenset[Capability] | None:
    """What the user of this session may; None where it has ended: signed out, run out, or of
    another password."""
    request: Any = HttpRequest()
    request.session = import_module(settings.SESSION_ENGINE).SessionStore(key)
    user = get_user(request)
    if not isinstance(user, User) or not user.is_active:
        return None
    return capabilities_of(user.roles)
