"""What people change about their own account, and what an administrator takes back for them."""

from __future__ import annotations

from dataclasses import replace

from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import (
    format_hotp_value,
    hotp_value,
    yield_hotp_counters_from_time,
)
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.crypto import constant_time_compare

from cases.access import SYSTEM, Actor
from cases.errors import FieldInvalid, PermissionDenied
from cases.models import User
from cases.services.audit import audit_record
from cases.services.factor_secrets import SecretUnreadable, secret_open
from cases.services.lockout import manager_require
from cases.services.sessions import sessions_end

LAST_COUNTER = "last_counter"


@transaction.atomic
def password_change(*, actor: Actor, user: User, password: str, keep: str | None) -> int:
    """Give the actor's own ``user`` another password; how many other sessions it ended.

    Before: signed in, the old password just confirmed. After: every session but ``keep`` is
    ended. Raises ``FieldInvalid`` (too weak) or ``PermissionDenied`` (somebody else's).
    """
    if actor.user_id != user.pk:
        raise PermissionDenied()
    try:
        validate_password(password, user)
    except ValidationError as error:
        raise FieldInvalid(errors={"password": error.messages}) from error
    user.set_password(password)
    user.save(update_fields=["password"])
    audit_record(
        actor=actor,
        action="user.password_changed",
        object_type="user",
        object_id=user.pk,
        changed_fields=["password"],
    )
    return sessions_end(actor=actor, user=user, keep=keep)


@transaction.atomic
def second_factor_code_use(*, user: User, code: str) -> Authenticator | None:
    """The factor of ``user`` that ``code`` is good for, used up by this; None where there is none.

    A code of an authenticator app is good once, and none before it any more; a recovery code once.
    The row is locked, so of two uses at the same time one is refused.
    """
    rows = Authenticator.objects.select_for_update().filter(user=user).order_by("-type")
    for factor in rows:
        if factor.type == Authenticator.Type.TOTP:
            if _app_code_use(factor, code):
                return factor
        elif factor.type == Authenticator.Type.RECOVERY_CODES and _recovery_code_use(factor, code):
            return factor
    return None


def _app_code_use(factor: Authenticator, code: str) -> bool:
    typed = "".join(code.split())
    try:
        secret = secret_open(factor.data["secret"])
    except SecretUnreadable:
        return False
    for counter in yield_hotp_counters_from_time():
        expected = format_hotp_value(hotp_value(secret, counter))
        if constant_time_compare(typed, expected) and counter > factor.data.get(LAST_COUNTER, -1):
            factor.data[LAST_COUNTER] = counter
            factor.save(update_fields=["data"])
            return True
    return False


def _recovery_code_use(factor: Authenticator, code: str) -> bool:
    try:
        return bool(factor.wrap().validate_code(code))
    except SecretUnreadable:
        return False


def second_factor_refused(*, user: User, request_id: str = "") -> None:
    """Write down that a code of ``user`` was wrong. Their password was right before."""
    audit_record(
        actor=replace(SYSTEM, request_id=request_id),
        action="user.second_factor_failed",
        object_type="user",
        object_id=user.pk,
        site_id=user.site_id,
    )


@transaction.atomic
def second_factor_reset(*, actor: Actor, user: User) -> int:
    """Take all second factors and passkeys of ``user`` away, for whom a phone is lost; how many.

    After: their sessions are ended, and they sign in with their password alone and set up a new
    factor. Nobody does that for themselves (``PermissionDenied``): a stolen session must not
    take away what protects the account.
    """
    manager_require(actor=actor, user=user)
    if actor.user_id == user.pk:
        raise PermissionDenied("Nobody resets their own second factor; ask another administrator.")
    factors = Authenticator.objects.filter(user=user)
    count = int(factors.exclude(type=Authenticator.Type.RECOVERY_CODES).count())
    factors.delete()
    audit_record(
        actor=actor,
        action="user.second_factor_reset",
        object_type="user",
        object_id=user.pk,
        site_id=user.site_id,
        changed_fields=["second_factors"],
        detail={"factors": count},
    )
    sessions_end(actor=actor, user=user, keep=None)
    return count
