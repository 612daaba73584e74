"""What administrators change about accounts and sites, and what nobody may."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from uuid import uuid4

import pytest
from django.contrib.auth import authenticate
from django.test import Client, override_settings
from django.utils import timezone

from cases.access import Actor, ActorKind, Role, Scope
from cases.errors import FieldInvalid, NotFound, PermissionDenied, StateConflict
from cases.models import ApiToken, AuditEvent, Patient, Site, User
from cases.services.people import (
    actor_for_token,
    actor_for_user,
    token_authenticate,
    token_create,
    token_revoke,
)
from cases.services.sign_in_links import LinkEnded, password_choose, sign_in_key
from cases.services.staff import (
    account_close,
    account_open,
    password_reset,
    roles_change,
    site_change,
    site_open,
    user_invite,
    user_move,
)
from tests.factories import PASSWORD, at_once, make_actor, make_site, make_token, make_user, submit

pytestmark = pytest.mark.django_db

NEW = "another battery of horse staples"


@pytest.fixture
def site() -> Site:
    return make_site()


@pytest.fixture
def admin(site: Site) -> Actor:
    return make_actor(roles=["admin"], site=site)


def told(user: User) -> list[str]:
    events = AuditEvent.objects.filter(object_id=str(user.pk)).order_by("id")
    events = events.exclude(action="user.sign_in_failed")
    return list(events.values_list("action", flat=True))


# Inviting, and the link.


def test_an_invited_user_chooses_their_own_password_once(admin: Actor) -> None:
    user, key = user_invite(actor=admin, username="rita", roles=[Role.RADIOLOGIST], signs_in=True)
    assert authenticate(username="rita", password="") is None
    with pytest.raises(FieldInvalid) as refused:
        password_choose(user_id=user.pk, key=key, password="short", again="other")
    assert set(refused.value.errors or {}) == {"password", "again"}
    password_choose(user_id=user.pk, key=key, password=NEW, again=NEW)
    assert authenticate(username="rita", password=NEW) is not None
    with pytest.raises(LinkEnded):
        password_choose(user_id=user.pk, key=key, password=PASSWORD, again=PASSWORD)
    assert told(user) == [
        "user.created",
        "role.granted",
        "user.link_made",
        "user.password_chosen",
    ]
    assert key not in str(list(AuditEvent.objects.values_list("detail", flat=True)))


def test_a_link_ends_by_time_by_another_one_and_with_the_account(admin: Actor) -> None:
    user, first = user_invite(actor=admin, username="r", roles=[Role.RADIOLOGIST], signs_in=True)
    _, second = password_reset(actor=admin, user_id=user.pk)
    with pytest.raises(LinkEnded):
        password_choose(user_id=user.pk, key=first, password=NEW, again=NEW)
    with override_settings(PASSWORD_RESET_TIMEOUT=-1), pytest.raises(LinkEnded):
        password_choose(user_id=user.pk, key=second, password=NEW, again=NEW)
    account_close(actor=admin, user_id=user.pk)
    with pytest.raises(LinkEnded):
        password_choose(user_id=user.pk, key=second, password=NEW, again=NEW)


@pytest.mark.parametrize("key", ["", "x", "a-b", "c0ffee-" + "0" * 32])
def test_a_made_up_link_opens_nothing(key: str) -> None:
    user = make_user(roles=["radiologist"])
    for user_id in (user.pk, uuid4()):
        with pytest.raises(LinkEnded):
            password_choose(user_id=user_id, key=key, password=NEW, again=NEW)
    other = make_user(roles=["admin"])
    with pytest.raises(LinkEnded):
        password_choose(user_id=user.pk, key=sign_in_key(other), password=NEW, again=NEW)


@pytest.mark.django_db(transaction=True)
def test_of_two_who_use_one_link_at_once_the_first_counts() -> None:
    user = make_user(roles=["radiologist"])
    key = sign_in_key(user)
    found = at_once(2, lambda: password_choose(user_id=user.pk, key=key, password=NEW, again=NEW))
    assert sorted(type(one).__name__ for one in found) == ["LinkEnded", "User"]


def test_an_invitation_needs_a_name_a_role_and_a_free_name(admin: Actor) -> None:
    make_user(roles=[], username="taken")
    wrong = [("", "username"), ("taken", "username"), ("two words", "username"), ("x", "roles")]
    for name, field in wrong:
        roles = [] if name == "x" else [Role.ADMIN]
        with pytest.raises(FieldInvalid) as refused:
            user_invite(actor=admin, username=name, roles=roles, signs_in=True)
        assert field in (refused.value.errors or {})
    assert not User.objects.filter(username="x").exists()


@pytest.mark.parametrize("role", ["sonographer", "radiologist", "approver", "auditor"])
def test_who_manages_no_users_changes_nothing_of_them(role: str, site: Site) -> None:
    actor, other = make_actor(roles=[role], site=site), make_user(roles=[], site=site)
    acts = (
        lambda: user_invite(actor=actor, username="n", roles=[Role.ADMIN], signs_in=True),
        lambda: roles_change(actor=actor, user_id=other.pk, roles=[Role.ADMIN]),
        lambda: password_reset(actor=actor, user_id=other.pk),
        lambda: account_close(actor=actor, user_id=other.pk),
        lambda: user_move(actor=actor, user_id=other.pk, site_id=make_site().pk),
        lambda: site_change(actor=actor, site_id=site.pk, name="x", patient_issuer="x", reason="x"),
        lambda: site_open(actor=actor, code="z", name="z", patient_issuer="", administrator="z"),
    )
    for act in acts:
        with pytest.raises(PermissionDenied):
            act()


def test_no_token_and_no_command_manages_accounts(site: Site) -> None:
    other = make_user(roles=[], site=site)
    token, _ = make_token(user=make_user(roles=["admin"], site=site), scopes=["admin"])
    for actor in (actor_for_token(token), Actor(kind=ActorKind.COMMAND, label="manage.py x")):
        with pytest.raises(PermissionDenied):
            roles_change(actor=actor, user_id=other.pk, roles=[Role.ADMIN])


# Roles.


def test_roles_are_given_and_taken_and_each_is_audited(admin: Actor, site: Site) -> None:
    user = make_user(roles=["radiologist", "auditor"], site=site)
    roles_change(actor=admin, user_id=user.pk, roles=[Role.AUDITOR, Role.ADMIN])
    assert User.objects.get(pk=user.pk).roles == {Role.AUDITOR, Role.ADMIN}
    assert user.role_rows.get(role="admin").granted_by_id == admin.user_id
    assert told(user)[-2:] == ["role.granted", "role.revoked"]
    before = told(user)
    roles_change(actor=admin, user_id=user.pk, roles=[Role.AUDITOR, Role.ADMIN])
    assert told(user) == before


def test_nobody_changes_their_own_account(admin: Actor, site: Site) -> None:
    make_user(roles=["admin"], site=site)
    assert admin.user_id is not None
    acts = (
        lambda: roles_change(actor=admin, user_id=admin.user_id, roles=[Role.APPROVER]),
        lambda: account_close(actor=admin, user_id=admin.user_id),
        lambda: password_reset(actor=admin, user_id=admin.user_id),
        lambda: user_move(actor=admin, user_id=admin.user_id, site_id=make_site().pk),
    )
    for act in acts:
        with pytest.raises(PermissionDenied):
            act()
    assert User.objects.get(pk=admin.user_id).roles == {Role.ADMIN}


def test_another_sites_account_is_not_there(admin: Actor) -> None:
    stranger = make_user(roles=["radiologist"])
    acts = (
        lambda: roles_change(actor=admin, user_id=stranger.pk, roles=[Role.ADMIN]),
        lambda: account_close(actor=admin, user_id=stranger.pk),
        lambda: account_open(actor=admin, user_id=stranger.pk, signs_in=True),
        lambda: password_reset(actor=admin, user_id=stranger.pk),
        lambda: user_move(actor=admin, user_id=stranger.pk, site_id=admin.own_site),
    )
    for act in acts:
        with pytest.raises(NotFound):
            act()


# Closing, opening, moving.


def test_a_closed_account_has_no_session_token_or_password(admin: Actor, site: Site) -> None:
    user = make_user(roles=["radiologist"], site=site)
    _, secret = make_token(user=user, scopes=["read"])
    client = Client()
    client.force_login(user)
    assert client.get("/cases/").status_code == 200
    account_close(actor=admin, user_id=user.pk)
    account_close(actor=admin, user_id=user.pk)
    assert client.get("/cases/").status_code == 302
    assert token_authenticate(secret) is None
    assert authenticate(username=user.username, password=PASSWORD) is None
    assert told(user).count("user.deactivated") == 1
    with pytest.raises(StateConflict):
        password_reset(actor=admin, user_id=user.pk)


def test_an_account_is_opened_again_with_a_link_and_without_its_tokens(
    admin: Actor, site: Site
) -> None:
    user = make_user(roles=["radiologist"], site=site)
    _, secret = make_token(user=user, scopes=["read"])
    with pytest.raises(StateConflict):
        account_open(actor=admin, user_id=user.pk, signs_in=True)
    account_close(actor=admin, user_id=user.pk)
    _, key = account_open(actor=admin, user_id=user.pk, signs_in=True)
    password_choose(user_id=user.pk, key=key, password=NEW, again=NEW)
    assert authenticate(username=user.username, password=NEW) is not None
    assert token_authenticate(secret) is None


def test_a_reset_ends_password_and_sessions(admin: Actor, site: Site) -> None:
    user = make_user(roles=["radiologist"], site=site)
    client = Client()
    client.force_login(user)
    password_reset(actor=admin, user_id=user.pk)
    assert client.get("/cases/").status_code == 302
    assert authenticate(username=user.username, password=PASSWORD) is None


def test_who_moves_leaves_roles_and_tokens_behind(admin: Actor, site: Site) -> None:
    user, there = make_user(roles=["radiologist"], site=site), make_site()
    case = submit(actor=make_actor(site=there)).case
    _, secret = make_token(user=user, scopes=["read"])
    client = Client()
    client.force_login(user)
    user_move(actor=admin, user_id=user.pk, site_id=there.pk)
    moved = User.objects.get(pk=user.pk)
    assert (moved.site, moved.roles) == (there, frozenset())
    assert token_authenticate(secret) is None
    # An administrator of one site lets nobody see the patients of another.
    assert client.get(f"/cases/{case.pk}/").status_code == 403
    with pytest.raises(NotFound):
        roles_change(actor=admin, user_id=user.pk, roles=[Role.RADIOLOGIST])
    assert AuditEvent.objects.get(action="user.moved").site_id == site.pk
    assert AuditEvent.objects.get(action="user.arrived").site_id == there.pk


@pytest.mark.parametrize("where", ["same", "nowhere"])
def test_a_move_needs_another_site(where: str, admin: Actor, site: Site) -> None:
    user = make_user(roles=["radiologist"], site=site)
    with pytest.raises(FieldInvalid):
        user_move(actor=admin, user_id=user.pk, site_id=site.pk if where == "same" else uuid4())


@pytest.mark.django_db(transaction=True)
def test_two_administrators_who_remove_each_other_leave_one() -> None:
    elsewhere = make_site()
    removals: dict[str, Callable[[Actor, User], object]] = {
        "close": lambda actor, user: account_close(actor=actor, user_id=user.pk),
        "role": lambda actor, user: roles_change(
            actor=actor, user_id=user.pk, roles=[Role.AUDITOR]
        ),
        "move": lambda actor, user: user_move(actor=actor, user_id=user.pk, site_id=elsewhere.pk),
    }
    for how, remove in removals.items():
        site = make_site()
        users = [make_user(roles=["admin"], site=site) for _ in range(2)]
        pairs = [(actor_for_user(users[0]), users[1]), (actor_for_user(users[1]), users[0])]
        found = at_once(2, lambda: remove(*pairs.pop()))  # noqa: B023
        assert sum(isinstance(one, StateConflict) for one in found) == 1, (how, found)
        left = User.objects.filter(site=site, is_active=True, role_rows__role="admin")
        assert left.count() == 1, how


# Sites.


def test_a_new_site_has_an_administrator_who_alone_manages_it(admin: Actor) -> None:
    site, user, key = site_open(
        actor=admin, code="North", name="North clinic", patient_issuer="", administrator="nora"
    )
    assert (site.code, site.patient_issuer) == ("north", "NORTH")
    password_choose(user_id=user.pk, key=key, password=NEW, again=NEW)
    nora = actor_for_user(User.objects.get(pk=user.pk))
    user_invite(actor=nora, username="ned", roles=[Role.RADIOLOGIST], signs_in=True)
    with pytest.raises(NotFound):
        roles_change(actor=admin, user_id=user.pk, roles=[Role.RADIOLOGIST])
    with pytest.raises(NotFound):
        site_change(actor=admin, site_id=site.pk, name="Mine", patient_issuer="X", reason="x")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"code": "no spaces"}, "code"),
        ({"code": "taken"}, "code"),
        ({"name": " "}, "name"),
        ({"patient_issuer": "a\\b"}, "patient_issuer"),
        ({"patient_issuer": "x" * 65}, "patient_issuer"),
        ({"administrator": ""}, "administrator"),
        ({"administrator": "held"}, "administrator"),
    ],
)
def test_a_senseless_site_is_refused_whole(
    change: dict[str, str], field: str, admin: Actor
) -> None:
    make_site("taken")
    make_user(roles=[], username="held")
    before = Site.objects.count()
    wanted = {"code": "s", "name": "S", "patient_issuer": "", "administrator": "sue", **change}
    with pytest.raises(FieldInvalid) as refused:
        site_open(actor=admin, **wanted)
    assert field in (refused.value.errors or {})
    assert Site.objects.count() == before
    assert not User.objects.filter(username="sue").exists()


def test_another_issuer_is_for_later_submissions_and_needs_a_reason(
    admin: Actor, site: Site
) -> None:
    sender = make_actor(roles=["sonographer"], site=site)
    first = submit(actor=sender, patient_id="P1").case.patient
    told_ = {"actor": admin, "site_id": site.pk, "name": "Renamed", "patient_issuer": "HIS2"}
    with pytest.raises(FieldInvalid):
        site_change(**told_, reason=" ")
    site_change(**told_, reason="A new hospital information system.")
    again = submit(actor=sender, patient_id="P1").case.patient
    assert again.pk != first.pk
    assert Patient.objects.get(pk=first.pk).issuer != again.issuer == "HIS2"
    event = AuditEvent.objects.get(action="site.changed")
    assert sorted(event.changed_fields) == ["name", "patient_issuer"]
    # A name alone needs none; nothing new is no change.
    site_change(**{**told_, "name": "Renamed again"}, reason="")
    site_change(**{**told_, "name": "Renamed again"}, reason="")
    assert AuditEvent.objects.filter(action="site.changed").count() == 2


# Tokens.


def test_people_make_and_revoke_their_own_tokens(site: Site) -> None:
    user = make_user(roles=["radiologist"], site=site)
    me = actor_for_user(user)
    token, secret = token_create(actor=me, user=user, name="x", scopes=[Scope.READ], days=1)
    assert token_authenticate(secret) is not None
    token_revoke(actor=me, token_id=token.pk)
    assert token_authenticate(secret) is None


def test_nobody_makes_a_token_in_another_persons_name(admin: Actor, site: Site) -> None:
    wanted = {"name": "x", "scopes": [Scope.READ], "days": 1}
    for roles in (["radiologist"], ["integration", "radiologist"], ["admin"]):
        with pytest.raises(PermissionDenied):
            token_create(actor=admin, user=make_user(roles=roles, site=site), **wanted)
    with pytest.raises(PermissionDenied):
        token_create(actor=admin, user=make_user(roles=["integration"]), **wanted)
    system = make_user(roles=["integration"], site=site)
    with pytest.raises(PermissionDenied):
        token_create(actor=make_actor(site=site), user=system, **wanted)
    assert not ApiToken.objects.exists()
    token_create(actor=admin, user=system, **wanted)


def test_no_token_makes_tokens_and_a_closed_account_gets_none(admin: Actor, site: Site) -> None:
    wanted = {"name": "x", "scopes": [Scope.READ], "days": 1}
    owner = make_user(roles=["admin"], site=site)
    token, _ = make_token(user=owner, scopes=["admin", "read"])
    with pytest.raises(PermissionDenied):
        token_create(actor=actor_for_token(token), user=owner, **wanted)
    system = make_user(roles=["integration"], site=site)
    account_close(actor=admin, user_id=system.pk)
    with pytest.raises(StateConflict):
        token_create(actor=admin, user=User.objects.get(pk=system.pk), **wanted)


def test_a_scope_that_waits_for_more_roles_is_refused(site: Site) -> None:
    user = make_user(roles=["radiologist"], site=site)
    with pytest.raises(FieldInvalid):
        token_create(actor=actor_for_user(user), user=user, name="x", scopes=[Scope.ADMIN], days=1)


def test_somebody_elses_token_is_revoked_by_an_administrator_only(admin: Actor, site: Site) -> None:
    token, secret = make_token(user=make_user(roles=["radiologist"], site=site), scopes=["read"])
    with pytest.raises(PermissionDenied):
        token_revoke(actor=make_actor(site=site), token_id=token.pk)
    assert token_authenticate(secret) is not None
    token_revoke(actor=admin, token_id=token.pk)
    assert token_authenticate(secret) is None
    assert timezone.now() - ApiToken.objects.get(pk=token.pk).created_at < timedelta(hours=1)
