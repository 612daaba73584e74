"""Reading an account: its own sessions, second factors, and whether one is missing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from allauth.mfa import app_settings as mfa_settings
from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount
from allauth.usersessions.models import UserSession
from django.conf import settings
from django.contrib.sessions.models import Session
from django.utils import timezone

from cases.models import User

FACTOR_TYPES = (Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN)


@dataclass(frozen=True)
class SessionState:
    """How long a session has been there and unused."""

    begun_at: datetime
    seen_at: datetime

    @property
    def ended(self) -> str:
        """``idle`` or ``age`` where it is over, else ""."""
        now = timezone.now()
        if now - self.begun_at > timedelta(hours=settings.BCWEB_SESSION_HOURS):
            return "age"
        if now - self.seen_at > timedelta(minutes=settings.BCWEB_ACCOUNTS.idle_minutes):
            return "idle"
        return ""

    @property
    def seconds_left(self) -> int:
        """Until it ends, if nobody does anything; never negative."""
        idle = self.seen_at + timedelta(minutes=settings.BCWEB_ACCOUNTS.idle_minutes)
        age = self.begun_at + timedelta(hours=settings.BCWEB_SESSION_HOURS)
        return max(0, int((min(idle, age) - timezone.now()).total_seconds()))


def session_state(*, key: str) -> SessionState | None:
    """None where it was begun before sessions were noted."""
    row = UserSession.objects.filter(session_key=key).values("created_at", "last_seen_at").first()
    return SessionState(row["created_at"], row["last_seen_at"]) if row else None


def own_sessions(*, user: User) -> list[UserSession]:
    """The live sessions of ``user``, the one used last first."""
    rows = list(UserSession.objects.filter(user=user).order_by("-last_seen_at", "-pk"))
    keys = [row.session_key for row in rows]
    live = set(
        Session.objects.filter(session_key__in=keys, expire_date__gt=timezone.now()).values_list(
            "session_key", flat=True
        )
    )
    return [
        row
        for row in rows
        if row.session_key in live and not SessionState(row.created_at, row.last_seen_at).ended
    ]


@dataclass(frozen=True)
class Factors:
    """What protects an account besides its password."""

    app: Authenticator | None
    passkeys: tuple[Authenticator, ...]
    recovery: Authenticator | None

    @property
    def any(self) -> bool:
        return self.app is not None or bool(self.passkeys)


def factors_of(*, user: User) -> Factors:
    rows = list(Authenticator.objects.filter(user=user).order_by("created_at", "pk"))
    of = {row.type: row for row in rows}
    return Factors(
        app=of.get(Authenticator.Type.TOTP),
        passkeys=tuple(row for row in rows if row.type == Authenticator.Type.WEBAUTHN),
        recovery=of.get(Authenticator.Type.RECOVERY_CODES),
    )


def needs_second_factor(*, user: User) -> bool:
    """Whether a role of ``user`` asks for a second factor (``BCWEB_SECOND_FACTOR_ROLES``)."""
    asking = set(settings.BCWEB_ACCOUNTS.second_factor_roles)
    if not asking:
        return False
    if user.roles_read is None:
        # Read once for this request: the actor is made of the same roles.
        user.roles_read = [role.value for role in user.roles]
    return not asking.isdisjoint(user.roles_read)


def has_second_factor(*, user: User) -> bool:
    return bool(Authenticator.objects.filter(user=user, type__in=FACTOR_TYPES).exists())


def has_sign_on(*, user: User, provider: str) -> bool:
    """Whether a subject of this issuer is linked with the user."""
    found: bool = SocialAccount.objects.filter(user=user, provider=provider).exists()
    return found


def recovery_codes_left(factors: Factors) -> int | None:
    """How many recovery codes are unused; None where none were made."""
    if factors.recovery is None:
        return None
    used = int(factors.recovery.data.get("used_mask", 0)).bit_count()
    return int(mfa_settings.RECOVERY_CODE_COUNT) - used
