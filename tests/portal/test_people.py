"""Pages for people, sites and tokens: by role, with what each refuses."""

from __future__ import annotations

import html
import re
import uuid
from urllib.parse import urlsplit

import pytest
from django.contrib.auth import authenticate
from django.test import Client
from django.urls import reverse

from cases.models import ApiToken, Site, User
from cases.portal.views import people
from cases.services.people import token_authenticate
from tests.factories import PASSWORD, make_site, make_token, make_user
from tests.portal.conftest import ROLES, SignIn
from tests.portal.markup import csp_faults, read, structure_faults

pytestmark = pytest.mark.django_db

NEW = "another battery of horse staples"


@pytest.fixture
def site() -> Site:
    return make_site()


@pytest.fixture
def admin(site: Site, sign_in: SignIn) -> Client:
    return sign_in(make_user(roles=["admin"], site=site, username="ada"))


def link_in(content: bytes) -> str:
    """The one-time link that a page shows."""
    found = re.search(r"https?://[^<\s]+/password/\?[^<\s]+", content.decode())
    assert found
    parts = urlsplit(html.unescape(found[0]))
    return f"{parts.path}?{parts.query}"


def users_pages(user: User) -> list[str]:
    return [reverse("user-detail", args=[user.pk])]


def acts(user: User) -> dict[str, dict[str, object]]:
    """Each thing that can be asked of an account, with what a form would send."""
    return {
        "user-roles": {"roles": ["auditor"]},
        "user-password": {},
        "user-unlock": {},
        "user-factors": {},
        "user-close": {},
        "user-open": {},
        "user-move": {"site": str(make_site().pk)},
    }


# Who may.


@pytest.mark.parametrize("name", ["user-list", "user-create", "site-list", "site-create"])
def test_pages_of_people_are_for_administrators(name: str, site: Site, sign_in: SignIn) -> None:
    found = {role: sign_in(role=role, site=site).get(reverse(name)).status_code for role in ROLES}
    assert found == {role: 200 if role == "admin" else 403 for role in ROLES}


def test_nobody_else_acts_on_an_account(site: Site, sign_in: SignIn) -> None:
    user = make_user(roles=["radiologist"], site=site)
    for role in set(ROLES) - {"admin"}:
        client = sign_in(role=role, site=site)
        for name, sent in acts(user).items():
            assert client.post(reverse(name, args=[user.pk]), sent).status_code == 403
        assert client.post(reverse("user-create"), {"username": "x"}).status_code == 403
    found = User.objects.get(pk=user.pk)
    assert (found.is_active, found.roles, found.site) == (True, {"radiologist"}, site)


def test_another_sites_account_looks_like_none(admin: Client) -> None:
    user = make_user(roles=["radiologist"])
    for pk in (user.pk, uuid.uuid4()):
        assert admin.get(reverse("user-detail", args=[pk])).status_code == 404
        for name, sent in acts(user).items():
            assert admin.post(reverse(name, args=[pk]), sent).status_code == 404
    assert user.username not in admin.get(reverse("user-list")).content.decode()


def test_the_anonymous_are_led_to_sign_in(site: Site) -> None:
    for name in ("user-list", "site-list", "token-list"):
        assert Client().get(reverse(name)).status_code == 302


@pytest.mark.parametrize(
    "name", ["user-list", "user-create", "site-list", "site-create", "token-list"]
)
def test_the_pages_hold_to_the_policy_and_have_their_landmarks(name: str, admin: Client) -> None:
    page = read(admin.get(reverse(name)).content)
    assert csp_faults(page) == []
    assert structure_faults(page) == []


# Somebody new.


def test_somebody_is_added_and_chooses_a_password_by_the_link(admin: Client) -> None:
    sent = {"username": "rita", "roles": ["radiologist"], "signs_in": "link"}
    made = admin.post(reverse("user-create"), sent)
    assert made.status_code == 200
    assert made.headers["Cache-Control"] == "no-store, private"
    link = link_in(made.content)

    browser = Client()
    shown = browser.get(link)
    assert structure_faults(read(shown.content)) == []
    assert shown.headers["Referrer-Policy"] == "strict-origin"
    assert read(shown.content).one("input", id="username").attrs["value"] == "rita"
    weak = browser.post(link, {"password": "short", "again": "shorter"})
    assert weak.status_code == 422
    page = read(weak.content)
    assert "too short" in page.text and "differ" in page.text
    assert structure_faults(page) == []
    assert "short" not in str([tag.attrs.get("value") for tag in page.all("input")])
    done = browser.post(link, {"password": NEW, "again": NEW})
    assert "Your password is set" in read(done.content).text
    user = authenticate(username="rita", password=NEW)
    assert user is not None
    # Once.
    for call in (browser.get, browser.post):
        assert call(link).status_code == 409
    assert "rita" in read(admin.get(reverse("user-list")).content).text


@pytest.mark.parametrize(
    "query", ["", "?user=x&key=y", "?user=aceb4132-da06-4e03-b6b2-a33754b2082d&key=a-b"]
)
def test_a_made_up_link_says_whom_to_ask(query: str, db: None) -> None:
    response = Client().get(reverse("password-choose") + query)
    assert response.status_code == 409
    assert "Ask an administrator" in read(response.content).text


def test_a_refused_form_keeps_what_was_typed(admin: Client) -> None:
    sent = {"username": "two words", "roles": ["auditor"], "signs_in": "token"}
    response = admin.post(reverse("user-create"), sent)
    assert response.status_code == 422
    page = read(response.content)
    assert page.values()["username"] == "two words"
    assert page.values()["roles"] == "auditor"
    assert page.values()["signs_in"] == "token"
    assert structure_faults(page) == []
    response = admin.post(reverse("user-create"), {"username": "x", "roles": ["no-such"]})
    assert "Choose at least one role." in read(response.content).text
    assert not User.objects.filter(username__in=["two words", "x"]).exists()


def test_a_system_gets_no_link_and_is_led_to_its_token(admin: Client) -> None:
    sent = {"username": "pacs", "roles": ["integration"], "signs_in": "token"}
    response = admin.post(reverse("user-create"), sent)
    system = User.objects.get(username="pacs")
    assert response.headers["Location"] == f"{reverse('token-list')}?owner={system.pk}"
    page = read(admin.get(response.headers["Location"]).content)
    assert page.values()["owner"] == str(system.pk)
    page = read(admin.get(reverse("user-detail", args=[system.pk])).content)
    assert "Make a new link to a password" not in page.text
    assert "(System)" in page.text
    assert structure_faults(page) == []


# What is changed.


def test_roles_are_changed_and_told(admin: Client, site: Site) -> None:
    user = make_user(roles=["radiologist"], site=site)
    url = reverse("user-roles", args=[user.pk])
    response = admin.post(url, {"roles": ["radiologist", "auditor"]}, follow=True)
    page = read(response.content)
    assert "given by ada" in page.text
    assert "gave a role (Auditor)" in page.text
    assert User.objects.get(pk=user.pk).roles == {"radiologist", "auditor"}


def test_ones_own_account_is_shown_without_forms(admin: Client) -> None:
    me = User.objects.get(username="ada")
    page = read(admin.get(reverse("user-detail", args=[me.pk])).content)
    assert "This is you." in page.text
    assert not [tag for tag in page.all("form") if f"people/{me.pk}" in tag.attrs["action"]]
    for name, sent in acts(me).items():
        response = admin.post(reverse(name, args=[me.pk]), sent)
        assert response.status_code == 403
        assert "ask another administrator" in read(response.content).text
    assert User.objects.get(pk=me.pk).roles == {"admin"}


def test_an_account_is_closed_and_opened_again(admin: Client, site: Site) -> None:
    user = make_user(roles=["radiologist"], site=site)
    told = admin.post(reverse("user-close", args=[user.pk]), follow=True)
    assert "Closed" in read(told.content).text
    assert authenticate(username=user.username, password=PASSWORD) is None
    again = admin.post(reverse("user-open", args=[user.pk]))
    Client().post(link_in(again.content), {"password": NEW, "again": NEW})
    assert authenticate(username=user.username, password=NEW) is not None
    # Not twice.
    refused = admin.post(reverse("user-open", args=[user.pk]))
    assert refused.status_code == 409
    assert "The account is open." in read(refused.content).text


def test_a_new_link_ends_the_old_password(admin: Client, site: Site) -> None:
    user = make_user(roles=["radiologist"], site=site)
    response = admin.post(reverse("user-password", args=[user.pk]))
    assert authenticate(username=user.username, password=PASSWORD) is None
    assert Client().get(link_in(response.content)).status_code == 200


def test_somebody_moves_to_another_site_without_a_role(admin: Client, site: Site) -> None:
    user, there = make_user(roles=["radiologist"], site=site), make_site()
    url = reverse("user-move", args=[user.pk])
    assert admin.post(url, {"site": "nowhere"}).status_code == 422
    told = admin.post(url, {"site": str(there.pk)}, follow=True)
    assert "without a role" in read(told.content).text
    assert User.objects.get(pk=user.pk).site == there


def test_the_list_is_paged_and_searched(
    admin: Client, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(people, "PAGE_SIZE", 2)
    names = ["ada"] + [make_user(roles=["auditor"], site=site).username for _ in range(4)]
    page = read(admin.get(reverse("user-list")).content)
    seen = [tag.text for tag in page.all("th", scope="row")]
    while older := page.all("a", rel="next"):
        page = read(admin.get(older[0].attrs["href"]).content)
        seen += [tag.text for tag in page.all("th", scope="row")]
    assert seen == sorted(names)
    page = read(admin.get(reverse("user-list"), {"q": "AD", "role": "admin"}).content)
    assert [tag.text for tag in page.all("th", scope="row")] == ["ada"]
    assert "Nobody found" in read(admin.get(reverse("user-list"), {"q": "%_"}).content).text


# Sites.


def test_a_site_is_added_with_its_administrator(admin: Client) -> None:
    sent = {"code": "north", "name": "North", "patient_issuer": "", "administrator": "nora"}
    made = admin.post(reverse("site-create"), sent)
    Client().post(link_in(made.content), {"password": NEW, "again": NEW})
    nora = authenticate(username="nora", password=NEW)
    assert isinstance(nora, User)
    assert (nora.site.code, nora.roles) == ("north", {"admin"})  # type: ignore[union-attr]
    again = admin.post(reverse("site-create"), sent)
    assert again.status_code == 422
    assert read(again.content).values()["name"] == "North"


def test_ones_own_site_is_changed_and_no_other(admin: Client, site: Site) -> None:
    url = reverse("site-detail", args=[site.pk])
    page = read(admin.get(url).content)
    assert structure_faults(page) == []
    assert page.values()["name"] == site.name
    refused = admin.post(url, {"name": "New", "patient_issuer": "HIS2", "reason": ""})
    assert refused.status_code == 422
    assert "Say why." in read(refused.content).text
    admin.post(url, {"name": "New", "patient_issuer": "HIS2", "reason": "A new system."})
    assert Site.objects.get(pk=site.pk).patient_issuer == "HIS2"
    other = make_site()
    for call in (admin.get, admin.post):
        assert call(reverse("site-detail", args=[other.pk])).status_code == 404
    shown = read(admin.get(reverse("site-list")).content).text
    assert other.code in shown
    assert other.patient_issuer not in shown


# Tokens.


def test_somebody_makes_uses_and_revokes_a_token_of_their_own(site: Site, sign_in: SignIn) -> None:
    user = make_user(roles=["radiologist"], site=site)
    client = sign_in(user)
    sent = {"owner": str(user.pk), "token_name": "my script", "scopes": ["read"], "days": "30"}
    made = client.post(reverse("token-list"), sent)
    secret = read(made.content).one("code", id="secret").text
    called = Client().get("/api/v1/cases/", headers={"Authorization": f"Bearer {secret}"})
    assert called.status_code == 200
    page = read(client.get(reverse("token-list")).content)
    assert "my script" in page.text and secret[:10] in page.text
    assert secret not in page.text
    assert "Of your site" not in page.text
    assert structure_faults(page) == []
    token = ApiToken.objects.get()
    assert token.last_used_at is not None
    revoke = reverse("token-revoke", args=[token.pk])
    assert page.one("a", href=revoke).text == "Revoke"
    asked = read(client.get(revoke).content)
    assert "my script" in asked.text and secret[:10] in asked.text and secret not in asked.text
    assert "This cannot be undone." in asked.text
    assert structure_faults(asked) == []
    assert token_authenticate(secret) is not None, "asked, not done"
    told = client.post(revoke, follow=True)
    assert "Revoked" in read(told.content).text
    assert token_authenticate(secret) is None
    again = read(client.get(revoke).content)
    assert "there is nothing to revoke" in again.text and not again.all("form", action=revoke)


@pytest.mark.parametrize("role", ["sonographer", "radiologist", "approver", "auditor"])
def test_scopes_are_offered_as_far_as_the_role_goes(role: str, site: Site, sign_in: SignIn) -> None:
    page = read(sign_in(role=role, site=site).get(reverse("token-list")).content)
    offered = {tag.attrs["value"] for tag in page.all("input", type="checkbox")}
    expected = {
        "sonographer": {"submit", "read"},
        "radiologist": {"submit", "read", "outcomes"},
        "approver": {"read"},
        "auditor": {"read"},
    }
    assert offered == expected[role]


def test_without_a_role_there_is_no_token(sign_in: SignIn) -> None:
    assert sign_in(make_user(roles=[])).get(reverse("token-list")).status_code == 403


def test_an_administrator_makes_tokens_of_systems_and_of_nobody_else(
    admin: Client, site: Site
) -> None:
    system = make_user(roles=["integration"], site=site)
    reader = make_user(roles=["radiologist"], site=site)
    stranger = make_user(roles=["integration"])
    sent = {"token_name": "gateway", "scopes": ["submit", "read"], "days": "365"}
    made = admin.post(reverse("token-list"), {**sent, "owner": str(system.pk)})
    token = token_authenticate(read(made.content).one("code", id="secret").text)
    assert token is not None
    assert token.user == system
    for other in (reader, stranger):
        refused = admin.post(reverse("token-list"), {**sent, "owner": str(other.pk)})
        assert refused.status_code == 422
    assert ApiToken.objects.count() == 1
    shown = read(admin.get(reverse("token-list")).content).text
    assert "gateway" in shown and system.username in shown


def test_a_refused_token_keeps_what_was_typed(admin: Client) -> None:
    me = User.objects.get(username="ada")
    sent = {"owner": str(me.pk), "token_name": " ", "scopes": ["read"], "days": "0"}
    page = read(admin.post(reverse("token-list"), sent).content)
    assert "Name the system" in page.text and "Between 1 and 3650 days." in page.text
    assert page.values()["days"] == "0"
    assert page.values()["scopes"] == "read"
    page = read(admin.post(reverse("token-list"), {**sent, "scopes": [], "days": "x"}).content)
    assert "Choose at least one scope." in page.text
    assert not ApiToken.objects.exists()


def test_a_token_of_another_person_or_site_is_not_there(
    admin: Client, site: Site, sign_in: SignIn
) -> None:
    token, secret = make_token(user=make_user(roles=["radiologist"], site=site), scopes=["read"])
    url = reverse("token-revoke", args=[token.pk])
    for stranger in (sign_in(role="radiologist", site=site), sign_in(role="admin")):
        assert stranger.get(url).status_code == stranger.post(url).status_code == 404
    without = sign_in(make_user(roles=[], site=site))
    assert without.get(url).status_code == without.post(url).status_code == 403
    assert admin.get(url).status_code == 200
    assert token_authenticate(secret) is not None
    assert admin.post(url).status_code == 302
    assert token_authenticate(secret) is None
