"""Answers as they come from the engine: refused ones carry nothing, senseless ones are caught."""

from __future__ import annotations

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


TRANSFORM = answer(b"picture")["transform"]


@pytest.mark.parametrize(
    ("change", "heatmap"),
    [
        (REFUSED, HEATMAP),
        ({"heatmap_shape": None}, HEATMAP),
        ({}, None),
        ({"temperature": 0}, HEATMAP),
        ({"temperature": float("inf")}, HEATMAP),
        ({"minimum_score": 1.5}, HEATMAP),
        ({"reason_code": "x" * 41}, HEATMAP),
        ({"transform": None}, HEATMAP),
        ({"transform": {**TRANSFORM, "content": [0, 0, 11, 10]}}, HEATMAP),
        ({"transform": {**TRANSFORM, "content": [3, 0, 3, 10]}}, HEATMAP),
        ({"transform": {**TRANSFORM, "fit": "<b>"}}, HEATMAP),
        ({"transform": {**TRANSFORM, "size": 0}}, HEATMAP),
        ({"transform": {**TRANSFORM, "covered": [0, 0, 0, float("nan")]}}, HEATMAP),
    ],
)
def test_what_makes_no_sense_is_no_answer(change: dict[str, Any], heatmap: bytes | None) -> None:
    with pytest.raises(AnswerInvalidError):
        answer_from(raw(**change), heatmap)
