"""The commands of operators: what they print, what they return, what they leave."""

from __future__ import annotations

import io

import pytest
from django.contrib.auth import authenticate
from django.core.management import CommandError, call_command

from cases.access import Role
from cases.models import ApiToken, AuditEvent, User
from cases.services.people import token_authenticate
from tests.factories import PASSWORD, make_site, make_token, make_user

pytestmark = pytest.mark.django_db


def run(name: str, *args: str, typed: str = "", monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    out = io.StringIO()
    call_command(name, *args, stdout=out)
    return out.getvalue().strip()


def test_a_site_a_user_and_a_token_from_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    run("create_site", "north", "North Hospital", monkeypatch=monkeypatch)
    who = ["create_user", "rita", "--site", "north", "--roles", "radiologist,sonographer"]
    run(*who, typed=PASSWORD + "\n", monkeypatch=monkeypatch)
    assert authenticate(username="rita", password=PASSWORD) is not None
    assert User.objects.get(username="rita").roles == {Role.RADIOLOGIST, Role.SONOGRAPHER}
    secret = run("create_token", "rita", "--scopes", "read", monkeypatch=monkeypatch)
    token = token_authenticate(secret)
    assert token is not None
    assert token.scopes == ["read"]


def test_a_token_is_revoked_by_its_first_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    _, secret = make_token()
    out = run("revoke_token", secret[:10], monkeypatch=monkeypatch)
    assert secret not in out
    assert token_authenticate(secret) is None


def test_an_account_is_closed_with_its_tokens_and_opened_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    user = make_user(roles=["radiologist"])
    _, secret = make_token(user=user)
    run("change_user", user.username, "--close", monkeypatch=monkeypatch)
    assert authenticate(username=user.username, password=PASSWORD) is None
    assert token_authenticate(secret) is None
    opened = ["change_user", user.username, "--open"]
    run(*opened, typed="another good passphrase\n", monkeypatch=monkeypatch)
    assert authenticate(username=user.username, password="another good passphrase") is not None
    assert token_authenticate(secret) is None  # a revoked token stays revoked
    assert AuditEvent.objects.filter(action="user.reactivated", object_id=user.pk).exists()


def test_a_role_is_granted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    user = make_user(roles=[])
    for _ in range(2):
        run("change_user", user.username, "--grant", "approver", monkeypatch=monkeypatch)
    assert AuditEvent.objects.filter(action="role.granted", object_id=user.pk).count() == 1


@pytest.mark.parametrize(
    "words",
    [
        ["create_token", "nobody"],
        ["create_token", "known", "--scopes", "everything"],
        ["create_token", "known", "--days", "0"],
        ["create_user", "new", "--site", "nowhere", "--roles", "admin"],
        ["create_user", "new", "--site", "here", "--roles", "king"],
        ["create_user", "known", "--site", "here", "--roles", "admin"],
        ["create_site", "here", "Again"],
        ["revoke_token", "bcw_nothing"],
        ["change_user", "nobody", "--close"],
    ],
)
def test_a_bad_call_is_one_sentence_and_exit_code_2(
    words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_user(roles=[], site=make_site("here"), username="known")
    before = (User.objects.count(), ApiToken.objects.count())
    with pytest.raises(CommandError) as refused:
        run(*words, typed=PASSWORD + "\n", monkeypatch=monkeypatch)
    assert refused.value.returncode == 2
    assert "\n" not in str(refused.value)
    assert (User.objects.count(), ApiToken.objects.count()) == before
