"""Second factors: an authenticator app on and off, recovery codes, and roles that need one."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

import pytest
from allauth.mfa.models import Authenticator
from django.test import Client
from django.urls import reverse

from cases.access import SYSTEM
from cases.errors import PermissionDenied
from cases.models import AuditEvent, User
from cases.services.accounts import second_factor_code_use, second_factor_reset
from cases.services.people import actor_for_user
from tests.factories import PASSWORD, make_user
from tests.portal.codes import app_code
from tests.portal.conftest import SignIn
from tests.portal.markup import read
from tests.portal.signing_in import is_signed_in, make_app, password_step, signed_in

pytestmark = pytest.mark.django_db


def actions(user: User) -> set[str]:
    return set(AuditEvent.objects.filter(user_id=user.pk).values_list("action", flat=True))


def add_app(client: Client, commit: Any) -> tuple[str, list[str]]:
    """Add an app as people do: the secret, and the recovery codes that come with it."""
    page = client.get(reverse("mfa_activate_totp"))
    secret = page.context["secret"].replace(" ", "")
    shown = app_code(secret)
    with commit(execute=True):
        # As people type it.
        typed = f"{shown[:3]} {shown[3:]}"
        response = client.post(reverse("mfa_activate_totp"), {"code": typed}, follow=True)
    assert response.redirect_chain[-1][0] == reverse("mfa_view_recovery_codes")
    codes = re.findall(r"<code>(\d{8})</code>", response.content.decode())
    assert len(set(codes)) == 10
    return secret, codes


def test_an_app_is_added_asked_for_and_removed(django_capture_on_commit_callbacks: Any) -> None:
    user = make_user(roles=["radiologist"])
    client = signed_in(user)
    secret, _ = add_app(client, django_capture_on_commit_callbacks)
    stored = Authenticator.objects.get(user=user, type=Authenticator.Type.TOTP)
    assert secret not in str(stored.data)

    other = Client()
    response = password_step(user, client=other, fields={"next": reverse("model-list")})
    assert response.headers["Location"] == reverse("mfa_authenticate")
    assert not is_signed_in(other)
    assert AuditEvent.objects.filter(action="user.signed_in", user_id=user.pk).count() == 1
    code = {"code": app_code(secret, later=1)}
    response = other.post(reverse("mfa_authenticate"), code)
    assert response.headers["Location"] == reverse("model-list")
    assert is_signed_in(other)
    last = AuditEvent.objects.filter(action="user.signed_in").first()
    assert last is not None and last.detail == {"with": ["password", "totp"]}

    page = read(client.get(reverse("account")).content)
    assert "An authenticator app is asked for after your password" in page.text
    response = client.post(reverse("mfa_deactivate_totp"), follow=True)
    assert "The authenticator app is removed." in response.content.decode()
    assert not Authenticator.objects.filter(user=user).exists()
    assert password_step(user).headers["Location"] == reverse("home")
    assert {"user.second_factor_added", "user.second_factor_removed"} <= actions(user)


def test_the_picture_of_the_secret_is_a_local_one(
    django_capture_on_commit_callbacks: Any,
) -> None:
    page = signed_in(make_user(roles=["radiologist"])).get(reverse("mfa_activate_totp"))
    image = read(page.content).one("img", class_="qr")
    assert image.attrs["src"].startswith("data:image/svg+xml;base64,")
    assert "no-store" in page.headers["Cache-Control"]


def test_a_wrong_first_code_adds_nothing() -> None:
    user = make_user(roles=["radiologist"])
    client = signed_in(user)
    secret = client.get(reverse("mfa_activate_totp")).context["secret"].replace(" ", "")
    wrong = "123456" if app_code(secret) != "123456" else "654321"
    page = client.post(reverse("mfa_activate_totp"), {"code": wrong})
    assert "The app is not added yet" in page.content.decode()
    assert page.context["secret"].replace(" ", "") == secret
    assert not Authenticator.objects.filter(user=user).exists()


@pytest.mark.parametrize("code", ["", "000", "not a code", "\u0661\u0662\u0663\u0664\u0665\u0666"])
def test_a_wrong_code_signs_nobody_in(code: str) -> None:
    user = make_user(roles=["radiologist"])
    make_app(user)
    client = Client()
    password_step(user, client=client)
    response = client.post(reverse("mfa_authenticate"), {"code": code})
    assert response.status_code == 200
    assert "You are not signed in yet" in response.content.decode()
    assert not is_signed_in(client)


def test_a_code_of_an_app_is_good_once_and_none_before_it_any_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Within one period of the app: in the next one it shows another code.
    moment = time.time()
    monkeypatch.setattr(time, "time", lambda: moment)
    user = make_user(roles=["radiologist"])
    secret = make_app(user)
    assert second_factor_code_use(user=user, code=app_code(secret)) is not None
    assert second_factor_code_use(user=user, code=app_code(secret)) is None
    assert second_factor_code_use(user=user, code=app_code(secret, later=-1)) is None
    assert second_factor_code_use(user=user, code=app_code(secret, later=1)) is not None
    assert second_factor_code_use(user=user, code=app_code(secret, later=9)) is None


def test_a_recovery_code_is_good_once(django_capture_on_commit_callbacks: Any) -> None:
    user = make_user(roles=["radiologist"])
    _, codes = add_app(signed_in(user), django_capture_on_commit_callbacks)
    found = []
    for _ in range(2):
        client = Client()
        password_step(user, client=client)
        client.post(reverse("mfa_authenticate"), {"code": codes[3]})
        found.append(is_signed_in(client))
    assert found == [True, False]
    assert AuditEvent.objects.filter(action="user.recovery_code_used").count() == 1


def test_new_recovery_codes_take_the_place_of_the_old(
    django_capture_on_commit_callbacks: Any,
) -> None:
    user = make_user(roles=["radiologist"])
    client = signed_in(user)
    _, old = add_app(client, django_capture_on_commit_callbacks)
    with django_capture_on_commit_callbacks(execute=True):
        client.post(reverse("mfa_generate_recovery_codes"))
    file = client.get(reverse("mfa_download_recovery_codes"))
    assert file.headers["Content-Type"].startswith("text/plain")
    new = re.findall(r"^\d{8}$", file.content.decode(), re.M)
    assert len(new) == 10 and not set(new) & set(old)
    assert second_factor_code_use(user=user, code=old[0]) is None
    assert second_factor_code_use(user=user, code=new[0]) is not None
    page = read(client.get(reverse("account")).content)
    assert "9 unused." in page.text


@pytest.mark.parametrize(
    "page",
    ["mfa_activate_totp", "mfa_add_webauthn", "mfa_view_recovery_codes", "mfa_deactivate_totp"],
)
def test_weighty_changes_ask_who_it_is_unless_they_just_said(page: str) -> None:
    user = make_user(roles=["radiologist"])
    if page in ("mfa_view_recovery_codes", "mfa_deactivate_totp"):
        make_app(user)
        Authenticator.objects.create(
            user=user, type="recovery_codes", data={"seed": "x", "used_mask": 0}
        )
    client = Client()
    client.force_login(user)  # long ago, as it were: no step of signing in is on record
    response = client.get(reverse(page))
    confirm = f"{reverse('account_reauthenticate')}?{urlencode({'next': reverse(page)})}"
    assert response.headers["Location"] == confirm
    wrong = client.post(confirm, {"password": "wrong", "next": reverse(page)})
    assert "This is not your password." in wrong.content.decode()
    right = client.post(confirm, {"password": PASSWORD, "next": reverse(page)})
    assert right.headers["Location"] == reverse(page)


def test_secrets_sealed_under_another_key_open_nothing_and_can_be_reset(settings: Any) -> None:
    user = make_user(roles=["radiologist"])
    secret = make_app(user)
    settings.SECRET_KEY = "another key of a restored service, long enough"
    assert second_factor_code_use(user=user, code=app_code(secret)) is None
    assert second_factor_reset(actor=SYSTEM, user=user) == 1
    assert password_step(user).headers["Location"] == reverse("home")


def test_an_administrator_resets_another_users_second_factor_never_the_own() -> None:
    user, admin = make_user(roles=["radiologist"]), make_user(roles=["admin"])
    for one in (user, admin):
        make_app(one)
    own = actor_for_user(admin)
    for target in (user, admin):  # of another site, and oneself
        with pytest.raises(PermissionDenied):
            second_factor_reset(actor=own, user=target)
    assert Authenticator.objects.count() == 2
    chief = make_user(roles=["admin"], site=user.site)
    client = signed_in(make_user(roles=["sonographer"], site=user.site))
    assert second_factor_reset(actor=actor_for_user(chief), user=user) == 1
    assert is_signed_in(client)
    assert AuditEvent.objects.get(action="user.second_factor_reset").detail == {"factors": 1}


def test_the_page_of_a_person_takes_their_second_factor_away(sign_in: SignIn) -> None:
    user = make_user(roles=["radiologist"])
    admin = sign_in(make_user(roles=["admin"], site=user.site))
    page, take = (reverse(name, args=[user.pk]) for name in ("user-detail", "user-factors"))
    assert not read(admin.get(page).content).all("form", action=take)
    make_app(user)
    assert password_step(user).headers["Location"] != reverse("home")
    assert read(admin.get(page).content).all("form", action=take)
    told = read(admin.post(take, follow=True).content).text
    assert "Their second factors are taken away" in told
    assert "took the second factors of a user away" in told
    assert password_step(user).headers["Location"] == reverse("home")


# Roles that need one


@pytest.fixture
def required(settings: Any) -> None:
    settings.BCWEB_ACCOUNTS = replace(
        settings.BCWEB_ACCOUNTS, second_factor_roles=("admin", "approver")
    )


@pytest.mark.usefixtures("required")
@pytest.mark.parametrize("role", ["admin", "approver"])
def test_a_role_that_needs_a_second_factor_sees_nothing_before_it_is_set_up(
    role: str, django_capture_on_commit_callbacks: Any
) -> None:
    user = make_user(roles=[role])
    client = signed_in(user)
    for closed in ("home", "model-list", "mfa_view_recovery_codes"):
        assert client.get(reverse(closed)).headers["Location"] == reverse("account")
    assert client.get("/api/v1/models/", headers={"Authorization": " "}).status_code == 403
    answer = client.get("/api/v1/models/")
    assert (answer.status_code, answer.json()["code"]) == (403, "permission_denied")
    page = read(client.get(reverse("account")).content)
    assert "Set up a second factor to go on" in page.text
    add_app(client, django_capture_on_commit_callbacks)
    assert client.get(reverse("model-list")).status_code == 200
    assert client.get("/api/v1/models/").status_code == 200


@pytest.mark.usefixtures("required")
def test_the_only_second_factor_of_such_a_role_stays() -> None:
    user = make_user(roles=["admin"])
    client = signed_in(user)
    make_app(user)
    page = client.post(reverse("mfa_deactivate_totp"))
    assert "Add another one first." in page.content.decode()
    assert Authenticator.objects.filter(user=user, type=Authenticator.Type.TOTP).exists()


@pytest.mark.usefixtures("required")
def test_other_roles_need_none_and_may_sign_out_at_any_time() -> None:
    assert signed_in(make_user(roles=["radiologist"])).get("/cases/").status_code == 200
    client = signed_in(make_user(roles=["admin"]))
    assert client.post(reverse("sign-out")).headers["Location"] == reverse("sign-in")
