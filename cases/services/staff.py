"""What administrators change about the accounts of their site: roles, site, how people sign in."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models.functions import Now

from cases.access import Actor, Capability, Role
from cases.errors import FieldInvalid, NotFound, PermissionDenied, StateConflict
from cases.models import Site, User, UserRole
from cases.services.administrators import administrator_stays
from cases.services.audit import audit_record
from cases.services.people import (
    role_grant,
    site_create,
    user_create,
    user_deactivate,
    user_reactivate,
)
from cases.services.persons import person_required, reason_required
from cases.services.sign_in_links import sign_in_key

MAX_ISSUER = 64


@transaction.atomic
def user_invite(
    *, actor: Actor, username: str, roles: Iterable[Role], signs_in: bool
) -> tuple[User, str]:
    """Add a user at the actor's own site; the key of the link they choose a password with.

    The key is "" for one that does not sign in (a system, which works by tokens). Raises
    ``FieldInvalid``, ``StateConflict`` (name taken), ``PermissionDenied``: it takes a person.
    """
    person_required(actor, Capability.MANAGE_USERS)
    wanted = list(roles)
    name = username.strip()
    errors: dict[str, list[str]] = {} if name else {"username": ["Give a user name."]}
    if not wanted:
        errors["roles"] = ["Choose at least one role."]
    if errors:
        raise FieldInvalid(errors=errors)
    site = Site.objects.get(pk=actor.own_site)
    try:
        user = user_create(actor=actor, username=name, site=site, roles=wanted, password=None)
    except StateConflict as error:
        raise FieldInvalid(errors={"username": [error.detail]}) from error
    return user, _link(actor, user) if signs_in else ""


@transaction.atomic
def roles_change(*, actor: Actor, user_id: UUID, roles: Iterable[Role]) -> frozenset[Role]:
    """Give a user of the site exactly ``roles``; what is new and what is gone is audited apart.

    Nobody changes their own (``PermissionDenied``), and the last administrator stays one
    (``StateConflict``). ``NotFound`` at another site. Tokens and sessions follow at once.
    """
    user = _others_account(actor, user_id)
    wanted, held = frozenset(roles), user.roles
    if Role.ADMIN in held - wanted:
        administrator_stays(actor=actor, user=user)
    for role in sorted(wanted - held):
        role_grant(actor=actor, user=user, role=role)
    for role in sorted(held - wanted):
        UserRole.objects.filter(user=user, role=role.value).delete()
        _note(actor, user, "role.revoked", ["roles"], role=role.value)
    return wanted


@transaction.atomic
def user_move(*, actor: Actor, user_id: UUID, site_id: UUID) -> User:
    """Put a user of the actor's site at another one, without roles and tokens.

    What somebody may do at a site is for its own administrators to say, so the roles stay behind.
    The last administrator stays; so does oneself. ``FieldInvalid`` for a site that is none.
    """
    user = _others_account(actor, user_id)
    target = Site.objects.filter(pk=site_id).exclude(pk=actor.own_site).first()
    if target is None:
        raise FieldInvalid(errors={"site": ["Choose another site."]})
    administrator_stays(actor=actor, user=user)
    for role in sorted(user.roles):
        _note(actor, user, "role.revoked", ["roles"], role=role.value)
    user.role_rows.all().delete()
    user.tokens.filter(revoked_at__isnull=True).update(revoked_at=Now())
    _note(actor, user, "user.moved", ["site"], to=target.code)
    user.site = target
    user.save(update_fields=["site"])
    # The other site's auditors learn of it too.
    _note(replace(actor, site_id=target.pk), user, "user.arrived", ["site"])
    return user


@transaction.atomic
def password_reset(*, actor: Actor, user_id: UUID) -> tuple[User, str]:
    """End a user's password and sessions; the key of the link they choose another one with.

    A second factor stays. An earlier link ends too. ``StateConflict`` for a closed account,
    ``PermissionDenied`` for one's own, ``NotFound`` at another site.
    """
    user = _others_account(actor, user_id)
    if not user.is_active:
        raise StateConflict("The account is closed. Open it first.")
    return user, _link(actor, user)


@transaction.atomic
def account_close(*, actor: Actor, user_id: UUID) -> User:
    """Close an account of the site, as ``people.user_deactivate`` does. Twice is once."""
    user = _others_account(actor, user_id)
    if user.is_active:
        user_deactivate(actor=actor, user=user)
    return user


@transaction.atomic
def account_open(*, actor: Actor, user_id: UUID, signs_in: bool) -> tuple[User, str]:
    """Open a closed account again; the key of the link to a new password ("" for a system).

    Its tokens stay revoked. ``StateConflict`` where it is open.
    """
    user = _others_account(actor, user_id)
    if user.is_active:
        raise StateConflict("The account is open.")
    user_reactivate(actor=actor, user=user, password=None)
    return user, _link(actor, user) if signs_in else ""


@transaction.atomic
def site_open(
    *, actor: Actor, code: str, name: str, patient_issuer: str, administrator: str
) -> tuple[Site, User, str]:
    """Add a site and its first administrator; the key of the link to their password.

    From then on that person says who works there: people of other sites see nothing of it.
    ``FieldInvalid``; ``PermissionDenied``: it takes a person.
    """
    person_required(actor, Capability.MANAGE_USERS)
    draft = Site(
        code=code.strip().lower(), name=name.strip(), patient_issuer=patient_issuer.strip()
    )
    draft.patient_issuer = draft.patient_issuer or draft.code.upper()
    errors = _site_errors(draft)
    if not administrator.strip():
        errors["administrator"] = ["Name who manages the site's users."]
    if errors:
        raise FieldInvalid(errors=errors)
    try:
        site = site_create(
            actor=actor, code=draft.code, name=draft.name, patient_issuer=draft.patient_issuer
        )
    except StateConflict as error:
        raise FieldInvalid(errors={"code": [error.detail]}) from error
    there = replace(actor, site_id=site.pk)
    try:
        user, key = user_invite(
            actor=there, username=administrator, roles=[Role.ADMIN], signs_in=True
        )
    except FieldInvalid as error:
        told = (error.errors or {}).get("username", [error.detail])
        raise FieldInvalid(errors={"administrator": told}) from error
    return site, user, key


@transaction.atomic
def site_change(
    *, actor: Actor, site_id: UUID, name: str, patient_issuer: str, reason: str
) -> Site:
    """Rename the actor's own site, or change who issues the patient ids sent without an issuer.

    Records that are there keep theirs: the same id under another issuer is another patient.
    ``FieldInvalid`` (also without a reason where the issuer changes); ``NotFound`` for another
    site; ``PermissionDenied``: it takes a person.
    """
    person_required(actor, Capability.MANAGE_USERS)
    site = (
        Site.objects.select_for_update(no_key=True)
        .filter(pk=site_id, pk__in=[actor.own_site])
        .first()
    )
    if site is None:
        raise NotFound()
    wanted = {"name": name.strip(), "patient_issuer": patient_issuer.strip()}
    changed = [field for field, value in wanted.items() if getattr(site, field) != value]
    for field in changed:
        setattr(site, field, wanted[field])
    if errors := _site_errors(site):
        raise FieldInvalid(errors=errors)
    told = {"reason": reason_required(reason)} if "patient_issuer" in changed else {}
    if changed:
        site.save(update_fields=changed)
        audit_record(
            actor=actor,
            action="site.changed",
            object_type="site",
            object_id=site.pk,
            site_id=site.pk,
            changed_fields=changed,
            detail=told,
        )
    return site


def _site_errors(site: Site) -> dict[str, list[str]]:
    try:
        site.clean_fields(exclude=["id", "created_at"])
    except ValidationError as error:
        return {name: list(told) for name, told in error.message_dict.items()}
    # LO (PS3.5 6.2): a backslash parts values, and control characters are none.
    if "\\" in site.patient_issuer or not site.patient_issuer.isprintable():
        return {"patient_issuer": ["Letters, digits and signs, without a backslash."]}
    return {}


def _others_account(actor: Actor, user_id: UUID) -> User:
    """A user of the actor's site under lock, who is not the actor."""
    own = person_required(actor, Capability.MANAGE_USERS)
    users = User.objects.select_for_update(no_key=True).filter(site_id=actor.own_site)
    user = users.filter(pk=user_id).first()
    if user is None:
        raise NotFound()
    if user.pk == own:
        raise PermissionDenied("Nobody changes their own account here; ask another administrator.")
    return user


def _link(actor: Actor, user: User) -> str:
    """The old password ends, and with it all sessions and links of before."""
    user.set_unusable_password()
    user.save(update_fields=["password"])
    _note(actor, user, "user.link_made", ["password"])
    return sign_in_key(user)


def _note(actor: Actor, user: User, action: str, fields: list[str], **detail: str) -> None:
    audit_record(
        actor=actor,
        action=action,
        object_type="user",
        object_id=user.pk,
        site_id=actor.site_id,
        changed_fields=fields,
        detail=dict(detail),
    )
