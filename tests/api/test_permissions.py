"""Who may call what: each endpoint x each role x own site, other site, nobody."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from django.db import transaction
from django.test import Client
from django.urls import URLPattern

from cases.access import Role, Scope
from cases.api.urls import urlpatterns
from cases.models import (
    GatePlan,
    Job,
    Result,
    Site,
    Submission,
    TrainingRun,
    TrainingSnapshot,
    WebhookDelivery,
)
from cases.services.replays import replay_request
from tests.api.conftest import answer_waiting
from tests.api.contract import Api, problem, schema
from tests.factories import (
    PASSWORD,
    live_model,
    make_actor,
    make_site,
    make_token,
    make_user,
    phantom_jpeg,
    submit,
)
from tests.gates import make_plan
from tests.training import make_run
from tests.webhooks import make_ping

pytestmark = pytest.mark.django_db

NOWHERE = "00000000-0000-4000-8000-000000000000"
CLINICAL = {"sonographer", "radiologist", "integration"}
CASES = {*CLINICAL, "admin"}
MODELS = {*CASES, "approver"}
ROLES = {role.value for role in Role}

# Method and path, who may, and the status for them. `{…}`: an object of the site.
MATRIX: list[tuple[str, str, set[str], int]] = [
    ("POST", "/submissions/", CLINICAL, 202),
    ("GET", "/submissions/", CASES, 200),
    ("GET", "/submissions/{submission}/", CASES, 200),
    ("GET", "/jobs/", CASES, 200),
    ("GET", "/jobs/{job}/", CASES, 200),
    ("POST", "/jobs/{waiting}/cancel/", CASES, 200),
    ("POST", "/jobs/{job}/rerun/", CASES, 202),
    ("GET", "/dead-letters/", {"admin"}, 200),
    # Without a body: who may comes as far as being told what is missing.
    ("POST", "/dead-letters/retry/", {"admin"}, 422),
    ("GET", "/cases/", CASES, 200),
    ("GET", "/cases/{case}/", CASES, 200),
    ("GET", "/images/{image}/", CASES, 200),
    ("GET", "/images/{image}/file/", CLINICAL, 200),
    ("GET", "/images/{image}/preview/", CASES, 200),
    ("GET", "/results/", CASES, 200),
    ("GET", "/results/{result}/", CASES, 200),
    ("GET", "/results/{result}/heatmap/", CASES, 200),
    ("POST", "/results/{result}/replay/", CASES, 202),
    ("GET", "/results/{replayed}/replay/", CASES, 200),
    ("GET", "/readings/", CASES, 200),
    ("GET", "/findings/{finding}/outcomes/", CASES, 200),
    # Without a body: who may comes as far as being told what is missing.
    ("POST", "/findings/{finding}/outcomes/", {"radiologist", "integration"}, 422),
    ("POST", "/patients/research-opt-out/", CLINICAL, 422),
    ("POST", "/patients/search/", CLINICAL, 422),
    ("GET", "/models/", MODELS, 200),
    ("GET", "/models/{model}/", MODELS, 200),
    ("GET", "/models/live/", MODELS, 200),
    ("GET", "/models/{model}/recall/", CASES, 200),
    # Who may comes as far as being told that the model that ships was judged nowhere.
    ("GET", "/models/{model}/comparison/", {"admin"}, 404),
    ("GET", "/models/{model}/watch/", {"admin"}, 200),
    ("POST", "/models/{model}/promote/", set(), 403),
    ("POST", "/models/{model}/roll-back/", set(), 403),
    ("GET", "/promotions/", MODELS, 200),
    ("GET", "/serving/", MODELS, 200),
    # Without a reason nothing is suspended. Approvers do it at the portal: PROMOTE is in no scope.
    ("POST", "/serving/suspend/", {"admin"}, 422),
    ("GET", "/training-runs/", MODELS, 200),
    ("GET", "/training-runs/{run}/", MODELS, 200),
    ("POST", "/training-runs/", {"admin"}, 202),
    ("POST", "/training-runs/{run}/cancel/", {"admin"}, 200),
    ("GET", "/training-candidates/", {"admin"}, 200),
    ("GET", "/training-snapshots/", MODELS, 200),
    ("GET", "/training-snapshots/{snapshot}/", MODELS, 200),
    ("GET", "/gate-plans/", MODELS, 200),
    ("GET", "/gate-plans/{plan}/", MODELS, 200),
    # Without a body: who may comes as far as being told what is missing.
    ("POST", "/gate-plans/", {"admin"}, 422),
    ("GET", "/webhooks/", {"admin"}, 200),
    # Without a body, as above.
    ("POST", "/webhooks/", {"admin"}, 422),
    ("GET", "/webhooks/{webhook}/", {"admin"}, 200),
    ("PUT", "/webhooks/{webhook}/", {"admin"}, 422),
    ("POST", "/webhooks/{webhook}/switch/", {"admin"}, 422),
    ("POST", "/webhooks/{webhook}/secret/", {"admin"}, 200),
    ("POST", "/webhooks/{webhook}/ping/", {"admin"}, 202),
    ("POST", "/webhooks/{webhook}/replay/", {"admin"}, 422),
    ("GET", "/webhooks/{webhook}/deliveries/", {"admin"}, 200),
    ("GET", "/webhooks/deliveries/{delivery}/", {"admin"}, 200),
    ("POST", "/webhooks/deliveries/{delivery}/replay/", {"admin"}, 202),
    ("GET", "/audit/", {"admin", "auditor"}, 200),
    ("GET", "/schema/", ROLES, 200),
    ("GET", "/docs/", ROLES, 200),
]
NAMED = (
    "job",
    "case",
    "image",
    "result",
    "model",
    "finding",
    "run",
    "snapshot",
    "plan",
    "webhook",
    "delivery",
)
# What belongs to no site is the same for all.
SHARED = {
    f"/models/{{model}}/{of_it}" for of_it in ("", "recall/", "watch/", "promote/", "roll-back/")
} | {"/training-snapshots/{snapshot}/"}
SCOPED: dict[str, set[str]] = {
    "POST /submissions/": {"submit"},
    "/submissions/": {"submit", "read"},
    "/submissions/{submission}/": {"read"},
    "/jobs/": {"read", "admin"},
    "/jobs/{job}/": {"read", "admin"},
    "/jobs/{waiting}/cancel/": {"admin"},
    "/jobs/{job}/rerun/": {"admin"},
    "/results/{result}/replay/": {"admin"},
    "/results/{replayed}/replay/": {"read", "admin"},
    # It takes two: to read models, and to govern them.
    "/models/{model}/comparison/": set(),
    "/dead-letters/": {"admin"},
    "/dead-letters/retry/": {"admin"},
    "/serving/suspend/": {"admin"},
    "/models/{model}/watch/": {"admin"},
    "POST /findings/{finding}/outcomes/": {"outcomes"},
    "/patients/research-opt-out/": {"submit"},
    "/training-runs/": {"read", "admin"},
    "POST /training-runs/": {"admin"},
    "/training-runs/{run}/": {"read", "admin"},
    "/training-runs/{run}/cancel/": {"admin"},
    "/training-candidates/": {"admin"},
    "/training-snapshots/": {"read", "admin"},
    "/training-snapshots/{snapshot}/": {"read", "admin"},
    "/gate-plans/": {"read", "admin"},
    "POST /gate-plans/": {"admin"},
    "/gate-plans/{plan}/": {"read", "admin"},
    **{template: {"admin"} for _, template, _, _ in MATRIX if template.startswith("/webhooks/")},
    "/schema/": {"submit", "read", "outcomes", "admin"},
    "/docs/": {"submit", "read", "outcomes", "admin"},
}


@dataclass
class World:
    """A site with a finished and a waiting job, and a result that is computed again."""

    site: Site
    submission: Submission
    result: Result
    replayed: Result
    waiting: Job
    run: TrainingRun
    plan: GatePlan
    ping: WebhookDelivery

    @classmethod
    def make(cls) -> World:
        site = make_site()
        actor = make_actor(site=site)
        submission = submit(actor=actor, laterality="L", clock_position="2")
        result = answer_waiting()[0]
        submit(actor=actor)
        replayed = answer_waiting()[0]
        replay_request(actor=actor, result_id=replayed.pk)
        run = make_run(site=site)
        return cls(
            site,
            submission,
            result,
            replayed,
            submit(actor=actor).jobs.get(),
            run,
            make_plan(site=site),
            make_ping(site),
        )

    def path(self, template: str) -> str:
        return template.format(
            submission=self.submission.pk,
            case=self.submission.case_id,
            finding=self.submission.case.findings.get().pk,
            image=self.result.image_id,
            job=self.result.job_id,
            result=self.result.pk,
            replayed=self.replayed.pk,
            waiting=self.waiting.pk,
            model=live_model().pk,
            run=self.run.pk,
            snapshot=self.run.snapshot_id,
            plan=self.plan.pk,
            webhook=self.ping.webhook_id,
            delivery=self.ping.pk,
        )


@pytest.fixture
def world(db: None) -> World:
    return World.make()


def call(api: Api, method: str, path: str) -> Any:
    """The answer, with everything it changed taken back."""
    with transaction.atomic():
        if method == "POST" and path == "/submissions/":
            response = api.submit([phantom_jpeg()], patient_id="P-matrix")
        elif method == "POST" and path == "/training-runs/":
            snapshot = TrainingSnapshot.objects.filter(gate_plans=None).latest("created_at").pk
            body = {"snapshot": snapshot, "reason": "matrix", "if_running": "queue"}
            response = api.post(path, body)
        elif method == "POST" and path.startswith("/training-runs/"):
            response = api.post(path, {"reason": "matrix"})
        else:
            response = api.send(method, path, headers={})
        transaction.set_rollback(True)
    return response


def caller(role: str, site: Site) -> Api:
    return Api(make_token(site=site, roles=[role], scopes=list(Scope))[1])


@pytest.mark.parametrize("role", sorted(ROLES))
def test_each_role_at_its_own_site(world: World, role: str) -> None:
    api = caller(role, world.site)
    got = {
        (method, template): call(api, method, world.path(template)).status_code
        for method, template, _, _ in MATRIX
    }
    assert got == {
        (method, template): status if role in allowed else 403
        for method, template, allowed, status in MATRIX
    }


@pytest.mark.parametrize("role", sorted(ROLES))
def test_objects_of_another_site_are_as_if_they_were_not(world: World, role: str) -> None:
    api = caller(role, make_site())
    for method, template, allowed, _ in MATRIX:
        if "{" not in template or template in SHARED:
            continue
        nowhere = "/".join(NOWHERE if "{" in part else part for part in template.split("/"))
        other, none = call(api, method, world.path(template)), call(api, method, nowhere)
        expected = (404, "not_found") if role in allowed else (403, "permission_denied")
        bodies = [problem(response, *expected) for response in (other, none)]
        for body in bodies:
            del body["request_id"]
        assert bodies[0] == bodies[1], template


@pytest.mark.parametrize(("secret", "told"), [("", ""), ("bcw_no", ', error="invalid_token"')])
def test_nobody_gets_nothing(world: World, secret: str, told: str) -> None:
    for method, template, _, _ in MATRIX:
        response = call(Api(secret), method, world.path(template))
        problem(response, 401, "not_authenticated")
        assert response.headers["WWW-Authenticate"] == f'Bearer realm="bcweb"{told}', template


@pytest.mark.parametrize("scope", list(Scope))
def test_a_token_has_no_more_than_its_scopes(world: World, scope: Scope) -> None:
    """An owner with every role: what is left is the scope's doing."""
    owner = make_user(roles=list(Role), site=world.site)
    api = Api(make_token(user=owner, scopes=[scope])[1])
    got, expected = {}, {}
    for method, template, _, status in MATRIX:
        got[method, template] = call(api, method, world.path(template)).status_code
        # Of jobs, submissions and replays, who may only submit sees its own.
        own = scope is Scope.SUBMIT and (
            template.startswith(("/jobs/{", "/submissions/{"))
            or (template.startswith("/results/") and template.endswith("/replay/"))
        )
        scopes = SCOPED.get(f"{method} {template}", SCOPED.get(template, {"read"}))
        allowed = scope.value in scopes
        expected[method, template] = status if allowed else 404 if own else 403
    assert got == expected


def test_a_token_that_only_submits_reaches_only_its_own_jobs(world: World) -> None:
    secret = make_token(site=world.site, scopes=["submit"])[1]
    for path in ("/jobs/{waiting}/cancel/", "/jobs/{job}/rerun/"):
        problem(call(Api(secret), "POST", world.path(path)), 404, "not_found")


def test_the_lists_hold_the_own_site_only(world: World) -> None:
    elsewhere = make_site()
    for path in ("/cases/", "/jobs/", "/training-runs/"):
        assert caller("radiologist", elsewhere).get(path).json()["results"] == []
    trail = caller("auditor", elsewhere).get("/audit/", {"page_size": "200"}).json()["results"]
    assert str(world.site.pk) not in {event["site_id"] for event in trail}


def test_an_account_without_a_site_sees_nothing(world: World) -> None:
    user = make_user(roles=["radiologist"], site=world.site)
    secret = make_token(user=user)[1]
    user.site = None
    user.save()
    for path in ("/cases/", "/jobs/", "/cases/{case}/", "/jobs/{job}/"):
        problem(Api(secret).get(world.path(path)), 403, "permission_denied")


# Tokens


def test_a_token_ends_with_its_day_its_revocation_and_its_owner(world: World) -> None:
    for end in ("expires_at", "revoked_at", "owner"):
        token, secret = make_token(site=world.site)
        assert Api(secret).get("/jobs/").status_code == 200
        if end == "owner":
            token.user.is_active = False
            token.user.save()
        else:
            setattr(token, end, token.created_at)
            token.save()
        problem(Api(secret).get("/jobs/"), 401, "not_authenticated")


@pytest.mark.parametrize(
    "header", ["Basic YTpi", "Bearer", "Bearer  ", "Token x", "Bearer ü", "bearer \x7f", "x"]
)
def test_another_kind_of_authorization_is_401(db: None, header: str) -> None:
    problem(Api().get("/jobs/", Authorization=header), 401, "not_authenticated")


# The portal's session


def test_a_session_reads_and_writes_with_its_csrf_token(world: World) -> None:
    user = make_user(roles=["radiologist"], site=world.site)
    client = Client(enforce_csrf_checks=True, raise_request_exception=False)
    assert client.login(username=user.username, password=PASSWORD)
    api = Api(client=client)
    assert api.get("/cases/").status_code == 200
    path = f"/jobs/{world.waiting.pk}/cancel/"
    body = problem(api.post(path), 403, "permission_denied")
    assert "CSRF" in body["detail"]
    token = "a" * 32
    client.cookies["csrftoken"] = token
    assert api.post(path, X_CSRFToken=token).status_code == 200


def test_a_session_submits_with_its_csrf_token(world: World) -> None:
    user = make_user(roles=["sonographer"], site=world.site)
    client = Client(enforce_csrf_checks=True, raise_request_exception=False)
    assert client.login(username=user.username, password=PASSWORD)
    api = Api(client=client)
    problem(api.submit([phantom_jpeg()], patient_id="P9"), 403, "permission_denied")
    client.cookies["csrftoken"] = token = "a" * 32
    data = phantom_jpeg()
    sent = api.submit([data], patient_id="P9", csrfmiddlewaretoken=token)
    assert sent.status_code == 202


def test_a_token_needs_no_csrf_token(world: World) -> None:
    secret = make_token(site=world.site)[1]
    api = Api(secret, client=Client(enforce_csrf_checks=True))
    assert api.post(f"/jobs/{world.waiting.pk}/cancel/").status_code == 200


# Nothing is forgotten


def test_the_matrix_covers_every_documented_operation() -> None:
    documented = {
        (method.upper(), path.removeprefix("/api/v1"))
        for path, operations in schema()["paths"].items()
        for method in operations
        # What opens an event stream is asked over a real connection (test_events_http.py).
        if not path.startswith("/api/v1/errors/") and not path.endswith("/events/")
    }
    named = {
        "{submission}": "{submission_id}",
        "{waiting}": "{job_id}",
        "{replayed}": "{result_id}",
        **{f"{{{name}}}": f"{{{name}_id}}" for name in NAMED},
    }
    covered = set()
    for method, template, _, _ in MATRIX:
        for short, long in named.items():
            template = template.replace(short, long)
        covered.add((method, template))
    assert covered - documented == {("GET", "/schema/"), ("GET", "/docs/")}
    assert documented <= covered


def test_every_view_declares_what_each_of_its_methods_asks_for() -> None:
    open_to_all = {"error-type", "unknown"}
    for pattern in urlpatterns:
        assert isinstance(pattern, URLPattern)
        view = pattern.callback.view_class  # type: ignore[attr-defined]
        if pattern.name in open_to_all or view.permission_classes[0].__name__ == "IsSignedIn":
            continue
        methods = {
            name.upper()
            for name in ("get", "post", "put", "patch", "delete")
            if hasattr(view, name)
        }
        assert set(view.required) == methods, pattern.name
