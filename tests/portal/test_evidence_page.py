"""What the model was not tested on, beside the answer and in the API."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse

from cases.access import Actor
from cases.models import CaseCircumstance, Result
from cases.portal import images
from cases.reports.evidence import Measured
from tests.factories import answer, make_site, stored_result, submit
from tests.portal.conftest import SignIn, World, answer_images
from tests.portal.markup import csp_faults, read, structure_faults
from tests.portal.pages import cards, url_of

pytestmark = pytest.mark.django_db


def test_the_flags_stand_on_the_card_and_change_no_answer(
    actor: Actor, radiologist: Client, sign_in: SignIn
) -> None:
    submission = submit(actor=actor, sex="M", indication="post_treatment")
    result = stored_result(submission.jobs.get(), 0.88)
    before = Result.objects.values().get(pk=result.pk)
    page = read(radiologist.get(url_of(submission.case)).content)
    (card,) = cards(page)
    assert "Outside the model's evidence" in card
    for words in ("The patient is male.", "The breast was treated before.", "nobody knows"):
        assert words in card
    assert "0.88" in card
    assert Result.objects.values().get(pk=result.pk) == before
    # Sex is identity: administrators see what rests on the case alone.
    admin = sign_in(role="admin", site=submission.case.site)
    (card,) = cards(read(admin.get(url_of(submission.case)).content))
    assert "The breast was treated before." in card
    assert "The patient is male." not in card


def test_a_usual_patient_has_no_flag(world: World, sign_in: SignIn) -> None:
    page = read(sign_in(world.sonographer).get(url_of(world.case)).content)
    assert "Outside the model's evidence" not in page.text
    said = page.one("section", id="evidence").text
    assert "The record shows nothing that the model was not tested on." in said


def test_the_figures_are_told_with_the_data_they_come_from(
    world: World, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = Measured("0.94 (0.92–0.96)", "0.56 (0.53–0.59)", 1777, "Out of fold")
    monkeypatch.setattr(images, "measured_of", lambda card: measured)
    client = sign_in(world.sonographer)
    (card,) = cards(read(client.get(url_of(world.case)).content))
    told = "1,777 images, each scored by a model that was not trained on it"
    assert f"{told}, at the threshold, with 95 % intervals." in card
    report = read(client.get(reverse("case-report", args=[world.case.pk])).content)
    assert (
        f"Sensitivity 0.94 (0.92–0.96), specificity 0.56 (0.53–0.59). {told}, with 95 % intervals"
    ) in report.text


@pytest.mark.parametrize("outcome", ["abstained", "refused"])
def test_no_figure_of_the_model_stands_beside_what_it_did_not_answer(
    outcome: str, actor: Actor, radiologist: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = Measured("0.94 (0.92–0.96)", "0.56 (0.53–0.59)", 1777, "Out of fold")
    monkeypatch.setattr(images, "measured_of", lambda card: measured)
    submission = submit(actor=actor)
    stored_result(submission.jobs.get(), 0.5, outcome=outcome, reason="No.")
    (card,) = cards(read(radiologist.get(url_of(submission.case)).content))
    report = reverse("case-report", args=[submission.case_id])
    for told in (card, read(radiologist.get(report).content).text):
        assert "Looked at" in told
        assert "Measured" not in told and "Sensitivity" not in told
        assert "Answered" not in told


def test_a_person_states_it_and_takes_it_back(world: World, sign_in: SignIn) -> None:
    client = sign_in(world.sonographer)
    url = reverse("case-circumstances", args=[world.case.pk])
    seen = {"was_implant": "0", "was_lactating": "0", "was_treated": "0"}
    response = client.post(url, {**seen, "implant": "1"}, follow=True)
    page = read(response.content)
    assert "Noted. The answers stay as they are." in page.text
    assert "The breast has an implant." in cards(page)[0]
    assert f"stated by {world.sonographer.username}" in page.one("section", id="evidence").text
    assert (csp_faults(page), structure_faults(page)) == ([], [])
    # Somebody with an older page ticks another box: the implant is not taken back by that.
    client.post(url, {**seen, "lactating": "1"})
    stated = {c.kind for c in CaseCircumstance.objects.filter(applies=True)}
    assert stated == {"implant", "lactating"}
    page = read(client.post(url, {**seen, "was_implant": "1"}, follow=True).content)
    assert "The breast has an implant." not in cards(page)[0]


def test_who_may_not_submit_may_not_state_it_and_another_site_finds_nothing(
    world: World, sign_in: SignIn
) -> None:
    url = reverse("case-circumstances", args=[world.case.pk])
    assert sign_in(role="admin", site=world.site).post(url, {"implant": "1"}).status_code == 403
    assert sign_in(site=make_site()).post(url, {"implant": "1"}).status_code == 404
    assert not CaseCircumstance.objects.exists()
    admin = sign_in(role="admin", site=world.site)
    assert "Save what applies" not in read(admin.get(url_of(world.case)).content).text


def test_an_abstention_says_what_to_do_without_an_answer(actor: Actor, radiologist: Client) -> None:
    submission = submit(actor=actor)
    answer_images(submission, answer(0.55, outcome="abstained"))
    (card,) = cards(read(radiologist.get(url_of(submission.case)).content))
    assert "This is not a negative answer." in card
    assert "How to read this" in card
    assert "read the image as if there were no model" in card


def test_beside_an_answer_it_is_told_how_it_is_read(world: World, sign_in: SignIn) -> None:
    (card,) = cards(read(sign_in(world.sonographer).get(url_of(world.case)).content))
    assert "How to read this" in card
    assert "whether the malignant score reaches the threshold" in card
