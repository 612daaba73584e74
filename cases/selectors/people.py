"""Reading sites and users, for commands."""

from __future__ import annotations

import contextlib
from uuid import UUID

from cases.errors import NotFound
from cases.models import ApiToken, Site, User


def user_by_name(*, username: str) -> User:
    user = User.objects.filter(username=username).first()
    if user is None:
        raise NotFound(f"There is no user named {username}.")
    return user


def token_by_prefix(*, prefix: str) -> ApiToken:
    """The one token whose secret begins so, or that has this id. ``NotFound`` otherwise."""
    found = ApiToken.objects.select_related("user")
    matching = list(found.filter(prefix__startswith=prefix)[:2]) if len(prefix) >= 8 else []
    with contextlib.suppress(ValueError):
        matching = matching or list(found.filter(pk=UUID(prefix)))
    if len(matching) != 1:
        raise NotFound("There is no such token, or more than one begins so; give its id.")
    return matching[0]


def site_by_code(*, code: str) -> Site:
    site = Site.objects.filter(code=code).first()
    if site is None:
        raise NotFound(f"There is no site with the code {code}.")
    return site


def site_first() -> Site:
    """The site that was there first. ``NotFound`` before the service is set up."""
    site = Site.objects.order_by("created_at", "id").first()
    if site is None:
        raise NotFound("There is no site yet: run setup_service first.")
    return site


def user_named(*, username: str) -> User | None:
    """Exactly this user name; None where there is no such user."""
    return User.objects.filter(username=username).first()
