"""Findings, outcomes and the wish about research on the case page."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from cases.models import Case, Finding, FindingOutcome
from cases.services.people import actor_for_user
from tests.factories import make_site, make_user, phantom_jpeg, submit
from tests.portal.conftest import ROLES, SignIn, World
from tests.portal.markup import Markup, csp_faults, read, structure_faults
from tests.portal.pages import url_of

pytestmark = pytest.mark.django_db

SENT = {"pathology": "benign", "basis": "histology"}


@pytest.fixture
def reader(world: World, sign_in: SignIn) -> Client:
    return sign_in(make_user(roles=["radiologist"], site=world.site))


@pytest.fixture
def finding(world: World) -> Finding:
    actor = actor_for_user(world.sonographer)
    return submit(actor=actor, laterality="L", clock_position="2").case.findings.get()


def record(client: Client, finding: Finding, **change: str) -> Any:
    return client.post(reverse("outcome-record", args=[finding.pk]), {**SENT, **change})


def page_of(client: Client, case: Case) -> Markup:
    page = read(client.get(url_of(case)).content)
    assert (csp_faults(page), structure_faults(page)) == ([], [])
    return page


def test_an_outcome_is_recorded_and_superseded(reader: Client, finding: Finding) -> None:
    assert "No outcome is known yet." in page_of(reader, finding.case).text
    assert record(reader, finding).headers["Location"].endswith("#outcomes")
    shown = page_of(reader, finding.case).one("section", id="outcomes").text
    assert "Benign. Histology." in shown
    assert "Counts as benign in training." in shown
    record(reader, finding, pathology="invasive", reason="Excision.")
    page = page_of(reader, finding.case)
    assert "Invasive carcinoma. Histology." in page.one("section", id="outcomes").text
    assert "Benign. Histology." in page.one("s").text


def test_a_refused_outcome_keeps_what_was_typed(reader: Client, finding: Finding) -> None:
    short = {"basis": "follow_up", "stable_from": "2024-01-01", "stable_until": "2025-01-01"}
    refused = record(reader, finding, **short)
    assert refused.status_code == 422
    page = read(refused.content)
    assert (csp_faults(page), structure_faults(page)) == ([], [])
    assert page.values()["stable_from"] == "2024-01-01"
    assert page.values()["basis"] == "follow_up"
    assert "At least 24 months after the first examination." in page.text
    record(reader, finding)
    conflict = record(reader, finding, pathology="invasive")
    assert conflict.status_code == 409
    page = read(conflict.content)
    assert page.values()["pathology"] == "invasive"
    assert "Why the current outcome no longer holds" in page.text
    assert FindingOutcome.objects.count() == 1


def test_a_finding_is_named_on_images_without_one(reader: Client, world: World) -> None:
    actor = actor_for_user(world.sonographer)
    case = submit(actor=actor, files=[phantom_jpeg(), phantom_jpeg()]).case
    image = case.images.all()[1]
    url = reverse("finding-add", args=[case.pk])
    assert "No finding is named yet." in page_of(reader, case).text
    refused = reader.post(url, {"laterality": "L", "clock_position": "2"})
    assert refused.status_code == 422
    page = read(refused.content)
    assert (csp_faults(page), structure_faults(page)) == ([], [])
    assert page.values()["clock_position"] == "2"
    assert reader.post(url, {"laterality": "L", "images": "nonsense"}).status_code == 404
    sent = {"laterality": "L", "clock_position": "2", "images": [str(image.pk)]}
    assert reader.post(url, sent).status_code == 302
    page = page_of(reader, case)
    assert "Finding 1: Left, 2 o'clock" in page.text
    assert "Shown by image 2." in page.text


def test_each_role_does_what_is_its_own(world: World, finding: Finding, sign_in: SignIn) -> None:
    found: dict[str, tuple[int, ...]] = {}
    for role in ROLES:
        client = sign_in(role=role, site=world.site)
        found[role] = (
            record(client, finding).status_code,
            client.post(reverse("finding-add", args=[finding.case_id]), {}).status_code,
            client.post(reverse("research-opt-out", args=[finding.case_id]), {}).status_code,
        )
    assert found == {
        "sonographer": (403, 403, 302),
        "radiologist": (302, 422, 302),
        "admin": (403, 403, 403),
        "approver": (403, 403, 403),
        "auditor": (403, 403, 403),
        "integration": (302, 403, 302),
    }
    stranger = sign_in(role="radiologist", site=make_site())
    assert record(stranger, finding).status_code == 404
    for name in ("finding-add", "research-opt-out"):
        assert stranger.post(reverse(name, args=[finding.case_id]), {}).status_code == 404


def test_a_patients_wish_is_noted_and_shown(world: World, reader: Client) -> None:
    url = reverse("research-opt-out", args=[world.case.pk])
    page = page_of(reader, world.case)
    assert "The patient has not opted out of research." in page.text
    reader.post(url, {"opted_out": "1"})
    assert "No part in research." in page_of(reader, world.case).text
    reader.post(url, {"opted_out": "0"})
    assert "The patient has not opted out" in page_of(reader, world.case).text
    history = read(reader.get(reverse("case-audit", args=[world.case.pk])).content).text
    assert "opts out of research" in history
