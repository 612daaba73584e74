"""Reading the accounts, sites and tokens that administrators manage, and one's own tokens."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from allauth.mfa.models import Authenticator
from django.db.models import BooleanField, Count, ExpressionWrapper, F, Q, QuerySet
from django.db.models.functions import Now

from cases.access import TOKEN_CAPABILITIES, Actor, Capability, Role
from cases.errors import NotFound, PermissionDenied
from cases.models import ApiToken, AuditEvent, Site, User
from cases.selectors.portal import Page

TOKEN_IS_LIVE = Q(revoked_at__isnull=True, expires_at__gt=Now())


@dataclass(frozen=True)
class TokenStanding:
    """A token and whether it can be used now."""

    token: ApiToken
    state: str


def user_page(
    *, actor: Actor, size: int, after: str = "", query: str = "", role: str = ""
) -> Page[User]:
    """``size`` users of the actor's site by name, from after the name ``after`` on.

    ``query``: with this in their name; ``role``: who holds it. Three queries, however many.
    """
    actor.require(Capability.MANAGE_USERS)
    users = User.objects.filter(site_id=actor.own_site).prefetch_related("role_rows")
    if query:
        users = users.filter(username__icontains=query)
    if role:
        users = users.filter(role_rows__role=role)
    if after:
        users = users.filter(username__gt=after)
    live = Count("tokens", filter=Q(tokens__revoked_at__isnull=True, tokens__expires_at__gt=Now()))
    found = list(users.annotate(live_tokens=live).order_by("username")[: size + 1])
    return Page(rows=found[:size], has_newer=bool(after), has_older=len(found) > size)


def user_get(*, actor: Actor, user_id: UUID) -> User:
    """One user of the actor's site. ``NotFound`` at another."""
    actor.require(Capability.MANAGE_USERS)
    users = User.objects.select_related("site").prefetch_related("role_rows__granted_by")
    user = users.filter(pk=user_id, site_id=actor.own_site).first()
    if user is None:
        raise NotFound()
    return user


def user_history(*, user: User, limit: int) -> list[AuditEvent]:
    """What was done to an account of late, newest first. The caller has let the actor see it."""
    about = AuditEvent.objects.filter(object_id=str(user.pk), object_type="user")
    return list(
        about.exclude(action__in=("user.signed_in", "user.signed_out")).order_by("-id")[:limit]
    )


def site_list(*, actor: Actor) -> list[Site]:
    """All sites by name: somebody may be moved to any of them. Nothing else is told of others."""
    actor.require(Capability.MANAGE_USERS)
    return list(Site.objects.order_by("name", "code"))


def site_numbers(*, actor: Actor) -> dict[str, int]:
    """How many open accounts, administrators and live tokens the actor's own site has."""
    actor.require(Capability.MANAGE_USERS)
    open_ones = User.objects.filter(site_id=actor.own_site, is_active=True)
    return {
        "users": open_ones.count(),
        "administrators": open_ones.filter(role_rows__role=Role.ADMIN.value).count(),
        "tokens": ApiToken.objects.filter(TOKEN_IS_LIVE, user__in=open_ones).count(),
    }


def tokens_own(*, actor: Actor) -> list[TokenStanding]:
    """The actor's own tokens, newest first."""
    allowed = any(actor.can(capability) for capability in TOKEN_CAPABILITIES)
    if actor.user_id is None or not allowed:
        raise PermissionDenied()
    return _standing(ApiToken.objects.filter(user_id=actor.user_id))


def tokens_of_site(*, actor: Actor, limit: int = 200) -> list[TokenStanding]:
    """The tokens of the actor's site but their own, live ones first, then newest first."""
    actor.require(Capability.MANAGE_USERS)
    others = ApiToken.objects.filter(user__site_id=actor.own_site)
    if actor.user_id is not None:
        others = others.exclude(user_id=actor.user_id)
    return _standing(others, limit=limit)


def tokens_of(*, user: User) -> list[TokenStanding]:
    """The tokens of a user whom the caller has let the actor see."""
    return _standing(ApiToken.objects.filter(user=user))


def factors_of(*, user: User) -> int:
    """How many second factors and passkeys a user has whom the caller has let the actor see."""
    factors = Authenticator.objects.filter(user=user)
    return int(factors.exclude(type=Authenticator.Type.RECOVERY_CODES).count())


def token_get(*, actor: Actor, token_id: UUID) -> ApiToken:
    """One's own token, or as an administrator one of the site. ``NotFound`` for any other."""
    tokens = ApiToken.objects.select_related("user").filter(pk=token_id)
    mine = Q(user_id=actor.user_id)
    if actor.can(Capability.MANAGE_USERS):
        mine |= Q(user__site_id=actor.own_site)
    token = tokens.filter(mine).first()
    if token is None:
        raise NotFound()
    return token


def token_standing(*, actor: Actor, token_id: UUID) -> TokenStanding:
    """As `token_get`, with whether it can be used now."""
    token = token_get(actor=actor, token_id=token_id)
    return _standing(ApiToken.objects.filter(pk=token.pk))[0]


def systems_of_site(*, actor: Actor) -> list[User]:
    """Whom an administrator makes tokens for: open accounts whose one role is integration."""
    actor.require(Capability.MANAGE_USERS)
    users = User.objects.filter(
        site_id=actor.own_site, is_active=True, role_rows__role=Role.INTEGRATION.value
    )
    found = users.prefetch_related("role_rows").order_by("username")
    return [user for user in found if user.roles == {Role.INTEGRATION}]


def _standing(tokens: QuerySet[ApiToken], *, limit: int = 200) -> list[TokenStanding]:
    live = ExpressionWrapper(TOKEN_IS_LIVE, output_field=BooleanField())
    rows = (
        tokens.select_related("user")
        .annotate(live=live)
        .order_by(F("live").desc(), "-created_at", "-id")[:limit]
    )
    return [TokenStanding(token, _state(token, live=token.live)) for token in rows]


def _state(token: ApiToken, *, live: bool) -> str:
    if token.revoked_at is not None:
        return "revoked"
    if not token.user.is_active:
        return "closed"
    return "live" if live else "expired"
