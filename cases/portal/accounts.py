"""The page of one's own account, in words."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from allauth.mfa.models import Authenticator
from django.conf import settings
from django.utils.translation import gettext

from cases.models import User
from cases.portal.staff import ROLES
from cases.selectors.accounts import (
    factors_of,
    needs_second_factor,
    own_sessions,
    recovery_codes_left,
)

# In this order: what contains the name of another stands before it.
_BROWSERS = (
    (r"Edg(?:e|A|iOS)?/", "Edge"),
    (r"OPR/|Opera", "Opera"),
    (r"SamsungBrowser/", "Samsung Internet"),
    (r"Firefox/|FxiOS/", "Firefox"),
    (r"Chrome/|CriOS/|Chromium/", "Chrome"),
    (r"Safari/", "Safari"),
)
_SYSTEMS = (
    (r"iPad", "iPad"),
    (r"iPhone", "iPhone"),
    (r"Android", "Android"),
    (r"Windows", "Windows"),
    (r"Mac OS X|Macintosh", "macOS"),
    (r"CrOS", "ChromeOS"),
    (r"Linux|X11", "Linux"),
)


def agent_words(agent: str) -> str:
    """A browser as people call it; what it says of itself is a page long and mostly untrue."""
    browser = next((name for mark, name in _BROWSERS if re.search(mark, agent)), "")
    system = next((name for mark, name in _SYSTEMS if re.search(mark, agent)), "")
    if browser and system:
        return gettext("{browser} on {system}").format(browser=browser, system=system)
    return browser or system or gettext("Unknown browser")


@dataclass(frozen=True)
class PasskeyLine:
    pk: int
    name: str
    added_at: datetime
    used_at: datetime | None
    # Opens the account by itself; others are a second step after the password.
    alone: bool


@dataclass(frozen=True)
class SessionLine:
    pk: int
    browser: str
    address: str
    begun_at: datetime
    seen_at: datetime
    here: bool


@dataclass(frozen=True)
class AccountLines:
    user: User
    roles: tuple[str, ...]
    has_password: bool
    factor_needed: bool
    factor_missing: bool
    app: Authenticator | None
    passkeys: tuple[PasskeyLine, ...]
    recovery_left: int | None
    sessions: tuple[SessionLine, ...]
    idle_minutes: int
    session_hours: int


def account_lines(*, user: User, session_key: str) -> AccountLines:
    """Everything the page says; ``session_key``: of the session that asks."""
    needed = needs_second_factor(user=user)
    factors = factors_of(user=user)
    return AccountLines(
        user=user,
        roles=tuple(str(words) for role, (words, _) in ROLES.items() if role in user.roles),
        has_password=user.has_usable_password(),
        factor_needed=needed,
        factor_missing=needed and not factors.any,
        app=factors.app,
        passkeys=tuple(_passkey(row) for row in factors.passkeys),
        recovery_left=recovery_codes_left(factors),
        sessions=tuple(
            SessionLine(
                pk=row.pk,
                browser=agent_words(row.user_agent),
                address="" if row.ip == "::" else row.ip,
                begun_at=row.created_at,
                seen_at=row.last_seen_at,
                here=row.session_key == session_key,
            )
            for row in own_sessions(user=user)
        ),
        idle_minutes=settings.BCWEB_ACCOUNTS.idle_minutes,
        session_hours=settings.BCWEB_SESSION_HOURS,
    )


def _passkey(row: Authenticator) -> PasskeyLine:
    wrapped = row.wrap()
    return PasskeyLine(
        pk=row.pk,
        name=wrapped.name,
        added_at=row.created_at,
        used_at=row.last_used_at,
        alone=wrapped.is_passwordless is True,
    )
