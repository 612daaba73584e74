"""Gate plans and verdicts in the portal."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from cases.models import GatePlan, Site, TrainingRun
from tests.cases.governing import asked
from tests.compared import said
from tests.factories import live_model, make_actor, make_site, make_user
from tests.gates import judged, make_locked_set, make_plan
from tests.portal.conftest import ROLES, SignIn
from tests.portal.markup import csp_faults, read, structure_faults
from tests.training import make_snapshot

pytestmark = pytest.mark.django_db

VIEWERS = {"sonographer", "radiologist", "integration", "admin", "approver"}
LIMITS = [
    {"metric": "sensitivity", "bound": 0.9},
    {"metric": "brier", "bound": 0.2, "by": "value"},
    {"metric": "auc_malignant", "bound": -0.02, "against": "active", "source": "made"},
]


@pytest.fixture
def site(db: None) -> Site:
    live_model()
    return make_site()


@pytest.fixture
def admin(site: Site, sign_in: SignIn) -> Client:
    return sign_in(role="admin", site=site)


def judged_by(plan: GatePlan, *, passed: bool = False, **told: Any) -> TrainingRun:
    """A run that has ended with a model; not ``passed``: it missed the plan's first limit only."""
    return judged(
        plan,
        active={"version": "test-model", "sha256": "0" * 64, "seen": 3},
        state="passed" if passed else "failed",
        limits=[
            _row(limit, passed=passed or place > 0)
            for place, limit in enumerate(plan.document["limits"])
        ],
        pictures=[
            _picture(0, "malignant", "benign", "malignant"),
            _picture(1, "benign", "benign", "malignant"),
            _picture(2, "benign", "benign", "benign"),
        ],
        **told,
    )


def _row(limit: dict[str, Any], *, passed: bool) -> dict[str, Any]:
    row = {
        "limit": limit,
        "value": 0.871,
        "interval": [0.812, 0.903],
        "active_value": None,
        "difference": None,
        "difference_interval": None,
        "judged": 0.812,
        "passed": passed,
        "why": "",
    }
    if limit["against"] == "active":
        row |= {"difference": -0.0104, "difference_interval": [-0.019, 0.004], "judged": -0.019}
        row["active_value"] = 0.881
    return row


def _picture(number: int, truth: str, before: str, now: str) -> dict[str, Any]:
    return {
        "file": f"{number}.png",
        "sha256": hashlib.sha256(b"%d" % number).hexdigest(),
        "truth": truth,
        "candidate": said(now),
        "active": said(before),
    }


def test_the_empty_page_teaches_and_a_plan_is_declared(admin: Client, site: Site) -> None:
    url = reverse("gate-plan-list")
    assert "import_dataset" in read(admin.get(url).content).text
    locked = make_locked_set()
    page = read(admin.get(url).content)
    assert "No gate plans yet" in page.text
    assert page.one("a", href=reverse("gate-plan-create"))
    named = make_user(roles=["approver"], site=site).username
    form = read(admin.get(reverse("gate-plan-create")).content).values()
    assert form["locked_set"] == locked.pk
    sent = {
        **form,
        "name": "spring",
        "minimum_malignant_patients": "2",
        "metric_1": "sensitivity",
        "bound_1": "0.9",
        # A gap between rows is none.
        "metric_3": "auc_malignant",
        "bound_3": "-0.02",
        "against_3": "active",
        "approvers": [named],
    }
    response = admin.post(reverse("gate-plan-create"), sent, follow=True)
    plan = GatePlan.objects.get()
    assert [limit["metric"] for limit in plan.document["limits"]] == [
        "sensitivity",
        "auc_malignant",
    ]
    page = read(response.content)
    for words in (
        "Lower end of the 95 % interval of the figure: at least 0.9",
        "Lower end of the 95 % interval of the difference to the live model: at least \u22120.02",
        "The locked set was used 0 times",
        named,
    ):
        assert words in page.text
    assert (csp_faults(page), structure_faults(page)) == ([], [])


def test_a_refused_plan_keeps_what_was_typed_and_says_which_limit(admin: Client) -> None:
    make_locked_set()
    form = read(admin.get(reverse("gate-plan-create")).content).values()
    sent = {**form, "metric_2": "ece", "bound_2": "7", "name": ""}
    response = admin.post(reverse("gate-plan-create"), sent)
    assert response.status_code == 422
    page = read(response.content)
    assert page.one("a", href="#name")
    assert "Limit 1: the bound is a number from 0 to 1." in page.text
    # Filled rows come first, as they are counted.
    assert (page.values()["metric_1"], page.values()["bound_1"]) == ("ece", "7")
    assert (csp_faults(page), structure_faults(page)) == ([], [])


def test_a_training_is_started_with_a_plan(admin: Client, site: Site) -> None:
    plan = make_plan(site=site)
    snapshot = make_snapshot()
    url = reverse("training-start")
    form = read(admin.get(url, {"plan": str(plan.pk)}).content).values()
    assert form["plan"] == str(plan.pk)
    sent = {**form, "snapshot": snapshot.pk, "reason": "new data"}
    page = read(admin.post(url, sent, follow=True).content)
    assert TrainingRun.objects.get().plan == plan
    assert page.one("a", href=reverse("gate-plan-detail", args=[plan.pk]))
    locked = admin.post(url, {**sent, "snapshot": plan.locked_set_id, "idempotency_key": ""})
    assert locked.status_code == 422
    assert "Nobody trains on those" in read(locked.content).text


def test_the_verdict_stands_limit_by_limit_on_the_run_and_the_model(
    admin: Client, site: Site
) -> None:
    run = judged_by(make_plan(site=site, limits=LIMITS))
    assert run.model_version is not None
    for url in (
        reverse("training-run", args=[run.pk]),
        reverse("model-detail", args=[run.model_version_id]),
    ):
        page = read(admin.get(url).content)
        for words in (
            "Failed",
            "Does not hold",
            "Holds",
            "0.871 (0.812 to 0.903)",
            "\u22120.010 (\u22120.019 to 0.004)",
            "0.812 was judged",
            "live: 0.881",
            "Figure: at most 0.2",
            "on made",
            "test-model, which was live then and had been trained on 3 of them",
        ):
            assert (url, words, words in page.text) == (url, words, True)
        assert (csp_faults(page), structure_faults(page)) == ([], [])
    page = read(admin.get(reverse("gate-plan-detail", args=[run.plan_id])).content)
    assert "The locked set was used 1 time" in page.text
    assert page.one("a", href=reverse("model-detail", args=[run.model_version_id]))


@pytest.mark.parametrize(
    ("left_out", "words"),
    [
        (1, "without 1 image of the set that was taken back since it was frozen"),
        (2, "without 2 images of the set that were taken back since it was frozen"),
        (0, ""),
    ],
)
def test_a_verdict_says_how_many_pictures_were_left_out(
    admin: Client, site: Site, left_out: int, words: str
) -> None:
    run = judged_by(make_plan(site=site, limits=LIMITS), left_out=left_out)
    text = read(admin.get(reverse("training-run", args=[run.pk])).content).text
    assert ("taken back" in text) == bool(left_out)
    assert words in text
    page = admin.get(reverse("gate-plan-detail", args=[run.plan_id]))
    assert (f"without {left_out} that" in read(page.content).text) == bool(left_out)


def test_the_comparison_shows_the_answers_that_changed(
    admin: Client, site: Site, sign_in: SignIn
) -> None:
    run = judged_by(make_plan(site=site, limits=LIMITS))
    url = reverse("model-compare", args=[run.model_version_id])
    page = read(admin.get(url).content)
    assert "2 of 6 answers changed" in page.text
    assert "now right" in page.text
    assert "now wrong" in page.text
    assert (csp_faults(page), structure_faults(page)) == ([], [])
    assert sign_in(role="radiologist", site=site).get(url).status_code == 403
    assert sign_in(role="approver", site=site).get(url).status_code == 200
    assert sign_in(role="admin").get(url).status_code == 404


def test_an_approver_who_is_not_named_is_told_and_gets_403(site: Site, sign_in: SignIn) -> None:
    named = make_user(roles=["approver"], site=site)
    run = judged_by(make_plan(site=site, limits=LIMITS, approvers=[named.username]), passed=True)
    model = run.model_version
    assert model is not None
    request = asked(model, by=make_actor(roles=["admin"], site=site))
    url = reverse("promotion-approve", args=[request.pk])
    other = sign_in(role="approver", site=site)
    page = read(other.get(reverse("promotion-detail", args=[request.pk])).content)
    assert f"names who may approve it: {named.username}" in page.text
    assert not page.all("form", action=url)
    live = str(live_model().pk)
    sent = {"reason": "yes", "expected_active": live}
    assert other.post(url, sent).status_code == 403
    page = read(sign_in(named).get(reverse("promotion-detail", args=[request.pk])).content)
    assert page.one("form", action=url)
    assert sign_in(named).post(url, sent).status_code == 302
    model.refresh_from_db()
    assert model.state == "ACTIVE"


@pytest.mark.parametrize("role", ROLES)
def test_each_role_sees_and_does_what_it_may(role: str, site: Site, sign_in: SignIn) -> None:
    plan = make_plan(site=site)
    client = sign_in(role=role, site=site)
    expected = 200 if role in VIEWERS else 403
    for url in (reverse("gate-plan-list"), reverse("gate-plan-detail", args=[plan.pk])):
        assert (url, client.get(url).status_code) == (url, expected)
    create = reverse("gate-plan-create")
    assert client.get(create).status_code == (200 if role == "admin" else 403)
    assert client.post(create, {}).status_code == (422 if role == "admin" else 403)


def test_another_sites_plan_is_not_there(site: Site, sign_in: SignIn) -> None:
    plan = make_plan(site=site)
    stranger = sign_in(role="admin")
    url = reverse("gate-plan-detail", args=[plan.pk])
    assert stranger.get(url).status_code == 404
    assert plan.name not in stranger.get(reverse("gate-plan-list")).content.decode()
