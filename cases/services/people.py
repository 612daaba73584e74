"""Sites, users, roles and tokens: who exists and what they may do."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from datetime import timedelta
from uuid import UUID

from django.contrib.auth.password_validation import validate_password
from django.contrib.postgres.expressions import ArraySubquery
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import OuterRef
from django.db.models.functions import Now
from django.utils import timezone

from cases.access import (
    Actor,
    ActorKind,
    Capability,
    Role,
    Scope,
    capabilities_of,
    useful_scopes,
)
from cases.errors import FieldInvalid, NotFound, PermissionDenied, StateConflict
from cases.models import ApiToken, Site, User, UserRole
from cases.services.administrators import administrator_stays
from cases.services.audit import audit_record
from cases.services.reader_first import opened_by

TOKEN_PREFIX = "bcw_"
_OF_TOKEN = (
    *("user_id", "name", "prefix", "scopes", "expires_at", "last_used_at"),
    *("user__username", "user__site_id", "user__is_active"),
)
# A token's use is noted at most this often: polling should not write at every request.
TOKEN_USE_GRAIN = timedelta(minutes=1)


def actor_for_user(user: User, *, request_id: str = "") -> Actor:
    """The actor of a signed-in person: their roles, at their site."""
    return Actor(
        kind=ActorKind.USER,
        label=user.get_username(),
        user_id=user.pk,
        site_id=user.site_id,
        capabilities=capabilities_of(user.roles),
        request_id=request_id,
        opened_by=opened_by(site_id=user.site_id, roles=user.roles),
    )


def actor_for_token(token: ApiToken, *, request_id: str = "") -> Actor:
    """The actor of a bearer token: what its owner's roles and its own scopes both allow."""
    return Actor(
        kind=ActorKind.TOKEN,
        label=f"{token.user.get_username()} via {token.prefix}",
        user_id=token.user_id,
        token_id=token.pk,
        site_id=token.user.site_id,
        capabilities=capabilities_of(token.user.roles, frozenset(Scope(s) for s in token.scopes)),
        request_id=request_id,
        opened_by=opened_by(site_id=token.user.site_id, roles=token.user.roles, by_token=True),
    )


@transaction.atomic
def site_create(*, actor: Actor, code: str, name: str, patient_issuer: str = "") -> Site:
    """Add a site. ``StateConflict`` where the code is taken."""
    actor.require(Capability.MANAGE_USERS)
    try:
        with transaction.atomic():
            site = Site.objects.create(
                code=code, name=name, patient_issuer=patient_issuer or code.upper()
            )
    except IntegrityError as error:
        raise StateConflict(f"A site with the code {code} exists already.") from error
    audit_record(
        actor=actor,
        action="site.created",
        object_type="site",
        object_id=site.pk,
        site_id=site.pk,
        changed_fields=["code", "name", "patient_issuer"],
    )
    return site


@transaction.atomic
def user_create(
    *,
    actor: Actor,
    username: str,
    site: Site,
    roles: Iterable[Role],
    password: str | None,
    is_demo: bool = False,
) -> User:
    """Add a user with roles. ``password`` None: cannot sign in (a token's owner).

    Raises ``PermissionDenied``, ``FieldInvalid`` (weak password, bad name) or
    ``StateConflict`` (name taken).
    """
    actor.require(Capability.MANAGE_USERS)
    _same_site(actor, site.pk)
    user = User(username=username, site=site, is_demo=is_demo)
    try:
        user.clean_fields(exclude=["password"])
    except ValidationError as error:
        raise FieldInvalid(errors=error.message_dict) from error
    _set_password(user, password)
    try:
        with transaction.atomic():
            user.save(force_insert=True)
    except IntegrityError as error:
        raise StateConflict(f"A user named {username} exists already.") from error
    audit_record(
        actor=actor,
        action="user.created",
        object_type="user",
        object_id=user.pk,
        site_id=site.pk,
        changed_fields=["username", "site"],
    )
    for role in roles:
        role_grant(actor=actor, user=user, role=role)
    return user


@transaction.atomic
def role_grant(*, actor: Actor, user: User, role: Role) -> None:
    """Give ``user`` a role. Nobody grants themselves one (``PermissionDenied``)."""
    actor.require(Capability.MANAGE_USERS)
    if actor.user_id == user.pk:
        raise PermissionDenied("Nobody grants themselves a role; ask another administrator.")
    _same_site(actor, user.site_id)
    _, created = UserRole.objects.get_or_create(
        user=user, role=role.value, defaults={"granted_by_id": actor.user_id}
    )
    if created:
        audit_record(
            actor=actor,
            action="role.granted",
            object_type="user",
            object_id=user.pk,
            site_id=user.site_id,
            changed_fields=["roles"],
            detail={"role": role.value},
        )


@transaction.atomic
def user_deactivate(*, actor: Actor, user: User) -> None:
    """Close an account: no sign-in, tokens revoked, sessions invalid. Its history stays.

    ``StateConflict`` for the last administrator of a site, ``PermissionDenied`` for one's own
    account: neither binds the machine's own hands, which can make another administrator.
    """
    actor.require(Capability.MANAGE_USERS)
    _same_site(actor, user.site_id)
    if actor.user_id == user.pk:
        raise PermissionDenied("Nobody closes their own account; ask another administrator.")
    administrator_stays(actor=actor, user=user)
    user.is_active = False
    user.set_unusable_password()
    user.save(update_fields=["is_active", "password"])
    user.tokens.filter(revoked_at__isnull=True).update(revoked_at=Now())
    audit_record(
        actor=actor,
        action="user.deactivated",
        object_type="user",
        object_id=user.pk,
        site_id=user.site_id,
        changed_fields=["is_active", "password"],
    )


@transaction.atomic
def user_reactivate(*, actor: Actor, user: User, password: str | None) -> None:
    """Open a closed account again, with a new password (None: works by tokens only)."""
    actor.require(Capability.MANAGE_USERS)
    _same_site(actor, user.site_id)
    _set_password(user, password)
    user.is_active = True
    user.save(update_fields=["is_active", "password"])
    audit_record(
        actor=actor,
        action="user.reactivated",
        object_type="user",
        object_id=user.pk,
        site_id=user.site_id,
        changed_fields=["is_active", "password"],
    )


def _set_password(user: User, password: str | None) -> None:
    """Set a password that is good enough (``FieldInvalid``); None: no sign-in."""
    if password is None:
        user.set_unusable_password()
        return
    try:
        validate_password(password, user)
    except ValidationError as error:
        raise FieldInvalid(errors={"password": error.messages}) from error
    user.set_password(password)


def _same_site(actor: Actor, site_id: UUID | None) -> None:
    """People and tokens manage their own site only; the machine's own hands manage all."""
    if actor.kind in (ActorKind.USER, ActorKind.TOKEN) and actor.own_site != site_id:
        raise PermissionDenied()


def _may_make_token(actor: Actor, user: User) -> None:
    if not user.is_active:
        raise StateConflict("The account is closed: a token of it would be of no use.")
    if actor.kind is ActorKind.TOKEN:
        raise PermissionDenied("No token makes tokens; sign in at the portal.")
    if actor.kind is ActorKind.USER and actor.user_id == user.pk:
        return
    actor.require(Capability.MANAGE_USERS)
    _same_site(actor, user.site_id)
    if actor.kind is ActorKind.USER and user.roles != {Role.INTEGRATION}:
        raise PermissionDenied("People make their own tokens; you make those of systems.")


def token_hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


@transaction.atomic
def token_create(
    *, actor: Actor, user: User, name: str, scopes: Iterable[Scope], days: int
) -> tuple[ApiToken, str]:
    """A new bearer token: the row, and the secret that is shown once and never stored.

    People make tokens for themselves, administrators also for systems of their site (users whose
    one role is integration): a token of somebody else would act in their name. No token makes
    tokens. Raises ``FieldInvalid`` (no scope, or one that the owner's roles give nothing to do;
    no name; a life outside 1..3650 days), ``StateConflict`` for a closed account, or
    ``PermissionDenied``.
    """
    _may_make_token(actor, user)
    given = set(scopes)
    wanted = sorted(scope.value for scope in given)
    errors: dict[str, list[str]] = {}
    if not wanted:
        errors["scopes"] = ["Choose at least one scope."]
    elif actor.kind is ActorKind.USER and not given <= set(useful_scopes(user.roles)):
        errors["scopes"] = ["The roles of the token's owner allow nothing of one of these."]
    if not name.strip():
        errors["name"] = ["Name the system that will carry the token."]
    if not 1 <= days <= 3650:
        errors["days"] = ["Between 1 and 3650 days."]
    if errors:
        raise FieldInvalid(errors=errors)
    secret = TOKEN_PREFIX + secrets.token_urlsafe(32)
    token = ApiToken.objects.create(
        user=user,
        name=name.strip()[:80],
        token_hash=token_hash(secret),
        prefix=secret[:10],
        scopes=wanted,
        expires_at=timezone.now() + timedelta(days=days),
    )
    audit_record(
        actor=actor,
        action="token.created",
        object_type="token",
        object_id=token.pk,
        site_id=user.site_id,
        changed_fields=["name", "scopes", "expires_at"],
        detail={"scopes": wanted},
    )
    return token, secret


@transaction.atomic
def token_revoke(*, actor: Actor, token_id: UUID) -> None:
    """Make a token useless from now on: one's own, or as an administrator any of the site's.

    Twice is once. ``NotFound``, or ``PermissionDenied`` for somebody else's and another site's.
    """
    token = ApiToken.objects.select_related("user").filter(pk=token_id).first()
    if token is None:
        raise NotFound()
    if actor.kind is not ActorKind.USER or actor.user_id != token.user_id:
        actor.require(Capability.MANAGE_USERS)
        _same_site(actor, token.user.site_id)
    changed = ApiToken.objects.filter(pk=token_id, revoked_at__isnull=True).update(revoked_at=Now())
    if changed:
        audit_record(
            actor=actor,
            action="token.revoked",
            object_type="token",
            object_id=token_id,
            site_id=token.user.site_id,
            changed_fields=["revoked_at"],
        )


def token_authenticate(secret: str) -> ApiToken | None:
    """The live token with this secret, its owner and roles loaded; None where there is none.

    One query, and of few columns: each request of a system that polls pays for it.
    """
    roles = UserRole.objects.filter(user=OuterRef("user_id")).order_by().values("role")
    try:
        token = (
            ApiToken.objects.select_related("user")
            .only(*_OF_TOKEN)
            .annotate(roles_held=ArraySubquery(roles))
            .get(
                token_hash=token_hash(secret),
                revoked_at__isnull=True,
                expires_at__gt=Now(),
                user__is_active=True,
            )
        )
    except ApiToken.DoesNotExist:
        return None
    token.user.roles_read = list(token.roles_held)
    now = timezone.now()
    if token.last_used_at is None or now - token.last_used_at > TOKEN_USE_GRAIN:
        ApiToken.objects.filter(pk=token.pk).update(last_used_at=now)
    return token


@transaction.atomic
def site_ensure(*, actor: Actor, name: str) -> Site:
    """The first site, made where there is none yet."""
    first = Site.objects.order_by("created_at", "id").first()
    return first or site_create(actor=actor, code="main", name=name)
