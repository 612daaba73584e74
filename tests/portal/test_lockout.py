"""Lock-out after failed sign-ins: by user name, by address, and of second factors."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from cases.access import SYSTEM
from cases.errors import PermissionDenied, Throttled
from cases.models import AuditEvent, SignInFailure
from cases.services.lockout import attempt_begin, attempt_succeeded, lock_lift, lock_seconds
from cases.services.people import actor_for_user
from cases.vocabulary import LockKind
from tests.factories import PASSWORD, make_site, make_user
from tests.portal.codes import app_code
from tests.portal.conftest import SignIn
from tests.portal.markup import read
from tests.portal.signing_in import is_signed_in, make_app, password_step

pytestmark = pytest.mark.django_db
LOCKED = "Too many failed attempts. Wait"


def fail(name: str, times: int, **more: Any) -> None:
    for _ in range(times):
        response = password_step(name, "wrong", **more)
        assert LOCKED not in response.content.decode()


def test_after_five_failures_the_right_password_waits_too_and_others_do_not() -> None:
    user, other = make_user(roles=["radiologist"]), make_user(roles=["radiologist"])
    fail(user.username, 5)
    response = password_step(user)
    assert LOCKED in read(response.content).text
    assert password_step(other).status_code == 302
    event = AuditEvent.objects.get(action="user.locked_out")
    assert (event.object_id, event.site_id) == (str(user.pk), user.site_id)
    assert event.detail == {"by": "name", "minutes": 15}


def test_four_failures_and_a_success_begin_the_count_anew() -> None:
    user = make_user(roles=["radiologist"])
    fail(user.username, 4)
    assert password_step(user).status_code == 302
    fail(user.username, 4)
    assert password_step(user).status_code == 302
    assert not AuditEvent.objects.filter(action="user.locked_out").exists()


def test_a_lock_out_tells_nobody_which_names_exist() -> None:
    name = make_user(roles=["radiologist"]).username
    pages = []
    for tried in (name, "nobody-of-this-name"):
        fail(tried, 5)
        pages.append(read(password_step(tried, "wrong").content).text)
    assert pages[0] == pages[1]
    assert SignInFailure.objects.filter(key__contains="nobody").count() == 0


def test_a_lock_out_ends_by_itself_and_trying_does_not_lengthen_it() -> None:
    user = make_user(roles=["radiologist"])
    fail(user.username, 5)
    for _ in range(3):
        assert LOCKED in password_step(user).content.decode()
    assert 0 < lock_seconds(user=user) <= 15 * 60
    SignInFailure.objects.update(at=timezone.now() - timedelta(minutes=15, seconds=1))
    assert lock_seconds(user=user) == 0
    assert password_step(user).status_code == 302


def test_an_address_that_tries_many_names_waits_and_another_address_does_not(
    settings: Any,
) -> None:
    settings.BCWEB_ACCOUNTS = replace(settings.BCWEB_ACCOUNTS, lockout_address_failures=6)
    user = make_user(roles=["radiologist"])
    for number in range(6):
        fail(f"name{number}", 1, REMOTE_ADDR="203.0.113.7")
    assert LOCKED in password_step(user, REMOTE_ADDR="203.0.113.7").content.decode()
    assert password_step(user, REMOTE_ADDR="203.0.113.8").status_code == 302
    event = AuditEvent.objects.get(action="user.locked_out")
    assert event.detail == {"by": "address", "minutes": 15, "address": "203.0.113.7"}


def test_a_success_forgives_the_name_but_not_the_address(settings: Any) -> None:
    settings.BCWEB_ACCOUNTS = replace(settings.BCWEB_ACCOUNTS, lockout_address_failures=4)
    accomplice = make_user(roles=["radiologist"])
    for number in range(4):
        fail(f"victim{number}", 1)
        if number < 3:
            assert password_step(accomplice).status_code == 302
    assert LOCKED in password_step(accomplice).content.decode()


def test_an_administrator_of_the_site_lifts_a_lock_out_and_nobody_else() -> None:
    user = make_user(roles=["radiologist"])
    fail(user.username, 5)
    for stranger in (
        make_user(roles=["admin"], site=make_site()),
        make_user(roles=["radiologist"], site=user.site),
    ):
        with pytest.raises(PermissionDenied):
            lock_lift(actor=actor_for_user(stranger), user=user)
    assert LOCKED in password_step(user).content.decode()
    admin = actor_for_user(make_user(roles=["admin"], site=user.site))
    assert lock_lift(actor=admin, user=user) == 5
    assert password_step(user).status_code == 302
    assert AuditEvent.objects.get(action="user.lock_lifted").detail == {"failures": 5}


def test_the_page_of_a_person_tells_of_the_lock_and_lifts_it(sign_in: SignIn) -> None:
    user = make_user(roles=["radiologist"])
    admin = sign_in(make_user(roles=["admin"], site=user.site))
    page, lift = (reverse(name, args=[user.pk]) for name in ("user-detail", "user-unlock"))
    fail(user.username, 4)
    assert not read(admin.get(page).content).all("form", action=lift)
    fail(user.username, 1)
    shown = read(admin.get(page).content)
    assert "signing in is locked for another 15 minutes" in shown.text
    assert shown.all("form", action=lift)
    told = read(admin.post(lift, follow=True).content).text
    assert "They may try to sign in again now." in told
    assert "signing in is locked" not in told
    assert password_step(user).status_code == 302


def test_nobody_gives_themselves_more_guesses_at_their_codes() -> None:
    admin = make_user(roles=["admin"])
    fail(admin.username, 5)
    with pytest.raises(PermissionDenied, match="ask another administrator"):
        lock_lift(actor=actor_for_user(admin), user=admin)
    assert lock_seconds(user=admin) > 0


def test_the_command_lifts_a_lock_out() -> None:
    user = make_user(roles=["radiologist"])
    fail(user.username, 5)
    call_command("change_user", user.username, "--unlock")
    assert password_step(user).status_code == 302


def test_wrong_codes_of_a_second_factor_lock_it_for_the_right_one_too() -> None:
    user = make_user(roles=["radiologist"])
    secret = make_app(user)
    client = Client()
    password_step(user, client=client)
    code = reverse("mfa_authenticate")
    wrong = "000000" if app_code(secret) != "000000" else "111111"
    for _ in range(5):
        assert "This code is not right" in client.post(code, {"code": wrong}).content.decode()
    assert LOCKED in client.post(code, {"code": app_code(secret)}).content.decode()
    assert not is_signed_in(client)
    assert AuditEvent.objects.get(action="user.locked_out").detail["by"] == "factor"
    assert AuditEvent.objects.filter(action="user.second_factor_failed").count() == 5
    lock_lift(actor=SYSTEM, user=user)
    assert client.post(code, {"code": app_code(secret)}).status_code == 302


def test_guesses_of_the_present_password_count_like_sign_ins() -> None:
    user = make_user(roles=["radiologist"])
    client = Client()
    client.force_login(user)
    url = reverse("account_change_password")
    new = {"password1": "another long passphrase", "password2": "another long passphrase"}
    for _ in range(5):
        page = client.post(url, {"oldpassword": "wrong", **new}).content.decode()
        assert "This is not your present password." in page
    assert LOCKED in client.post(url, {"oldpassword": PASSWORD, **new}).content.decode()
    assert LOCKED in password_step(user).content.decode()


@pytest.mark.django_db(transaction=True)
def test_many_guesses_at_once_are_no_more_than_one_after_the_other() -> None:
    refused, begun = [], []

    def guess() -> None:
        try:
            begun.append(attempt_begin(keys={LockKind.NAME: "somebody"}))
        except Throttled as error:
            refused.append(error.retry_after)
        finally:
            connection.close()

    threads = [threading.Thread(target=guess) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(begun), len(refused)) == (5, 7)
    attempt_succeeded(attempt=begun[0])
    assert SignInFailure.objects.count() == 0
