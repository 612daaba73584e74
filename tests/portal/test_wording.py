"""The wording rules, read off rendered pages."""

from __future__ import annotations

import re

import pytest
from django.test import Client
from django.urls import reverse

from cases.portal.wording import action_words
from cases.services.people import actor_for_user
from cases.templatetags.portal import score, score_texts
from tests.factories import answer, make_site, make_user, submit
from tests.portal.conftest import SignIn, answer_images
from tests.portal.markup import Markup, read

pytestmark = pytest.mark.django_db

FORBIDDEN = re.compile(
    r"probabilit|bi-?rads|normal breast|no cancer|risk of|%\s*(risk|malignan|cancer|benign)", re.I
)
OUTCOMES = {
    "above": answer(0.93),
    "below": answer(0.12),
    "near": answer(0.39),
    "abstained": answer(0.02, outcome="abstained", reason="The scores lie too close together"),
    "refused": answer(0.01, outcome="refused", reason="This is not a breast ultrasound"),
}


@pytest.fixture
def pages(sign_in: SignIn) -> dict[str, str]:
    """Text of case page and worklist for a case of one image, by what the model said."""
    texts = {}
    for name, said in OUTCOMES.items():
        site = make_site()
        actor = actor_for_user(make_user(roles=["sonographer"], site=site))
        submission = submit(actor=actor)
        answer_images(submission, said)
        client: Client = sign_in(site=site)
        case = client.get(reverse("case-detail", args=[submission.case_id]))
        rows = client.get(reverse("worklist"))
        # The rows: the choices of the filters name every answer there is.
        listed = read(rows.content).one("table").text
        texts[name] = told_by_the_model(read(case.content)) + listed
    return texts


def told_by_the_model(page: Markup) -> str:
    """The page without what people read and find out: categories and labels are theirs."""
    text = page.text
    for name in ("readings", "outcomes"):
        theirs = page.one("section", id=name).text.strip()
        assert theirs in text
        text = text.replace(theirs, "")
    return text


def test_no_page_with_scores_speaks_of_probability_category_or_a_normal_breast(
    pages: dict[str, str],
) -> None:
    for text in pages.values():
        assert not FORBIDDEN.search(text)


def test_the_label_follows_the_operating_point_not_the_largest_score(
    sign_in: SignIn,
) -> None:
    site = make_site()
    actor = actor_for_user(make_user(roles=["sonographer"], site=site))
    submission = submit(actor=actor)
    # Benign is the largest score, malignant reaches its threshold.
    answer_images(submission, answer(0.41, threshold=0.4))
    client = sign_in(site=site)
    text = read(client.get(reverse("case-detail", args=[submission.case_id])).content).text
    assert "The model scores this image above its malignant threshold." in text
    assert "Below the malignant threshold" not in text


@pytest.mark.parametrize("outcome", ["abstained", "refused"])
def test_an_image_without_an_answer_never_reads_as_negative(
    outcome: str, pages: dict[str, str]
) -> None:
    text = pages[outcome]
    assert "No answer" in text
    assert "This is not a negative answer." in text
    assert not re.search(r"below the (malignant )?threshold|benign|no lesion", text, re.I)
    assert not re.search(r"\b0\.0\d", text)
    assert "0 of 1 image" in text


def test_scores_are_called_model_scores_and_a_person_decides(pages: dict[str, str]) -> None:
    for name in ("above", "below"):
        assert "Highest model score for malignant" in pages[name]
        assert "A person decides." in pages[name]


def test_a_score_is_never_shown_on_the_wrong_side_of_its_threshold() -> None:
    assert score_texts(0.3999, 0.4) == ("0.3999", "0.40")
    assert score_texts(0.4, 0.4) == ("0.40", "0.40")
    assert score_texts(0.412, 0.4149) == ("0.41", "0.4149")
    assert score_texts(0.88, 0.4) == ("0.88", "0.40")
    assert score_texts(0.42497, 0.42496) == ("0.425", "0.424960000")
    assert score_texts(0.004, 0.005) == ("0.004", "0.005")


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0426, "0.043"), (0.044, "0.044"), (0.0424, "0.04"), (0.003, "< 0.01"), (0.88, "0.88")],
)
def test_a_score_near_the_shipped_threshold_never_contradicts_it(value: float, text: str) -> None:
    assert score_texts(value, 0.04250437391444842) == (text, "0.0425")


def test_axis_card_and_list_show_the_same_score_and_threshold(sign_in: SignIn) -> None:
    site = make_site()
    submission = submit(actor=actor_for_user(make_user(roles=["sonographer"], site=site)))
    answer_images(submission, answer(0.0426, threshold=0.0425))
    client = sign_in(site=site)
    text = read(client.get(reverse("case-detail", args=[submission.case_id])).content).text
    assert "threshold 0.0425" in text
    assert "0.0425, set for a sensitivity" in text
    assert "Highest model score for malignant 0.043" in text
    listed = read(client.get(reverse("worklist")).content).text
    assert "malignant score 0.043" in listed


def test_the_history_names_the_fields_in_which_the_form_was_kept() -> None:
    detail = {"images": 1, "overridden": ["patient_id", "laterality"]}
    assert action_words("submission.created", thing="", detail=detail) == (
        "submitted 1 image (kept the form over the DICOM header: patient id, side)"
    )


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "< 0.01"), (0.003, "< 0.01"), (0.9999, "> 0.99"), (0.5, "0.50")]
)
def test_no_score_says_never_or_surely(value: float, text: str) -> None:
    assert score(value) == text
    assert score(value, 0.4) == text
