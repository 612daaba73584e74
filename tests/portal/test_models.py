"""Models and their cards: readable whatever a card holds."""

from __future__ import annotations

import hashlib
import uuid
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from cases.access import SYSTEM
from cases.models import ModelVersion
from cases.reports.card import card_view
from cases.reports.card.sections import RESEARCH
from cases.services.learning import shipped_model_install
from tests.portal.conftest import SignIn
from tests.portal.markup import csp_faults, read, structure_faults

pytestmark = pytest.mark.django_db

FIGURES = {
    "n": 151,
    "n_refused": 1,
    "n_abstained": 2,
    "classes": ["benign", "malignant", "normal"],
    "counts": {"normal": 26, "malignant": 41, "benign": 84},
    "sensitivity": 0.951,
    "specificity": 0.802,
    "auc_malignant": 0.934,
    "confusion": [[70, 10, 4], [1, 39, 1], [2, 3, 21]],
    "ci95": {"sensitivity": [0.88, 1.0], "auc_malignant": [0.89, 0.97]},
}
CARD: dict[str, Any] = {
    "classes": ["benign", "malignant", "normal"],
    "operating_point": {"threshold": 0.412, "sensitivity": 0.95},
    "intended_use": "Research only.",
    "limits": ["One hospital.", "No men."],
    "training": {
        "data": {
            "name": "busi",
            "images": 780,
            "split": {
                "held_out": {"benign": 84, "malignant": 41, "normal": 26},
                "train": {"benign": 260, "malignant": 130, "normal": 80},
            },
        },
        "software": {"torch": "2.14.1"},
    },
    "metrics": {"validation": {**FIGURES, "n": 99}, "held_out": FIGURES},
    "something_new": {"nested": [1, 2, {"deep": True}]},
}


def install(card: dict[str, Any]) -> ModelVersion:
    weights = uuid.uuid4().bytes
    digest = {"weights": {"sha256": hashlib.sha256(weights).hexdigest()}}
    model, _ = shipped_model_install(
        actor=SYSTEM, weights=weights, card={"version": f"m-{weights.hex()[:6]}", **card, **digest}
    )
    return model


@pytest.fixture
def client(sign_in: SignIn) -> Client:
    return sign_in(role="approver")


def test_the_list_tells_state_data_and_held_out_figures_with_intervals(client: Client) -> None:
    old, new = install(CARD), install(CARD)
    text = read(client.get(reverse("model-list")).content).text
    assert text.index(new.version) < text.index(old.version)
    assert "Live" in text
    assert "Retired" in text
    assert "BUSI, 780 images" in text
    assert "151 images: Held-out part" in text
    assert "0.95 (0.88–1.00)" in text


def test_the_card_reads_from_use_and_limits_to_figures_and_making(client: Client) -> None:
    model = install(CARD)
    page = read(client.get(reverse("model-detail", args=[model.pk])).content)
    text = page.one("main").text
    text = text[text.index(RESEARCH) :]
    places = [
        text.index(words)
        for words in (
            "Research only.",
            "Limits",
            "Images by part of the training data",
            "Held-out part, never used for any choice",
            "Validation part",
            "Heatmap",
            "Calibration and operating point",
            "How it was made",
            "Other entries of the card",
            "Stored file and whole card",
            "The whole card, as it is stored",
        )
    ]
    assert places == sorted(places)
    assert "151 images: 84 benign, 41 malignant, 26 normal. 1 refused, 2 abstained" in text
    assert "Malignant threshold 0.412" in text
    assert model.sha256 in text
    assert "something new" in text
    rows = [tag.text.split() for tag in page.all("tr")]
    assert ["Malignant", "1", "39", "1"] in rows
    assert ["Train", "260", "130", "80"] in rows


ODD_CARDS: list[dict[str, Any]] = [
    {},
    {"limits": "One sentence.", "intended_use": 7, "classes": "benign"},
    {"metrics": [], "training": None, "operating_point": [0.4]},
    {"metrics": {"held_out": {"sensitivity": None, "confusion": [[1, 2], [3]]}}},
    {"metrics": FIGURES},
    {"metrics": {"held_out": {"sensitivity": 0.9, "ci95": {"sensitivity": [0.8]}}}},
    {"training": {"data": {"split": {"train": 5}, "images": "many"}}},
    {"<script>": "<script>alert(1)</script>", "limits": ["<b>x</b>"]},
    {"evaluation": {"a": "none", "b": {"n": "many"}, "c": [1]}, "comparators": [1, {"x": 2}]},
    {"heatmap": "none", "shortcuts": 3, "refusal": ["a", 1], "abstention": 0.4, "data": "busi"},
    {"heatmap": {"per_source": {"busi": {"malignant": 1, "benign": {"per_area": [1, {}]}}}}},
    {"shortcuts": {"changes": {"text": None, "<i>": {}}, "source": [], "normal_score": {"a": 1}}},
    {"evaluation": {"x": {"n": 1, "ece": 0.1, "folds": 5, "per_source": 3, "outcomes": {"a": 1}}}},
    {"calibration": {"x": {"y": [{"z": 1}, {"z": [1, 2]}]}}, "data": {"busi": {"counts": [1]}}},
]


@pytest.mark.parametrize("card", ODD_CARDS)
def test_a_card_of_any_shape_is_shown(card: dict[str, Any], client: Client) -> None:
    model = install(card)
    for url in (reverse("model-list"), reverse("model-detail", args=[model.pk])):
        response = client.get(url)
        assert response.status_code == 200
        page = read(response.content)
        assert (csp_faults(page), structure_faults(page)) == ([], [])


def test_bare_figures_count_as_one_part() -> None:
    headline = card_view({"metrics": FIGURES}).headline
    assert headline is not None
    assert headline.n == 151
    assert headline.figures[0][1] == "0.95 (0.88–1.00)"


def test_an_unknown_model_is_not_found(client: Client) -> None:
    assert client.get(reverse("model-detail", args=[uuid.uuid4()])).status_code == 404


def test_without_models_the_page_says_what_will_stand_there(client: Client) -> None:
    assert "No models yet" in read(client.get(reverse("model-list")).content).text
