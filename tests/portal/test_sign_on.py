"""Single sign-on: against an issuer of our own, for users whom an administrator has made."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import environs
import jwt
import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import Client
from django.urls import NoReverseMatch, reverse

from bcweb import accounts
from cases.access import SYSTEM, Role
from cases.models import AuditEvent, User
from cases.services.people import user_create, user_deactivate
from tests.factories import make_site, make_user
from tests.portal.markup import read
from tests.portal.signing_in import is_signed_in, make_app

LOGIN = "/oidc/sso/login/"
SECRET = "a secret of the fake issuer, of enough bytes"


class Issuer:
    """Knows one person at a time, and says so to whoever asks with the right secret."""

    def __init__(self) -> None:
        self.person: dict[str, Any] = {}
        self.asked: list[str] = []
        self.nonce = ""
        issuer = self

        class Answers(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._say(issuer.document() if "well-known" in self.path else issuer.person)

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                sent = {key: values[0] for key, values in parse_qs(body).items()}
                issuer.asked.append(sent.get("code", ""))
                right = sent.get("client_secret") == SECRET and "code_verifier" in sent
                self._say(issuer.tokens() if right else {"error": "invalid_client"})

            def _say(self, what: dict[str, Any]) -> None:
                body = json.dumps(what).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def document(self) -> dict[str, str]:
        names = ("authorization", "token", "userinfo")
        ends = {f"{name}_endpoint": f"{self.url}/{name}" for name in names}
        return {"issuer": self.url, "jwks_uri": f"{self.url}/keys", **ends}

    def tokens(self) -> dict[str, str]:
        now = int(time.time())
        claims = {"iss": self.url, "aud": "bcweb", "iat": now, "exp": now + 60, **self.person}
        token = jwt.encode({**claims, "nonce": self.nonce}, SECRET, algorithm="HS256")
        return {"access_token": "an access token", "token_type": "Bearer", "id_token": token}


@pytest.fixture
def issuer(settings: Any) -> Iterator[Issuer]:
    one = Issuer()
    threading.Thread(target=one.server.serve_forever, daemon=True).start()
    settings.BCWEB_ACCOUNTS = replace(
        settings.BCWEB_ACCOUNTS,
        oidc_issuer=one.url,
        oidc_client_id="bcweb",
        oidc_secret=SECRET,
        oidc_name="the hospital",
    )
    settings.SOCIALACCOUNT_PROVIDERS = accounts.library_settings(
        settings.BCWEB_ACCOUNTS, behind_proxy=False
    )["SOCIALACCOUNT_PROVIDERS"]
    settings.ROOT_URLCONF = "tests.portal.sign_on_urlconf"
    settings.SOCIALACCOUNT_REQUESTS_TIMEOUT = 60
    yield one
    one.server.shutdown()
    one.server.server_close()


def come_back(client: Client, issuer: Issuer, **person: Any) -> Any:
    """Go to the issuer, be ``person`` there, and come back; the answer to that."""
    issuer.person = person
    away = urlsplit(client.post(LOGIN, {"next": reverse("model-list")}).headers["Location"])
    assert f"{away.scheme}://{away.netloc}" == issuer.url
    asked = {key: values[0] for key, values in parse_qs(away.query).items()}
    assert asked["code_challenge_method"] == "S256"
    issuer.nonce = asked.get("nonce", "")
    return client.get(f"{LOGIN}callback/", {"code": "a-code", "state": asked["state"]})


def make_person(name: str) -> User:
    return user_create(
        actor=SYSTEM, username=name, site=make_site(), roles=[Role.RADIOLOGIST], password=None
    )


@pytest.mark.django_db
def test_a_user_whom_an_administrator_made_comes_in_and_stays_the_same_when_renamed(
    issuer: Issuer,
) -> None:
    user = make_person("rita@hospital")
    client = Client()
    assert "Sign in with the hospital" in client.get(reverse("sign-in")).content.decode()
    back = come_back(client, issuer, sub="77", preferred_username="rita@hospital")
    assert back.headers["Location"] == reverse("model-list")
    assert is_signed_in(client)
    assert AuditEvent.objects.filter(action="user.sign_on_linked", user_id=user.pk).count() == 1

    make_person("other@hospital")
    again = Client()
    come_back(again, issuer, sub="77", preferred_username="other@hospital")
    assert again.get(reverse("account")).context["account"].user == user
    assert AuditEvent.objects.filter(action="user.sign_on_linked").count() == 1


@pytest.mark.django_db
def test_a_name_that_the_issuer_gave_to_another_person_is_nobodys(issuer: Issuer) -> None:
    make_person("rita@hospital")
    come_back(Client(), issuer, sub="77", preferred_username="rita@hospital")
    other = Client()
    back = come_back(other, issuer, sub="78", preferred_username="rita@hospital")
    assert back.status_code == 403
    assert not is_signed_in(other)
    assert AuditEvent.objects.filter(action="user.sign_on_linked").count() == 1


@pytest.mark.django_db
def test_nobody_else_comes_in_and_nobody_is_made(issuer: Issuer) -> None:
    closed = make_person("closed@hospital")
    user_deactivate(actor=SYSTEM, user=closed)
    people: list[dict[str, Any]] = [
        {"sub": "1", "preferred_username": "stranger@hospital"},
        {"sub": "2", "preferred_username": "closed@hospital"},
        {"sub": "3", "email": "rita@hospital"},
    ]
    for person in people:
        client = Client()
        back = come_back(client, issuer, **person)
        assert back.status_code == 403
        assert "Nobody is known here" in read(back.content).text
        assert not is_signed_in(client)
    assert User.objects.count() == 1


@pytest.mark.django_db
def test_an_answer_to_a_question_nobody_asked_signs_nobody_in(issuer: Issuer) -> None:
    make_person("rita@hospital")
    issuer.person = {"sub": "77", "preferred_username": "rita@hospital"}
    client = Client()
    back = client.get(f"{LOGIN}callback/", {"code": "a-code", "state": "made-up"})
    assert "You are not signed in" in back.content.decode()
    assert not is_signed_in(client)
    assert issuer.asked == []


@pytest.mark.django_db
def test_a_second_factor_set_up_here_is_asked_for_as_well(issuer: Issuer) -> None:
    make_app(make_person("rita@hospital"))
    client = Client()
    back = come_back(client, issuer, sub="77", preferred_username="rita@hospital")
    assert back.headers["Location"] == reverse("mfa_authenticate")
    assert not is_signed_in(client)


@pytest.mark.django_db
@pytest.mark.parametrize("trusted", [True, False])
def test_the_issuers_second_factor_counts_where_the_operator_says_so(
    issuer: Issuer, settings: Any, trusted: bool
) -> None:
    settings.BCWEB_ACCOUNTS = replace(
        settings.BCWEB_ACCOUNTS, second_factor_roles=("radiologist",), oidc_second_factor=trusted
    )
    make_person("rita@hospital")
    client = Client()
    come_back(client, issuer, sub="77", preferred_username="rita@hospital")
    assert client.get(reverse("model-list")).status_code == (200 if trusted else 302)


@pytest.mark.django_db
def test_without_an_issuer_there_is_no_such_address() -> None:
    make_user(roles=["radiologist"])
    assert "Sign in with the" not in Client().get(reverse("sign-in")).content.decode()
    assert Client().get(LOGIN).status_code == 404
    with pytest.raises(NoReverseMatch):
        reverse("openid_connect_login", args=["sso"])


# Settings


def told(**variables: str) -> accounts.AccountSettings:
    env = environs.Env(eager=False)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        found = accounts.declare(env, demo=False)
        env.seal()
    return found


@pytest.mark.parametrize(
    "variables",
    [
        {"BCWEB_OIDC_ISSUER": "https://id.example.org"},
        {"BCWEB_OIDC_CLIENT_ID": "bcweb", "BCWEB_OIDC_SECRET": "s"},
        {
            "BCWEB_OIDC_ISSUER": "http://id.example.org",
            "BCWEB_OIDC_CLIENT_ID": "bcweb",
            "BCWEB_OIDC_SECRET": "s",
        },
    ],
)
def test_single_sign_on_by_halves_stops_the_start(variables: dict[str, str]) -> None:
    with pytest.raises(ImproperlyConfigured, match="BCWEB_OIDC_ISSUER"):
        accounts.check(told(**variables))


def test_whole_single_sign_on_lets_forms_lead_to_the_issuer() -> None:
    found = told(
        BCWEB_OIDC_ISSUER="https://id.example.org/realms/hospital",
        BCWEB_OIDC_CLIENT_ID="bcweb",
        BCWEB_OIDC_SECRET="s",
    )
    accounts.check(found)
    assert accounts.form_targets(found) == ["https://id.example.org"]
    assert accounts.form_targets(told()) == []
    [app] = accounts.oidc_apps(found)
    assert (app["provider_id"], app["client_id"]) == ("sso", "bcweb")


def test_administrators_and_approvers_need_a_second_factor_unless_it_is_the_demo() -> None:
    env = environs.Env(eager=False)
    assert accounts.declare(env, demo=False).second_factor_roles == ("admin", "approver")
    assert accounts.declare(env, demo=True).second_factor_roles == ()
    assert told(BCWEB_SECOND_FACTOR_ROLES="auditor").second_factor_roles == ("auditor",)
    assert told(BCWEB_SECOND_FACTOR_ROLES="").second_factor_roles == ()
    with pytest.raises(environs.EnvError, match="BCWEB_SECOND_FACTOR_ROLES"):
        told(BCWEB_SECOND_FACTOR_ROLES="admin,boss")
