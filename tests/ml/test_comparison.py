"""What the gate's report tells beside the verdict: figures, confusion matrices, curves of both."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from ml.comparison import ACTIVE, CANDIDATE, COLUMNS, SENSITIVITIES, compare
from ml.config import CLASSES
from ml.figures_compare import comparison_figures
from ml.limits import METRICS, Answers, GatePlan, LockedSet, judge
from ml.metrics import Ranking
from ml.scored import Scored

PLAN = GatePlan.from_dict(
    {
        "limits": [{"metric": "auc_malignant", "bound": -1, "against": "active"}],
        "minimum_malignant_patients": 1,
        "rounds": 200,
    }
)
TRUTH = np.array([1] * 10 + [0] * 7 + [2] * 3)
SCORES = np.array([0.9] * 9 + [0.2] + [0.1] * 8 + [0.8] * 2)
OTHER = np.array([0.9] * 6 + [0.2] * 4 + [0.1] * 9 + [0.8])


@dataclass(frozen=True)
class Pictured:
    """What a comparison asks of a dataset's record."""

    target: int


def locked(sources: tuple[str, ...] = ("here",) * 20) -> LockedSet:
    return LockedSet(TRUTH, np.arange(20), sources)


def answers(malignant: np.ndarray[Any, Any], answered: list[bool] | None = None) -> Answers:
    scores = np.stack([1 - malignant, malignant, np.zeros_like(malignant)], axis=1)
    return Answers(scores, 0.5, np.array(answered or [True] * 20))


def said(given: Answers, outcomes: dict[int, str] | None = None) -> Scored:
    labels = ["malignant" if row[1] >= 0.5 else "benign" for row in given.scores]
    known = [(outcomes or {}).get(place, "answered") for place in range(len(labels))]
    shown = tuple(
        None if outcome == "refused" else label
        for label, outcome in zip(labels, known, strict=True)
    )
    records: Any = tuple(Pictured(int(target)) for target in TRUTH)
    return Scored(records, given.scores, tuple(known), shown)


def both(**more: Any) -> dict[str, Any]:
    ours, theirs = answers(SCORES), answers(OTHER)
    return compare(
        PLAN,
        locked(**more),
        {CANDIDATE: ours, ACTIVE: theirs},
        {CANDIDATE: said(ours, {9: "abstained", 18: "refused"}), ACTIVE: said(theirs)},
    )


def test_every_figure_stands_with_its_interval_and_the_paired_one_of_the_difference() -> None:
    (part,) = both()["parts"]
    assert (part["source"], part["n"], part["patients"]) == (None, 20, 20)
    assert [row["metric"] for row in part["figures"]] == list(METRICS)
    by_name = {row["metric"]: row for row in part["figures"]}
    row = by_name["sensitivity"]
    assert (row[CANDIDATE]["value"], row[ACTIVE]["value"]) == (
        pytest.approx(0.9),
        pytest.approx(0.6),
    )
    assert row["difference"]["value"] == pytest.approx(0.3)
    low, high = row["difference"]["interval"]
    assert low <= 0.3 <= high
    # The same draws as the verdict's.
    limit = judge(PLAN, locked(), answers(SCORES), answers(OTHER))["limits"][0]
    row = by_name["auc_malignant"]
    assert row[CANDIDATE] == {"value": limit["value"], "interval": limit["interval"]}
    assert row["difference"]["interval"] == limit["difference_interval"]


def test_sources_stand_apart_and_one_without_malignant_pictures_says_less() -> None:
    parts = both(sources=("near",) * 10 + ("far",) * 10)["parts"]
    assert [(part["source"], part["n"], part["malignant_patients"]) for part in parts] == [
        (None, 20, 10),
        ("far", 10, 0),
        ("near", 10, 10),
    ]
    far = {row["metric"]: row for row in parts[1]["figures"]}
    assert far["sensitivity"][CANDIDATE] == {"value": None, "interval": None}
    assert far["sensitivity"]["difference"]["value"] is None
    assert far["specificity"][CANDIDATE]["value"] == pytest.approx(0.8)


def test_the_confusion_matrix_counts_the_answers_people_see() -> None:
    found = both()
    assert found["columns"] == [*CLASSES, "abstained", "refused"]
    at = {name: place for place, name in enumerate(COLUMNS)}
    ours, theirs = (np.array(found["confusions"][who]) for who in (CANDIDATE, ACTIVE))
    assert ours.sum() == theirs.sum() == 20
    malignant, normal = CLASSES.index("malignant"), CLASSES.index("normal")
    assert (ours[malignant, at["malignant"]], ours[malignant, at["abstained"]]) == (9, 1)
    assert (ours[normal, at["refused"]], ours[normal, at["malignant"]]) == (1, 1)
    assert theirs[malignant, at["benign"]] == 4


def test_the_numbers_beside_the_curves_are_those_of_the_scores() -> None:
    curves = both()["curves"]
    assert curves["share_malignant"] == 0.5
    rows = curves["at_sensitivity"][CANDIDATE]
    assert [row["wanted"] for row in rows] == list(SENSITIVITIES)
    ranking = Ranking(TRUTH == 1, SCORES)
    for row in rows:
        assert row["sensitivity"] >= row["wanted"] - 1e-9
        assert row["specificity"] == pytest.approx(ranking.specificity_at(row["wanted"])[0])
    own = [row for row in curves["at_threshold"][CANDIDATE] if row["own"]]
    assert len(own) == 1
    assert (own[0]["threshold"], own[0]["sensitivity"]) == (0.5, pytest.approx(0.9))
    assert sum(row["n"] for row in curves["reliability"][ACTIVE]) == 20


def test_without_a_live_model_the_candidate_stands_alone_and_all_of_it_is_json() -> None:
    ours = answers(SCORES)
    found = compare(PLAN, locked(), {CANDIDATE: ours}, {CANDIDATE: said(ours)})
    assert list(found["confusions"]) == [CANDIDATE]
    assert all("difference" not in row for row in found["parts"][0]["figures"])
    json.dumps(found, allow_nan=False)


def test_both_models_are_in_one_plot_with_their_names() -> None:
    names = {CANDIDATE: "resnet50-new", ACTIVE: "resnet50-old"}
    drawn = comparison_figures(TRUTH, {CANDIDATE: answers(SCORES), ACTIVE: answers(OTHER)}, names)
    assert set(drawn) == {"roc", "precision-recall", "thresholds", "reliability"}
    for svg in drawn.values():
        assert ET.fromstring(svg).tag.endswith("svg")
        assert all(name in svg for name in names.values())
        assert "<script" not in svg
    again = comparison_figures(TRUTH, {CANDIDATE: answers(SCORES), ACTIVE: answers(OTHER)}, names)
    assert again == drawn
    alone = comparison_figures(np.zeros(20, dtype=np.int64), {CANDIDATE: answers(SCORES)}, names)
    assert set(alone) == {"reliability"}


def test_names_too_long_for_a_legend_keep_what_they_differ_in() -> None:
    long = "resnet50-with-a-very-long-name-of-a-recipe-that-says-much"
    names = {CANDIDATE: f"{long}-2", ACTIVE: f"{long}-1"}
    drawn = comparison_figures(TRUTH, {CANDIDATE: answers(SCORES), ACTIVE: answers(OTHER)}, names)
    assert "says-much-2" in drawn["roc"]
    assert "says-much-1" in drawn["roc"]
