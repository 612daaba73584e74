"""Stored results: what the database refuses, and what a comparison makes of damaged ones."""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import Any

import pytest
from django.db import IntegrityError, transaction

from cases.access import SYSTEM
from cases.models import Result
from cases.services.leases import replay_job_claim
from cases.services.replays import replay_request, replay_store
from tests.factories import WORKER, answer, stored_result, submit
from tests.tampering import tamper

pytestmark = pytest.mark.django_db

MAPS = struct.pack("<147e", *([0.5] * 147))
NO_NUMBERS = struct.pack("<147e", *([float("nan")] * 147))
NO_SCORES = {"score_benign": None, "score_malignant": None, "score_normal": None}


def stored(outcome: str) -> Result:
    reason = "" if outcome == "answered" else "The reason."
    return stored_result(submit().jobs.get(), 0.8, outcome=outcome, reason=reason)


@pytest.mark.parametrize(
    ("outcome", "columns"),
    [
        ("answered", NO_SCORES),
        ("answered", {"score_benign": None}),
        ("abstained", {"score_normal": None}),
        ("answered", {"score_normal": 1.1}),
        ("answered", {"score_benign": -0.1}),
        ("answered", {"score_malignant": float("nan")}),
        ("refused", {"score_malignant": 0.8}),
        ("refused", {"score_benign": 0.8}),
        ("refused", {"heatmap": MAPS}),
        ("refused", {"reason": ""}),
    ],
)
def test_the_database_refuses_half_a_result(outcome: str, columns: dict[str, Any]) -> None:
    result = stored(outcome)
    with pytest.raises(IntegrityError, match="result_scores_unless_refused"), transaction.atomic():
        tamper(result, **columns)


@pytest.mark.parametrize("outcome", ["answered", "abstained", "refused"])
def test_the_database_keeps_a_whole_result(outcome: str) -> None:
    result = stored(outcome)
    assert result.outcome == outcome
    # The same checks, run again by an update.
    tamper(result, duration_ms=1.0)


@pytest.mark.parametrize(
    ("before", "now"), [(MAPS, NO_NUMBERS), (NO_NUMBERS, MAPS), (NO_NUMBERS, NO_NUMBERS)]
)
def test_a_heatmap_that_is_no_number_is_a_difference_that_can_be_kept(
    before: bytes, now: bytes
) -> None:
    result = stored("answered")
    tamper(result, heatmap=before)
    job = replay_request(actor=SYSTEM, result_id=result.pk)
    (claim,) = replay_job_claim(actor=WORKER, job_id=job.pk)
    told = replace(answer(0.8), heatmap=now)
    replay = replay_store(actor=WORKER, job_id=job.pk, attempt=claim.attempt, answer=told)
    assert replay is not None
    replay.refresh_from_db()
    (difference,) = replay.differences
    assert difference["what"] == "heatmap"
    assert difference["stored"] == (0.5 if before == MAPS else None)
    assert difference["now"] == (0.5 if now == MAPS else None)
    assert difference["tolerance"] > 0
