"""Users, roles, tokens and demo logins."""

from __future__ import annotations

import json
import stat
from datetime import timedelta
from pathlib import Path

import pytest
from django.contrib.auth import authenticate
from django.db import IntegrityError, transaction
from django.utils import timezone

from cases.access import (
    ROLE_CAPABILITIES,
    SYSTEM,
    Capability,
    Role,
    Scope,
    capabilities_of,
)
from cases.errors import FieldInvalid, PermissionDenied, StateConflict
from cases.models import ApiToken, User, UserRole
from cases.services.demo import demo_sync
from cases.services.people import (
    actor_for_token,
    actor_for_user,
    role_grant,
    token_authenticate,
    token_create,
    token_revoke,
    user_create,
    user_deactivate,
)
from tests.factories import PASSWORD, make_actor, make_site, make_token, make_user

pytestmark = pytest.mark.django_db


def test_nobody_grants_themselves_a_role() -> None:
    admin = make_user(roles=["admin"])
    with pytest.raises(PermissionDenied):
        role_grant(actor=actor_for_user(admin), user=admin, role=Role.APPROVER)
    with pytest.raises(IntegrityError), transaction.atomic():
        UserRole.objects.create(user=admin, role="approver", granted_by=admin)
    assert admin.role_rows.count() == 1


def test_an_admin_grants_a_colleague_a_role_and_a_radiologist_does_not() -> None:
    site = make_site()
    admin, other = make_user(roles=["admin"], site=site), make_user(roles=[], site=site)
    role_grant(actor=actor_for_user(admin), user=other, role=Role.RADIOLOGIST)
    assert User.objects.get(pk=other.pk).roles == {Role.RADIOLOGIST}
    with pytest.raises(PermissionDenied):
        role_grant(actor=make_actor(roles=["radiologist"], site=site), user=other, role=Role.ADMIN)


def test_an_admin_reaches_only_their_own_site() -> None:
    admin, stranger = make_actor(roles=["admin"]), make_user(roles=["integration"])
    token, secret = make_token(user=stranger)
    with pytest.raises(PermissionDenied):
        role_grant(actor=admin, user=stranger, role=Role.ADMIN)
    with pytest.raises(PermissionDenied):
        user_deactivate(actor=admin, user=stranger)
    with pytest.raises(PermissionDenied):
        token_revoke(actor=admin, token_id=token.pk)
    assert token_authenticate(secret) is not None


def test_a_weak_password_and_a_taken_name_are_refused() -> None:
    site = make_site()
    with pytest.raises(FieldInvalid):
        user_create(actor=SYSTEM, username="a", site=site, roles=[], password="short")
    make_user(roles=[], site=site, username="taken")
    with pytest.raises(StateConflict):
        user_create(actor=SYSTEM, username="taken", site=site, roles=[], password=PASSWORD)


def test_a_token_is_stored_hashed_and_authenticates() -> None:
    token, secret = make_token()
    row = ApiToken.objects.get(pk=token.pk)
    assert secret not in str(vars(row))
    found = token_authenticate(secret)
    assert found is not None
    assert found.pk == token.pk
    assert token_authenticate(secret + "x") is None


@pytest.mark.parametrize("end", ["expired", "revoked", "closed"])
def test_a_token_ends(end: str) -> None:
    token, secret = make_token()
    if end == "expired":
        ApiToken.objects.filter(pk=token.pk).update(expires_at=timezone.now() - timedelta(1))
    elif end == "revoked":
        token_revoke(actor=SYSTEM, token_id=token.pk)
    else:
        user_deactivate(actor=SYSTEM, user=token.user)
    assert token_authenticate(secret) is None


def test_a_token_never_has_more_than_roles_and_scopes_both_allow() -> None:
    token, _ = make_token(roles=["radiologist"], scopes=["submit", "admin"])
    actor = actor_for_token(token)
    assert actor.can(Capability.SUBMIT)
    assert not actor.can(Capability.VIEW_CASES)  # the role allows it, the scope does not
    assert not actor.can(Capability.MANAGE_USERS)  # the scope allows it, the role does not


def test_promotion_is_in_no_scope() -> None:
    everything = capabilities_of(frozenset(Role), frozenset(Scope))
    assert Capability.PROMOTE not in everything
    assert Capability.PROMOTE in capabilities_of(frozenset({Role.APPROVER}))


def test_an_auditor_sees_nothing_but_the_trail() -> None:
    assert ROLE_CAPABILITIES[Role.AUDITOR] == {Capability.VIEW_AUDIT}


@pytest.mark.parametrize("change", [{"scopes": []}, {"name": " "}, {"days": 0}, {"days": 4000}])
def test_a_senseless_token_is_refused(change: dict[str, object]) -> None:
    wanted = {"name": "x", "scopes": [Scope.READ], "days": 30, **change}
    with pytest.raises(FieldInvalid):
        token_create(actor=SYSTEM, user=make_user(roles=["integration"]), **wanted)


def test_demo_logins_step_aside_for_a_real_user_every_time(tmp_path: Path) -> None:
    path, site = tmp_path / "demo.json", make_site()
    real = make_user(roles=["admin"], site=site, username="admin")
    for _ in range(2):
        logins = demo_sync(path=path, url="http://a", wanted=True, site=site)
        assert logins is not None
        assert logins["admin"]["username"] == "demo-admin"
        path.unlink()
    assert authenticate(username=real.username, password=PASSWORD) is not None


def test_a_demo_account_that_was_closed_stays_closed(tmp_path: Path) -> None:
    path, site = tmp_path / "demo.json", make_site()
    logins = demo_sync(path=path, url="http://a", wanted=True, site=site)
    assert logins is not None
    user_deactivate(actor=SYSTEM, user=User.objects.get(username="approver"))
    demo_sync(path=path, url="http://a", wanted=True, site=site)
    assert authenticate(**logins["approver"]) is None
    assert authenticate(**logins["radiologist"]) is not None


def test_demo_logins_come_stay_and_go(tmp_path: Path) -> None:
    path, site = tmp_path / "demo.json", make_site()
    logins = demo_sync(path=path, url="http://a", wanted=True, site=site)
    assert logins is not None
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert json.loads(path.read_text()) == logins
    radiologist = logins["radiologist"]
    assert authenticate(**radiologist) is not None
    assert token_authenticate(logins["integration"]["token"]) is not None
    # The next start keeps them, and notes the new address.
    kept = demo_sync(path=path, url="http://b", wanted=True, site=site)
    assert kept == {**logins, "url": "http://b"}
    # Unwanted, they stay as long as the file is there ...
    demo_sync(path=path, url="http://b", wanted=False, site=site)
    assert authenticate(**radiologist) is not None
    # ... and are gone when it is deleted.
    path.unlink()
    assert demo_sync(path=path, url="http://b", wanted=False, site=site) is None
    assert authenticate(**radiologist) is None
    assert token_authenticate(logins["integration"]["token"]) is None
    # Wanted again, they come back with new secrets.
    back = demo_sync(path=path, url="http://b", wanted=True, site=site)
    assert back is not None
    assert back["radiologist"]["password"] != radiologist["password"]
    assert authenticate(**back["radiologist"]) is not None
