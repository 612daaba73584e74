"""Any two models side by side, by what their cards state."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.urls import reverse

from cases.access import SYSTEM
from cases.models import ModelVersion, Site
from cases.reports.comparison import CLASSES
from cases.services.learning import model_candidate_register
from tests.compared import compared, hashes, locked_set
from tests.factories import live_model, make_site, unique
from tests.gates import make_plan
from tests.portal.conftest import ROLES, SignIn
from tests.portal.markup import csp_faults, read, structure_faults
from tests.training import card_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def site(db: None) -> Site:
    live_model()
    return make_site()


def carded(title: str, sensitivity: float) -> ModelVersion:
    weights = f"weights {unique()}".encode()
    card = card_of(weights, f"model-{unique()}") | {
        "evaluation": {
            "held_out": {
                "title": title,
                "n": 40,
                "classes": list(CLASSES),
                "sensitivity": sensitivity,
                "ci95": {"sensitivity": [sensitivity - 0.1, sensitivity + 0.02]},
                "confusion": [[9, 1, 0], [2, 18, 0], [0, 1, 9]],
                "per_source": {
                    name: {"n": 20, "sensitivity": sensitivity} for name in ("near", "far")
                },
            }
        }
    }
    model, _ = model_candidate_register(actor=SYSTEM, weights=weights, card=card)
    return model


def test_two_models_without_a_common_gate_are_compared_by_their_cards(
    site: Site, sign_in: SignIn
) -> None:
    first, second = carded("Held-out part of one set", 0.9), carded("Another set", 0.95)
    client = sign_in(role="radiologist", site=site)
    listed = read(client.get(reverse("model-list")).content)
    url = reverse("model-cards-compare")
    assert listed.one("a", href=url)
    assert "Choose two models" in read(client.get(url).content).text
    page = read(client.get(url, {"first": first.pk, "second": second.pk}).content)
    for words in (
        "0.90 (0.80–0.92)",
        "0.95 (0.85–0.97)",
        "measured on: Held-out part of one set. 40 images",
        "measured on: Another set",
        "may differ",
        "No gate here has judged these two",
        "By source",
        f"{first.version}, answering the largest score",
    ):
        assert (words, words in page.text) == (words, True)
    assert (page.values()["first"], page.values()["second"]) == (str(first.pk), str(second.pk))
    assert (csp_faults(page), structure_faults(page)) == ([], [])


def test_a_card_without_figures_says_so_and_nonsense_is_not_found(
    site: Site, sign_in: SignIn
) -> None:
    first, bare = carded("One set", 0.9), live_model()
    client = sign_in(role="radiologist", site=site)
    url = reverse("model-cards-compare")
    page = read(client.get(url, {"first": first.pk, "second": bare.pk}).content)
    assert "states no figures" in page.text
    same = client.get(url, {"first": first.pk, "second": first.pk})
    assert "Choose two different models" in read(same.content).text
    assert client.get(url, {"first": "x"}).status_code == 404


@pytest.mark.parametrize("role", ["admin", "radiologist"])
def test_models_that_were_judged_together_lead_to_that_comparison(
    role: str, site: Site, sign_in: SignIn, tmp_path: Path
) -> None:
    model = compared(make_plan(locked_set(tmp_path), site=site), hashes(tmp_path)).model_version
    assert model is not None
    url = reverse("model-cards-compare")
    asked = {"first": str(live_model().pk), "second": str(model.pk)}
    page = read(sign_in(role=role, site=site).get(url, asked).content)
    links = page.all("a", href=reverse("model-compare", args=[model.pk]))
    assert len(links) == (1 if role == "admin" else 0)


@pytest.mark.parametrize("role", ROLES)
def test_who_may_compare_cards(role: str, site: Site, sign_in: SignIn) -> None:
    expected = 403 if role == "auditor" else 200
    url = reverse("model-cards-compare")
    assert sign_in(role=role, site=site).get(url).status_code == expected
