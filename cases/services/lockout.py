"""Lock-out: after failures in a row a user name, an address or a second factor has to wait.

Counted in Postgres rather than in the cache: signing in works while Valkey is away, and a restart
of Valkey gives nobody new attempts (docs/adr/0013).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.crypto import salted_hmac

from cases.access import SYSTEM, Actor, ActorKind, Capability
from cases.errors import PermissionDenied, Throttled
from cases.models import SignInFailure, User
from cases.services.audit import audit_record
from cases.services.locks import advisory_lock
from cases.vocabulary import LockKind


@dataclass(frozen=True)
class Attempt:
    """One attempt under way, counted as a failure until it is known to be none."""

    keys: Mapping[LockKind, str]
    rows: tuple[int, ...]


def _window() -> timedelta:
    return timedelta(minutes=settings.BCWEB_ACCOUNTS.lockout_minutes)


def _limit(kind: LockKind) -> int:
    told = settings.BCWEB_ACCOUNTS
    return int(told.lockout_address_failures if kind is LockKind.ADDRESS else told.lockout_failures)


def _key(kind: LockKind, text: str) -> str:
    digest = salted_hmac(f"bcweb lock-out {kind.value}", text, algorithm="sha256")
    return digest.hexdigest()


def name_key(username: str) -> str:
    """What a typed user name is counted by: the same however its letters are cased."""
    return username.strip().casefold()


def _wait(kind: LockKind, key: str) -> int:
    """Seconds until ``key`` may be tried again; 0 where it may now."""
    recent = SignInFailure.objects.filter(key=key, at__gt=Now() - _window()).order_by("-at", "-id")
    times = list(recent.values_list("at", flat=True)[: _limit(kind)])
    if len(times) < _limit(kind):
        return 0
    return max(1, math.ceil((times[-1] + _window() - timezone.now()).total_seconds()))


@transaction.atomic
def attempt_begin(*, keys: Mapping[LockKind, str]) -> Attempt:
    """Count an attempt before it is tried, so that many at once are no more than are allowed.

    Raises ``Throttled`` where one of ``keys`` has failed too often; that is not counted, so
    nobody stays locked out by trying. It says the same of names that exist and that do not.
    """
    hashed = {kind: _key(kind, text) for kind, text in keys.items()}
    for key in sorted(hashed.values()):
        advisory_lock("sign-in", key, wait=True)
    waits = [_wait(kind, key) for kind, key in hashed.items()]
    if max(waits) > 0:
        raise Throttled(retry_after=max(waits))
    SignInFailure.objects.filter(at__lte=Now() - _window()).delete()
    rows = SignInFailure.objects.bulk_create(
        SignInFailure(kind=kind.value, key=key) for kind, key in hashed.items()
    )
    return Attempt(keys=keys, rows=tuple(row.pk for row in rows))


@transaction.atomic
def attempt_succeeded(*, attempt: Attempt) -> None:
    """It was no failure. What else failed under the same name or factor is forgiven.

    Not what failed from the same address: whoever has one account there could otherwise try the
    passwords of others without end.
    """
    forgiven = [
        _key(kind, text) for kind, text in attempt.keys.items() if kind is not LockKind.ADDRESS
    ]
    SignInFailure.objects.filter(pk__in=attempt.rows).delete()
    SignInFailure.objects.filter(key__in=forgiven).delete()


@transaction.atomic
def attempt_failed(*, attempt: Attempt, user: User | None, request_id: str = "") -> None:
    """It was one. The one that fills the measure is written into the audit trail."""
    for kind, text in attempt.keys.items():
        if _wait(kind, _key(kind, text)) == 0:
            continue
        detail = {"by": kind.value, "minutes": settings.BCWEB_ACCOUNTS.lockout_minutes}
        if kind is LockKind.ADDRESS:
            detail["address"] = text
        audit_record(
            actor=replace(SYSTEM, request_id=request_id),
            action="user.locked_out",
            object_type="user",
            object_id=user.pk if user else "",
            site_id=user.site_id if user else None,
            detail=detail,
        )


def manager_require(*, actor: Actor, user: User) -> None:
    """Raise ``PermissionDenied`` unless ``actor`` manages the users of the site of ``user``."""
    actor.require(Capability.MANAGE_USERS)
    if actor.kind in (ActorKind.USER, ActorKind.TOKEN) and actor.own_site != user.site_id:
        raise PermissionDenied()


@transaction.atomic
def lock_lift(*, actor: Actor, user: User) -> int:
    """Forgive ``user`` their failures, so that they may try again now; how many they were.

    Raises ``PermissionDenied``, also for oneself: a stolen session must not get more guesses at
    the codes of a second factor. A locked address stays locked: it is nobody's own.
    """
    manager_require(actor=actor, user=user)
    if actor.user_id == user.pk:
        raise PermissionDenied("Nobody lifts their own lock-out; ask another administrator.")
    keys = [
        _key(LockKind.NAME, name_key(user.get_username())),
        _key(LockKind.FACTOR, str(user.pk)),
    ]
    count, _ = SignInFailure.objects.filter(key__in=keys).delete()
    audit_record(
        actor=actor,
        action="user.lock_lifted",
        object_type="user",
        object_id=user.pk,
        site_id=user.site_id,
        detail={"failures": count},
    )
    return count


def lock_seconds(*, user: User) -> int:
    """For how long ``user`` is locked out still; 0 where they are not."""
    return max(
        _wait(LockKind.NAME, _key(LockKind.NAME, name_key(user.get_username()))),
        _wait(LockKind.FACTOR, _key(LockKind.FACTOR, str(user.pk))),
    )
