"""Sessions of the portal: begun, kept alive by what a person does, ended.

A session is two rows: Django's (``django_session``, what it holds) and the library's
(``usersessions_usersession``: whose, from where, when seen last). The moment it was seen is kept
in the second one, so that noting it never writes over what another request put into the first.
"""

from __future__ import annotations

from datetime import timedelta

from allauth.usersessions.models import UserSession
from django.contrib.sessions.models import Session
from django.db import transaction
from django.utils import timezone

from cases.access import Actor
from cases.errors import NotFound
from cases.models import User
from cases.services.audit import audit_record
from cases.services.lockout import manager_require

# A session that is used all the time is noted at most this often.
SEEN_GRAIN = timedelta(seconds=15)


def session_begin(*, user: User, key: str, address: str, agent: str) -> None:
    """Note a session that was just begun, or one that was there before sessions were noted."""
    now = timezone.now()
    UserSession.objects.update_or_create(
        session_key=key,
        defaults={
            "user": user,
            "ip": address,
            "user_agent": agent[:200],
            "created_at": now,
            "last_seen_at": now,
        },
    )


def session_seen(*, key: str) -> None:
    """Note that its owner did something just now."""
    now = timezone.now()
    UserSession.objects.filter(session_key=key, last_seen_at__lt=now - SEEN_GRAIN).update(
        last_seen_at=now
    )


@transaction.atomic
def session_expire(*, actor: Actor, key: str, why: str) -> None:
    """End the actor's session because nobody used it (``idle``) or its time is over (``age``)."""
    Session.objects.filter(session_key=key).delete()
    UserSession.objects.filter(session_key=key).delete()
    audit_record(
        actor=actor,
        action="user.session_ended",
        object_type="user",
        object_id=actor.user_id or "",
        detail={"code": why},
    )


@transaction.atomic
def session_end(*, actor: Actor, session_id: int) -> None:
    """End one of the actor's own sessions. ``NotFound`` where it is somebody else's or gone."""
    row = UserSession.objects.filter(pk=session_id, user_id=actor.user_id).first()
    if row is None:
        raise NotFound("This session has ended already.")
    Session.objects.filter(session_key=row.session_key).delete()
    UserSession.objects.filter(pk=row.pk).delete()
    audit_record(
        actor=actor,
        action="user.session_ended",
        object_type="user",
        object_id=actor.user_id or "",
        detail={"code": "by_hand"},
    )


@transaction.atomic
def sessions_end(*, actor: Actor, user: User, keep: str | None) -> int:
    """End every session of ``user`` but the one with the key ``keep``; how many those were.

    For oneself, or for a user whom the actor manages (``PermissionDenied`` otherwise).
    """
    if actor.user_id != user.pk:
        manager_require(actor=actor, user=user)
    rows = UserSession.objects.filter(user=user).exclude(session_key=keep or "")
    keys = list(rows.values_list("session_key", flat=True))
    if not keys:
        return 0
    Session.objects.filter(session_key__in=keys).delete()
    rows.delete()
    audit_record(
        actor=actor,
        action="user.sessions_ended",
        object_type="user",
        object_id=user.pk,
        site_id=user.site_id,
        detail={"sessions": len(keys)},
    )
    return len(keys)


def sessions_tidy() -> int:
    """Delete sessions whose time is over; how many. Called by the sweeper's daily turn."""
    gone, _ = Session.objects.filter(expire_date__lt=timezone.now()).delete()
    live = Session.objects.values("session_key")
    UserSession.objects.exclude(session_key__in=live).delete()
    return gone
