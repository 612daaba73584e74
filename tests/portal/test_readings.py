"""Reading a case at the portal: drafts, signatures, addenda, two tabs, who may."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from cases.models import AuditEvent, Reading
from cases.services.jobs import job_rerun
from cases.services.people import actor_for_user
from tests.factories import make_site, make_user, stored_result, submit
from tests.portal.conftest import ROLES, SignIn, World
from tests.portal.markup import Markup, csp_faults, read, structure_faults
from tests.portal.pages import url_of

pytestmark = pytest.mark.django_db

TYPED = {"category": "4A", "label": "benign", "text": "An oval mass.", "version": "0"}


@pytest.fixture
def reader(world: World, sign_in: SignIn) -> Client:
    return sign_in(make_user(roles=["radiologist"], site=world.site))


def write(client: Client, world: World, action: str, **fields: Any) -> Any:
    url = reverse("reading-write", args=[world.case.pk])
    return client.post(url, {**TYPED, "action": action, **fields})


def readings(client: Client, world: World) -> str:
    return read(client.get(url_of(world.case)).content).one("section", id="readings").text


def sound(page: Markup) -> Markup:
    assert (csp_faults(page), structure_faults(page)) == ([], [])
    return page


def test_a_draft_is_saved_shown_again_and_signed(world: World, reader: Client) -> None:
    assert "Not read yet." in readings(reader, world)
    assert write(reader, world, "save").status_code == 302
    page = sound(read(reader.get(url_of(world.case)).content))
    assert "Draft saved. Nobody else sees it until you sign." in page.text
    assert page.values()["category"] == "4A"
    assert page.values()["version"] == "1"
    assert "An oval mass." in page.one("textarea").text
    signed = write(reader, world, "sign", version="1", text="An oval mass, 9 mm.")
    assert signed.headers["Location"].endswith("#readings")
    shown = readings(reader, world)
    assert "BI-RADS 4A: low suspicion · Benign An oval mass, 9 mm." in shown
    assert "by BI-RADS 5th ed. (2013). An answer of the model had been seen." in shown
    assert "Write a reading" not in shown
    assert "Add an addendum" in shown


def test_a_rerun_stands_beside_the_answer_of_record(world: World, reader: Client) -> None:
    write(reader, world, "sign")
    before = readings(reader, world)
    assert "Answers live at the time (1)" in before
    assert "Image 1: malignant score 0.88, model test-model" in before
    assert "a newer one stands beside" not in before
    again = job_rerun(actor=actor_for_user(world.sonographer), job_id=world.job.pk)
    stored_result(again, 0.12)
    after = readings(reader, world)
    assert "Image 1: malignant score 0.88" in after
    assert "0.12" not in after
    assert "Answers live at the time (1); a newer one stands beside" in after


def test_an_addendum_is_signed_under_its_reading(world: World, reader: Client) -> None:
    write(reader, world, "sign")
    root = Reading.objects.get()
    write(reader, world, "sign", addendum_to=root.pk, category="", label="none", text="Left side.")
    shown = readings(reader, world)
    assert "Addendum Left side. Addendum signed by" in shown
    sound(read(reader.get(url_of(world.case)).content))


def test_the_second_tab_is_told_and_loses_nothing(world: World, reader: Client) -> None:
    write(reader, world, "save", text="First tab.")
    refused = write(reader, world, "save", text="Second tab.", category="5")
    assert refused.status_code == 409
    page = sound(read(refused.content))
    assert "This draft was saved elsewhere since you opened it" in page.text
    assert "First tab." in page.one("section", aria_labelledby="stored-title").text
    assert page.one("textarea").text.strip() == "Second tab."
    assert (page.values()["category"], page.values()["version"]) == ("5", "1")
    # Sent again from there it is meant.
    assert write(reader, world, "save", text="Second tab.", version="1").status_code == 302
    assert Reading.objects.get().text == "Second tab."


def test_a_reading_without_a_category_is_not_signed_and_not_lost(
    world: World, reader: Client
) -> None:
    refused = write(reader, world, "sign", category="", text="Typed with care.")
    assert refused.status_code == 422
    page = sound(read(refused.content))
    assert "Category: Choose a category before you sign." in page.text
    assert page.one("textarea").text.strip() == "Typed with care."
    assert page.one("a", href="#reading-case-category")
    assert not Reading.objects.exists()


def test_a_finding_is_read_apart_from_the_case(world: World, reader: Client) -> None:
    submit(
        actor=actor_for_user(world.sonographer),
        patient_id="SECRET-ID-77",
        accession_number="ACC-0815",
        laterality="L",
        clock_position="2",
    )
    finding = world.case.findings.get()
    write(reader, world, "sign", finding=finding.pk, category="2")
    page = sound(read(reader.get(url_of(world.case)).content))
    place = page.one("section", aria_label="Finding 1: Left, 2 o'clock").text
    assert "BI-RADS 2: benign" in place
    assert "Not read yet." in page.one("section", aria_label="The case as a whole").text


def test_a_draft_is_thrown_away(world: World, reader: Client) -> None:
    write(reader, world, "save")
    url = reverse("reading-discard", args=[Reading.objects.get().pk])
    assert reader.post(url, {"version": "9"}).status_code == 409
    assert reader.post(url, {"version": "1"}).status_code == 302
    assert not Reading.objects.exists()


def test_a_colleague_sees_what_is_signed_and_no_draft(
    world: World, reader: Client, sign_in: SignIn
) -> None:
    write(reader, world, "save", text="Half a thought.")
    colleague = sign_in(role="radiologist", site=world.site)
    assert "Half a thought." not in readings(colleague, world)
    write(reader, world, "sign", text="A whole thought.", version="1")
    shown = readings(colleague, world)
    assert "A whole thought." in shown
    assert "Write a reading" not in shown or "Add an addendum" in shown


def test_the_timeline_tells_of_what_was_signed_not_of_drafts_and_looks(
    world: World, reader: Client, sign_in: SignIn
) -> None:
    colleague = sign_in(role="radiologist", site=world.site)

    def timeline() -> str:
        page = read(colleague.get(url_of(world.case)).content)
        return page.one("section", aria_labelledby="timeline-title").text

    before = timeline()
    write(reader, world, "save")
    reader.post(reverse("reading-discard", args=[Reading.objects.get().pk]), {"version": "1"})
    write(reader, world, "save")
    assert timeline() == before
    write(reader, world, "sign", version="1")
    signed = timeline()
    assert "signed a reading" in signed
    listed = colleague.get("/api/v1/readings/", {"case": str(world.case.pk)})
    assert len(listed.json()["results"]) == 1
    assert timeline() == signed
    # The whole history keeps what the timeline leaves out.
    history = read(colleague.get(reverse("case-audit", args=[world.case.pk])).content).text
    assert "Saved a draft of a reading" in history


def test_an_administrator_sees_no_text_and_no_form(
    world: World, reader: Client, sign_in: SignIn
) -> None:
    write(reader, world, "sign", text="Mrs Zebrafish has a mass.")
    shown = readings(sign_in(role="admin", site=world.site), world)
    assert "BI-RADS 4A" in shown
    assert "Zebrafish" not in shown
    assert "Text hidden" in shown
    assert "addendum" not in shown.lower()


def test_only_radiologists_of_the_site_write(world: World, sign_in: SignIn) -> None:
    found = {
        role: write(sign_in(role=role, site=world.site), world, "sign").status_code
        for role in ROLES
    }
    assert found == {role: 302 if role == "radiologist" else 403 for role in ROLES}
    stranger = sign_in(role="radiologist", site=make_site())
    assert write(stranger, world, "sign").status_code == 404
    assert write(Client(), world, "sign").status_code == 302
    assert Reading.objects.count() == 1
    assert write(stranger, world, "sign", finding="nonsense").status_code == 404


def test_an_answer_that_appears_while_one_looks_was_seen(world: World, reader: Client) -> None:
    late = submit(actor=actor_for_user(world.sonographer))
    url = reverse("case-detail", args=[late.case_id])
    page = read(reader.get(url).content)
    stored_result(late.jobs.get(), 0.7)
    sign = reverse("reading-write", args=[late.case_id])
    finding_free = {**TYPED, "action": "sign"}
    assert reader.get(page.one("div", id="case-live").attrs["hx-get"]).status_code == 200
    reader.post(sign, finding_free)
    assert Reading.objects.get(case=late.case).ai_seen is True


def test_a_score_in_the_worklist_was_seen(world: World, reader: Client) -> None:
    reader.get(reverse("worklist"))
    write(reader, world, "sign")
    assert Reading.objects.get().ai_seen is True


@pytest.mark.parametrize("name", ["model-recall", "model-recall-csv"])
def test_an_answer_in_a_recall_list_was_seen(name: str, world: World, reader: Client) -> None:
    other = submit(actor=actor_for_user(world.sonographer))
    result = stored_result(other.jobs.get(), 0.7)
    url = reverse(name, args=[world.result.model_version_id])
    # Up to the second answer, which is not in the list then.
    response = reader.get(url, {"until": result.created_at.isoformat()})
    if response.streaming:
        assert str(world.result.pk) in b"".join(response).decode()
    write(reader, world, "sign")
    reader.post(
        reverse("reading-write", args=[other.case_id]), {**TYPED, "action": "sign", "version": "0"}
    )
    seen = dict(Reading.objects.values_list("case", "ai_seen"))
    assert seen == {world.case.pk: True, other.case_id: False}
    read_of = AuditEvent.objects.filter(action="result.read")
    assert [event.object_id for event in read_of] == [str(world.result.pk)]


def test_an_answer_that_came_after_the_page_was_not_seen(world: World, reader: Client) -> None:
    late = submit(actor=actor_for_user(world.sonographer))
    reader.get(reverse("case-detail", args=[late.case_id]))
    result = stored_result(late.jobs.get(), 0.7)
    reader.post(reverse("reading-write", args=[late.case_id]), {**TYPED, "action": "sign"})
    signed = Reading.objects.get()
    assert (signed.ai_seen, signed.results_of_record) == (False, [result.pk])
