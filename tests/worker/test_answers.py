"""Answers as they come from the engine: refused ones carry nothing, senseless ones are caught."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from cases.vocabulary import Outcome
from tests.worker.fake_engine import answer
from worker.answers import AnswerInvalidError, answer_from

HEATMAP = b"\0" * 294
REFUSED: dict[str, Any] = {
    "outcome": "refused",
    "reason": "This is no B-mode ultrasound.",
    "reason_code": "not_ultrasound",
    "label": "",
    "scores": None,
    "heatmap_shape": None,
}


def raw(**change: Any) -> dict[str, Any]:
    return {**answer(b"picture"), **change}


def test_an_answer_keeps_what_is_needed_to_compute_it_again() -> None:
    told = answer_from(raw(minimum_score=0.5), HEATMAP)
    assert (told.temperature, told.minimum_score, told.reason_code) == (1.2, 0.5, "")
    assert told.transform is not None
    assert told.transform["content"] == [0, 0, 10, 10]


def test_a_refused_image_has_a_reason_and_no_label_scores_or_heatmap() -> None:
    told = answer_from(raw(**REFUSED), None)
    assert told.outcome is Outcome.REFUSED
    assert (told.label, told.scores, told.heatmap) == ("", None, None)
    assert (told.reason, told.reason_code) == (REFUSED["reason"], "not_ultrasound")


def test_an_abstained_image_keeps_its_label_and_scores() -> None:
    told = answer_from(raw(outcome="abstained", reason="Too uncertain."), HEATMAP)
    assert (told.outcome, told.label) == (Outcome.ABSTAINED, "benign")
    assert told.scores is not None


@pytest.mark.parametrize("distance", [None, 0, 1.25])
def test_the_distance_from_the_training_images_comes_with_every_answer(
    distance: float | None,
) -> None:
    assert answer_from(raw(feature_distance=distance), HEATMAP).feature_distance == distance
    assert answer_from(raw(**REFUSED, feature_distance=distance), None).feature_distance == distance


def test_the_label_follows_the_operating_point() -> None:
    scores = {"benign": 0.35, "malignant": 0.4, "normal": 0.25}
    told = answer_from(raw(scores=scores, label="malignant"), HEATMAP)
    assert (told.label, told.threshold) == ("malignant", 0.4)


TRANSFORM: dict[str, Any] = raw()["transform"]
NAN = struct.pack("<147e", *([0.5] * 146), float("nan"))
HUGE = 10**400


@pytest.mark.parametrize(
    ("change", "heatmap"),
    [
        (REFUSED, HEATMAP),
        ({"heatmap_shape": None}, HEATMAP),
        ({}, None),
        ({"temperature": 0}, HEATMAP),
        ({"feature_distance": -0.1}, HEATMAP),
        ({"feature_distance": float("nan")}, HEATMAP),
        ({"feature_distance": "far"}, HEATMAP),
        ({"temperature": float("inf")}, HEATMAP),
        ({"minimum_score": 1.5}, HEATMAP),
        ({"reason_code": "x" * 41}, HEATMAP),
        ({"transform": None}, HEATMAP),
        ({"transform": {**TRANSFORM, "content": [0, 0, 11, 10]}}, HEATMAP),
        ({"transform": {**TRANSFORM, "content": [3, 0, 3, 10]}}, HEATMAP),
        ({"transform": {**TRANSFORM, "fit": "<b>"}}, HEATMAP),
        ({"transform": {**TRANSFORM, "size": 0}}, HEATMAP),
        ({"transform": {**TRANSFORM, "covered": [0, 0, 0, float("nan")]}}, HEATMAP),
        ({"label": "malignant"}, HEATMAP),
        ({"scores": {"benign": 0.1, "malignant": 0.8, "normal": 0.1}}, HEATMAP),
        ({"outcome": "abstained", "label": "malignant", "reason": "Unsure."}, HEATMAP),
        ({"outcome": "abstained"}, HEATMAP),
        ({**REFUSED, "reason": " "}, None),
        ({}, NAN),
        ({"phash": float("inf")}, HEATMAP),
        ({"phash": -1}, HEATMAP),
        ({"phash": 1 << 64}, HEATMAP),
        ({"phash": 1.5}, HEATMAP),
        ({"transform": {**TRANSFORM, "size": float("inf")}}, HEATMAP),
        ({"transform": {**TRANSFORM, "size": True}}, HEATMAP),
        ({"transform": {**TRANSFORM, "picture": [HUGE, HUGE]}}, HEATMAP),
        ({"transform": {**TRANSFORM, "covered": [0, 0, 1e300, 10]}}, HEATMAP),
        ({"duration_ms": HUGE}, HEATMAP),
        ({"duration_ms": -1.0}, HEATMAP),
        ({"duration_ms": "1"}, HEATMAP),
        ({"temperature": True}, HEATMAP),
        ({"heatmap_shape": [3, 7.5, 7]}, HEATMAP),
        ({"reason": "half a pair: \ud800"}, HEATMAP),
        ({"scores": [5]}, HEATMAP),
        ({"operating_point": None}, HEATMAP),
    ],
)
def test_what_makes_no_sense_is_no_answer(change: dict[str, Any], heatmap: bytes | None) -> None:
    with pytest.raises(AnswerInvalidError):
        answer_from(raw(**change), heatmap)


def test_what_is_said_of_a_senseless_answer_is_short() -> None:
    with pytest.raises(AnswerInvalidError) as error:
        answer_from(raw(outcome="x" * 100_000), HEATMAP)
    assert len(str(error.value)) <= 300
