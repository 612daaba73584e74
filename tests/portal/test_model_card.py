"""The model card as a page: everything measured has a table, everything else is still there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from cases.reports.card import card_view
from cases.reports.card.blocks import MAX_DEPTH, Table, entry
from cases.reports.card.probes import HEATMAP
from cases.reports.card.sections import RESEARCH
from cases.reports.card.values import figure
from tests.portal.conftest import SignIn
from tests.portal.markup import Markup, csp_faults, read, structure_faults
from tests.portal.test_models import install

CLASSES = ["benign", "malignant", "normal"]
CONFUSION = [[380, 30, 17], [20, 180, 4], [10, 3, 118]]


def part(n: int, malignant: int, auc: float) -> dict[str, Any]:
    return {
        "n": n,
        "counts": {"benign": n - malignant, "malignant": malignant, "normal": 0},
        "auc_malignant": auc,
        "sensitivity": 0.9,
        "specificity": 0.7,
        "ci95": {"auc_malignant": [auc - 0.04, auc + 0.04]},
    }


EVALUATION: dict[str, Any] = {
    "title": "BUSI, grouped five-fold, out of fold",
    "command": "python -m ml.crossval --data busi --folds 5",
    "order": 1,
    "n": 762,
    "n_groups": 600,
    "n_refused": 3,
    "n_abstained": 40,
    "classes": CLASSES,
    "counts": {"benign": 427, "malignant": 204, "normal": 131},
    "accuracy": 0.8714,
    "macro_f1": 0.861,
    "auc_malignant": 0.9523,
    "sensitivity": 0.946,
    "specificity": 0.7712,
    "ece": 0.0312,
    "ci95": {
        "auc_malignant": [0.9312, 0.971],
        "accuracy": [0.84, 0.9],
        "sensitivity": [0.9, 0.98],
    },
    "wilson95": {"sensitivity": [0.906, 0.97]},
    "precision": {"benign": 0.92, "malignant": 0.84, "normal": 0.85},
    "confusion": CONFUSION,
    "at_operating_point": {"accuracy": 0.82, "confusion": CONFUSION},
    "cancer_confusion": {
        "classes": ["cancer", "non-cancer"],
        "operating_point": [[193, 11], [128, 430]],
    },
    "specificity_at_sensitivity": {
        "0.98": {
            "caught": 200,
            "malignant": 204,
            "sensitivity": 0.98,
            "sensitivity_wilson95": [0.951, 0.992],
            "specificity": 0.6,
            "threshold": 0.031,
        },
    },
    "per_source": {"busi": part(762, 204, 0.95)},
    "per_device": {"GE Logiq 7": part(300, 80, 0.91), "not stated": part(462, 124, 0.96)},
    "per_birads": {"3": part(200, 5, 0.8), "5": part(60, 58, 0.9)},
    "per_lesion_area": {
        "rule": "lesion area: share of the picture",
        "bounds": [0.06, 0.15],
        "small": part(300, 68, 0.9),
        "middle": part(170, 68, 0.95),
        "large": part(160, 68, 0.96),
    },
    "outcomes": {
        "answered": {"n": 719, "share": 0.944, "share_by_class": {"malignant": 0.95}},
        "refused": {"n": 3, "share": 0.004, "share_by_class": {"malignant": 0.0}},
    },
    "answered_only": part(719, 190, 0.96),
    "as_if_positive": {"sensitivity": 0.96, "specificity": 0.72},
    "coverage": [{"coverage": 0.9, "n": 686, "minimum_score": 0.55, "error": 0.09}],
    "folds": [{"fold": 0, "n": 153, "accuracy": 0.9}, {"fold": 1, "n": 152, "accuracy": 0.84}],
    "surprise": {"deep": [1, 2]},
}
POINTING = {
    "n": 204,
    "hit_rate": 0.902,
    "centre": 0.725,
    "fixed_point": 0.809,
    "over_better": 0.093,
    "ci95": {"hit_rate": [0.86, 0.94], "over_better": [-0.01, 0.15]},
    "per_area": [{"third": "smallest third", "area": [0.01, 0.06], "n": 68, "hit_rate": 0.8}],
}
FULL: dict[str, Any] = {
    "version": "made-up-1",
    "classes": CLASSES,
    "intended_use": "Research on breast ultrasound.",
    "limits": ["One country."],
    "known_gaps": ["Men", "People under 18", "Implants", "Lactating breasts", "Doppler"],
    "data": {
        "busi": {
            "title": "BUSI",
            "citation": "Al-Dhabyani et al. 2020",
            "licence": "CC BY 4.0",
            "images": 780,
            "counts": {"benign": 437, "malignant": 210, "normal": 133},
            "use": "training",
            "odd": "kept",
        },
        "busbra": {"title": "BUS-BRA", "images": 1015, "patients": 570},
    },
    "evaluation": {
        "busi": EVALUATION,
        "paper": {
            "title": "The paper's protocol (random)",
            "order": 2,
            "accuracy": 0.93,
            "n": 156,
            "about": ["Near-duplicates lie on both sides."],
        },
    },
    "heatmap": {
        "command": "python -m ml.explain --data busi --crossval OUT",
        "out_of_fold": True,
        "rules": {"hit": "the maximum lies in the dilated mask"},
        "per_source": {"busi": {"malignant": POINTING, "benign": {**POINTING, "n": 427}}},
    },
    "shortcuts": {
        "n": 150,
        "repeats": 2,
        "threshold": 0.1,
        "changes": {
            "text": {
                "title": "Text added",
                "n": 150,
                "what": "a short label",
                "mean_abs_change": 0.013,
                "flipped": 0.021,
                "ci95": {"mean_abs_change": [0.009, 0.018]},
            },
            "mirrored": {"title": "Mirrored", "n": 150, "mean_abs_change": 0.05, "flipped": 0.03},
            "new_change": {"n": 3},
        },
        "source": {
            "facts": "width, height",
            "per_class": {
                "benign": {
                    "chance": 0.5,
                    "features": {"balanced_accuracy": 0.98, "auc": 0.998},
                    "facts": {"balanced_accuracy": 0.92, "auc": 0.98},
                    "sentence": "A probe tells the source.",
                }
            },
        },
        "normal_score": {"busbra": {"n": 90, "mean_normal_score": 0.2, "called_normal": 0.04}},
    },
    "refusal": {
        "rule": "refused when the distance is above the threshold",
        "refused": 0.97,
        "n": 120,
        "ci95": {"refused": [0.93, 0.99]},
        "by_kind": [
            {"kind": "photo", "n": 60, "refused": 0.98},
            {"kind": "noise", "n": 60, "refused": 0.96},
        ],
    },
    "abstention": {"minimum_score": 0.45, "rule": "no answer below minimum_score"},
    "comparators": {"glcm_svm": {"accuracy": 0.7}},
    "temperature": 1.21,
    "operating_point": {"threshold": 0.112, "sensitivity": 0.95},
    "training": {
        "data": {"name": "busi+busbra", "images": 1795, "split": {"train": {"benign": 900}}},
        "seconds": 4139,
        "config": {"epochs": 11},
    },
    "someday": [{"a": 1}],
}


@pytest.fixture
def page(db: None, sign_in: SignIn) -> Markup:
    model = install(FULL)
    client: Client = sign_in(role="approver")
    return read(client.get(reverse("model-detail", args=[model.pk])).content)


def rows(page: Markup) -> list[str]:
    return [tag.text.strip() for tag in page.all("tr")]


def test_the_page_keeps_the_policy_and_its_tables_are_named(page: Markup) -> None:
    assert (csp_faults(page), structure_faults(page)) == ([], [])
    assert len(page.all("table")) == len(page.all("caption")) > 15
    assert all(tag.attrs.get("scope") in ("col", "row") for tag in page.all("th"))


def test_research_use_and_limits_come_before_any_figure(page: Markup) -> None:
    text = page.one("main").text
    first = text.index("Figures side by side")
    assert text.index(RESEARCH) < text.index("One country.") < text.index("Men") < first
    anchors = {tag.attrs["href"] for tag in page.all("a") if tag.attrs["href"].startswith("#")}
    ids = {f"#{tag.attrs['id']}" for tag in page.tags if "id" in tag.attrs}
    assert anchors <= ids


def test_data_stand_with_counts_terms_and_use(page: Markup) -> None:
    assert "BUSI 780 437 210 133 " in " ".join(rows(page)) + " "
    assert "BUSI training Al-Dhabyani et al. 2020 CC BY 4.0" in rows(page)
    assert "odd kept" in page.text


def test_the_papers_protocol_stands_beside_the_grouped_one(page: Markup) -> None:
    text = page.text
    assert "762 images in 600 groups: 427 benign, 204 malignant, 131 normal." in text
    assert "3 refused, 40 abstained" in text
    beside = [r for r in rows(page) if r.startswith(("BUSI, grouped", "The paper's protocol"))]
    assert len(beside) == 2
    assert "0.95 (0.93–0.97)" in beside[0]
    assert "0.93" in beside[1]
    assert "python -m ml.crossval --data busi --folds 5" in text


ROWS = [
    "Sensitivity for malignant, at the operating point 0.95 (0.90–0.98)",
    "Malignant 20 180 4",
    "Malignant 193 11",
    "Small 300 68 0.90 (0.86–0.94) 0.90 0.70",
    "5 60 58 0.90 (0.86–0.94) 0.90 0.70",
    "Not stated 462 124 0.96 (0.92–1.00) 0.90 0.70",
    "98 % 0.98 (0.95–0.99) 200 of 204 0.60 0.031",
    "Answered 719 94.4 % 95.0 %",
    "90.0 % 686 0.550 0.090",
    "Malignant, BUSI 204 0.90 (0.86–0.94) 0.72 0.81 +0.09 (−0.01 to 0.15)",
    "Malignant, BUSI: smallest third 1.0 % to 6.0 % 68 0.80",
    "Text added 150 0.013 (0.009–0.018) 2.1 %",
    "Benign 0.50 0.98 0.998 0.92 0.98",
    "BUS-BRA no 90 0.20 4.0 %",
    "Refused 0.97 (0.93–0.99)",
    "photo 60 0.98",
]


def test_each_measured_thing_has_its_row(page: Markup) -> None:
    found = rows(page)
    missing = [row for row in ROWS if not any(one.startswith(row) for one in found)]
    assert missing == []


def test_the_heatmap_is_called_coarse_on_every_card() -> None:
    for card in (FULL, {"version": "old"}):
        heatmap = next(s for s in card_view(card).sections if s.key == "heatmap")
        assert HEATMAP in [getattr(block, "text", "") for block in heatmap.blocks]
    assert "neither the extent of a lesion nor the cause" in HEATMAP


def test_nothing_on_the_card_is_dropped(page: Markup) -> None:
    for words in ("surprise", "someday", "New change", "Glcm svm", "glcm svm", "seconds"):
        assert words.lower() in page.text.lower()
    assert "A probe tells the source." in page.text


def test_a_three_class_confusion_gives_the_cancer_matrix_where_the_card_has_none() -> None:
    fields = {**EVALUATION, "cancer_confusion": None}
    (section,) = (
        s for s in card_view({"evaluation": {"x": fields}}).sections if s.key == "evaluation"
    )
    tables = [b for p in section.parts for b in p.blocks if isinstance(b, Table)]
    cancer = next(t for t in tables if t.caption == "Malignant or not, operating point")
    assert cancer.rows == (("Malignant", "180", "24"), ("Not malignant", "33", "525"))


def test_hostile_words_are_shown_as_words(db: None, sign_in: SignIn) -> None:
    bad = "<script>alert(1)</script>"
    evaluation = {**EVALUATION, "title": bad, "command": bad, "classes": [bad], bad: bad}
    model = install({"evaluation": {bad: evaluation}, "limits": [bad], "refusal": {bad: bad}})
    html = sign_in(role="approver").get(reverse("model-detail", args=[model.pk])).content.decode()
    assert bad not in html
    assert html.count("&lt;script&gt;alert(1)&lt;/script&gt;") > 5
    assert csp_faults(read(html)) == []


def test_the_shipped_card_reads_well(db: None, sign_in: SignIn) -> None:
    weights = Path(__file__).parents[2] / "ml" / "weights"
    (path,) = weights.glob("*.json")
    card = {k: v for k, v in json.loads(path.read_text()).items() if k != "version"}
    model = install(card)
    page = read(sign_in(role="approver").get(reverse("model-detail", args=[model.pk])).content)
    assert (csp_faults(page), structure_faults(page)) == ([], [])
    assert len(page.all("table")) > 5
    assert card_view(card).headline is not None


@pytest.mark.parametrize(
    ("value", "bounds", "shown"),
    [
        (0.9523, [0.9312, 0.971], "0.95 (0.93–0.97)"),
        (0.9523, [0.945, 0.96], "0.952 (0.945–0.960)"),
        (0.9523, None, "0.95"),
        (0.0523, None, "0.052"),
        (0.9996, [0.97, 1.0], "0.9996 (0.9700–1.0000)"),
        (1.0, [1.0, 1.0], "1.00 (1.00–1.00)"),
        (0.0, None, "0.00"),
        (1.0, None, "1.00"),
        (-0.05, [-0.15, 0.05], "−0.05 (−0.15 to 0.05)"),
        (None, [0.1, 0.2], "–"),
        (float("nan"), None, "–"),
        (0.5, [0.4], "0.50"),
        ("high", None, "–"),
        (True, None, "–"),
    ],
)
def test_figures_have_as_many_digits_as_they_can_bear(
    value: object, bounds: object, shown: str
) -> None:
    assert figure(value, bounds) == shown


def nested(levels: int) -> dict[str, Any]:
    return {"deeper": nested(levels - 1)} if levels else {"bottom": 1}


def test_numbers_and_nesting_beyond_measure_are_shown_or_left_out_by_word(
    db: None, sign_in: SignIn
) -> None:
    huge = 10**400
    evaluation = {
        **EVALUATION,
        "n": huge,
        "accuracy": huge,
        "ci95": {"accuracy": [0, huge]},
        "confusion": [[huge] * 3] * 3,
        "folds": [{"fold": huge, "accuracy": huge}, {"fold": 1}],
    }
    card = {**FULL, "evaluation": {"busi": evaluation}, "odd": huge, "deep": nested(400)}
    model = install(card)
    client = sign_in(role="approver")
    page = read(client.get(reverse("model-detail", args=[model.pk])).content)
    assert str(huge) in page.text
    assert "nested too deeply to be shown here" in page.text
    assert client.get(reverse("model-list")).status_code == 200


def test_what_is_not_nested_too_deeply_is_shown_to_the_bottom() -> None:
    shown = entry("a", nested(MAX_DEPTH - 2))
    for _ in range(MAX_DEPTH - 1):
        (shown,) = shown.children
    assert (shown.label, shown.value) == ("bottom", "1")
