"""Demo users, so that a fresh service can be tried: made, renewed and taken away as a whole."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path
from typing import Any

from django.db import transaction

from cases.access import SYSTEM, Role, Scope
from cases.models import Site, User
from cases.services.people import (
    token_create,
    user_create,
    user_deactivate,
    user_reactivate,
)

PEOPLE: dict[str, Role] = {
    "radiologist": Role.RADIOLOGIST,
    "sonographer": Role.SONOGRAPHER,
    "admin": Role.ADMIN,
    "approver": Role.APPROVER,
    "auditor": Role.AUDITOR,
}
INTEGRATION = "integration"
TOKEN_DAYS = 365


def demo_sync(*, path: Path, url: str, wanted: bool, site: Site) -> dict[str, Any] | None:
    """Bring demo users and ``path`` (demo.json, mode 0600) in line; the logins, or None.

    Wanted: the users exist and the file holds their logins; a file that was deleted gives new
    passwords. Not wanted: users whose file was deleted are closed; as long as the file is there
    they stay.
    """
    known = _read(path)
    if not wanted:
        if known is None:
            _close_all()
        return known
    if known is not None and _complete(known):
        if known["url"] != url:
            _write(path, {**known, "url": url})
        return {**known, "url": url}
    logins = _create_all(site, url)
    _write(path, logins)
    return logins


def _read(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _complete(known: dict[str, Any]) -> bool:
    """Whether the file speaks of users that are there (the database may be a new one)."""
    if not all(name in known for name in (*PEOPLE, INTEGRATION, "url")):
        return False
    # One that was closed since stays closed: only deleting the file renews them.
    return User.objects.filter(is_demo=True).count() == len(PEOPLE) + 1


@transaction.atomic
def _close_all() -> None:
    for user in User.objects.filter(is_demo=True, is_active=True):
        user_deactivate(actor=SYSTEM, user=user)


@transaction.atomic
def _create_all(site: Site, url: str) -> dict[str, Any]:
    _close_all()
    logins: dict[str, Any] = {"url": url}
    for name, role in PEOPLE.items():
        password = secrets.token_urlsafe(12)
        username = _user(site, name, role, password).get_username()
        logins[name] = {"username": username, "password": password}
    owner = _user(site, INTEGRATION, Role.INTEGRATION, None)
    _, secret = token_create(
        actor=SYSTEM,
        user=owner,
        name="demo integration",
        scopes=[Scope.SUBMIT, Scope.READ],
        days=TOKEN_DAYS,
    )
    logins[INTEGRATION] = {"token": secret}
    return logins


def _user(site: Site, name: str, role: Role, password: str | None) -> User:
    """The demo user of this name, revived with a new password where it was closed before.

    Where a real user has the name, the demo user is called `demo-NAME`.
    """
    names = (name, f"demo-{name}")
    known = User.objects.filter(username__in=names, is_demo=True).first()
    if known is not None:
        user_reactivate(actor=SYSTEM, user=known, password=password)
        return known
    taken = User.objects.filter(username=name).exists()
    return user_create(
        actor=SYSTEM,
        username=names[1] if taken else name,
        site=site,
        roles=[role],
        password=password,
        is_demo=True,
    )


def _write(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.touch(mode=0o600)
    draft.chmod(0o600)
    draft.write_text(json.dumps(content, indent=2) + "\n")
    draft.replace(path)
