"""The form of a reading: the lexicon in groups, drafts that keep themselves, errors on top."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from cases.models import AuditEvent, Finding, Reading
from cases.services.people import actor_for_user
from tests.factories import make_site, make_user, submit
from tests.portal.conftest import ROLES, SignIn, World
from tests.portal.markup import Markup, csp_faults, read, structure_faults
from tests.portal.pages import url_of

pytestmark = pytest.mark.django_db

MASS: dict[str, Any] = {
    "category": "4B",
    "label": "malignant",
    "shape": "irregular",
    "margin": ["spiculated", "angular"],
    "size_1_mm": "12.5",
    "size_2_mm": "8",
    "text": "At the edge.",
    "version": "0",
}


@pytest.fixture
def reader(world: World, sign_in: SignIn) -> Client:
    return sign_in(make_user(roles=["radiologist"], site=world.site))


@pytest.fixture
def finding(world: World) -> Finding:
    submit(
        actor=actor_for_user(world.sonographer),
        patient_id="SECRET-ID-77",
        accession_number="ACC-0815",
        laterality="L",
        clock_position="2",
    )
    return world.case.findings.get()


def send(client: Client, world: World, name: str, **fields: Any) -> Any:
    return client.post(reverse(name, args=[world.case.pk]), fields)


def sound(response: Any) -> Markup:
    page = read(response.content)
    assert (csp_faults(page), structure_faults(page)) == ([], [])
    return page


def test_the_words_are_offered_with_nothing_chosen(
    world: World, reader: Client, finding: Finding
) -> None:
    page = sound(reader.get(url_of(world.case)))
    for legend in ("Shape", "Orientation", "Margin", "Echo pattern", "Special case"):
        assert legend in [tag.text.strip() for tag in page.all("legend")]
    chosen = {
        tag.attrs["name"]: tag.attrs["value"]
        for tag in page.all("input")
        if tag.attrs.get("type") in ("radio", "checkbox") and "checked" in tag.attrs
    }
    # How the picture is dragged is of the viewer.
    chosen = {name: value for name, value in chosen.items() if not name.startswith("tool-")}
    assert set(chosen.values()) <= {"", "none"}
    assert chosen["label"] == "none"
    # The composition is of the breast: asked in the reading of the case only.
    assert len(page.all("input", name_="tissue_composition", value="heterogeneous")) == 1


def test_a_finding_is_signed_with_its_description(
    world: World, reader: Client, finding: Finding
) -> None:
    sent = send(reader, world, "reading-write", action="sign", finding=finding.pk, **MASS)
    assert sent.status_code == 302
    page = sound(reader.get(url_of(world.case)))
    told = page.one("section", aria_label="Finding 1: Left, 2 o'clock").text
    assert "Shape Irregular" in told
    assert "Margin Not circumscribed: angular, spiculated" in told
    assert "Size 12.5 × 8 mm" in told


def test_all_that_is_wrong_is_summed_up_and_nothing_is_lost(
    world: World, reader: Client, finding: Finding
) -> None:
    wrong = {**MASS, "category": "", "size_2_mm": "wide", "margin": ["circumscribed", "angular"]}
    refused = send(reader, world, "reading-write", action="sign", finding=finding.pk, **wrong)
    assert refused.status_code == 422
    page = sound(refused)
    key = f"reading-{finding.pk}"
    summary = page.one("div", id="error-summary").text
    assert "At right angles: A number of millimetres" in summary
    assert "Margin: A margin is circumscribed, or" in summary
    assert page.one("a", href=f"#{key}-size_2_mm")
    assert page.one("input", id=f"{key}-size_2_mm").attrs["value"] == "wide"
    ticked = [
        tag.attrs["value"] for tag in page.all("input", name_="margin") if "checked" in tag.attrs
    ]
    assert ticked == ["circumscribed", "angular"]
    assert not Reading.objects.exists()


def test_words_of_a_finding_are_refused_for_the_whole_case(world: World, reader: Client) -> None:
    refused = send(reader, world, "reading-write", action="sign", category="2", shape="oval")
    assert refused.status_code == 422
    assert "This describes a finding." in read(refused.content).text


# Drafts that keep themselves


def test_a_draft_keeps_itself_and_is_signed_from_where_it_stands(
    world: World, reader: Client, finding: Finding
) -> None:
    kept = send(reader, world, "reading-keep", finding=finding.pk, shape="oval", version="0")
    assert kept.status_code == 200
    line = read(kept.content)
    assert line.values()["version"] == "1"
    assert line.one("input", form=f"reading-{finding.pk}").attrs["value"] == "1"
    assert "Draft saved" in line.text
    again = send(reader, world, "reading-keep", finding=finding.pk, shape="round", version="1")
    assert read(again.content).values()["version"] == "2"
    page = sound(reader.get(url_of(world.case)))
    assert page.values()["shape"] == "round"
    assert AuditEvent.objects.filter(action="reading.draft_saved").count() == 1
    fields = {**MASS, "version": "2", "finding": finding.pk, "action": "sign"}
    assert send(reader, world, "reading-write", **fields).status_code == 302
    assert Reading.objects.get().signed_at is not None


def test_nothing_is_kept_of_nothing(world: World, reader: Client) -> None:
    sent = send(reader, world, "reading-keep", category="", label="none", text=" ", version="0")
    assert (sent.status_code, sent.content) == (204, b"")
    assert not Reading.objects.exists()


def test_a_tab_that_knows_an_older_draft_keeps_nothing_and_is_told(
    world: World, reader: Client
) -> None:
    send(reader, world, "reading-keep", text="First tab.", version="0")
    refused = send(reader, world, "reading-keep", text="Second tab.", version="0")
    assert refused.status_code == 409
    line = read(refused.content)
    assert "saved elsewhere" in line.text
    assert line.values()["version"] == "0"
    assert Reading.objects.get().text == "First tab."


def test_what_is_not_right_yet_is_told_below_the_form(
    world: World, reader: Client, finding: Finding
) -> None:
    sent = send(reader, world, "reading-keep", finding=finding.pk, size_1_mm="1x", version="0")
    assert sent.status_code == 422
    assert "Longest axis: A number of millimetres" in read(sent.content).text
    assert not Reading.objects.exists()


def test_only_radiologists_of_the_site_keep_drafts(world: World, sign_in: SignIn) -> None:
    found = {
        role: send(
            sign_in(role=role, site=world.site), world, "reading-keep", text="x", version="0"
        ).status_code
        for role in ROLES
    }
    assert found == {role: 200 if role == "radiologist" else 403 for role in ROLES}
    stranger = sign_in(role="radiologist", site=make_site())
    assert send(stranger, world, "reading-keep", text="x", version="0").status_code == 404
