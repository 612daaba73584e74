"""Reading sites and users, for commands."""

from __future__ import annotations

from cases.errors import NotFound
from cases.models import Site, User


def user_by_name(*, username: str) -> User:
    user = User.objects.filter(username=username).first()
    if user is None:
        raise NotFound(f"There is no user named {username}.")
    return user


def site_by_code(*, code: str) -> Site:
    site = Site.objects.filter(code=code).first()
    if site is None:
        raise NotFound(f"There is no site with the code {code}.")
    return site
