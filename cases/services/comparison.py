"""Whether a result that was computed again is the stored one, within a stated tolerance."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from cases.models import Result
from cases.services.results import Answer

Difference = dict[str, Any]


class Tolerance(NamedTuple):
    """``score``: largest difference of a calibrated score. ``heatmap``: largest difference of a
    cell, as a share of the stored map's largest absolute value."""

    score: float
    heatmap: float


# Batches of another size add up in another order: about 1e-6 in a score. Heatmaps are float16,
# where neighbouring values lie 1e-3 of themselves apart.
SAME_ENGINE = Tolerance(1e-5, 2e-3)
OTHER_ENGINE = Tolerance(1e-3, 1e-2)
# GPUs compute in bfloat16, with 8 bits of precision.
GPU = Tolerance(3e-2, 1e-1)
# Settings are stored as they were read: they do not depend on any arithmetic.
EXACT = 1e-9
# Boxes are in pixels of the frame.
BOX = 1e-3


def tolerance_between(stored_engine: str, engine: str) -> Tolerance:
    """How far results of these engines (named name-version-device) may lie apart."""
    if "-cuda" in stored_engine or "-cuda" in engine:
        return GPU
    return SAME_ENGINE if stored_engine == engine else OTHER_ENGINE


def differences(result: Result, answer: Answer, tolerance: Tolerance) -> list[Difference]:
    """What of the stored ``result`` does not come out again; empty where all of it does.

    Each: ``what`` differs, its ``stored`` value and its value ``now``, and for numbers the
    ``tolerance``. What a result of an earlier version did not store yet is not compared. A value
    that is no finite number differs from everything, and is None: JSON has no word for it.
    """
    found = [
        *_words(result, answer),
        *_numbers(result, answer, tolerance),
        *_transform(result, answer),
        *_heatmap(result, answer, tolerance),
    ]
    return [{name: _stateable(value) for name, value in one.items()} for one in found]


def _stateable(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _words(result: Result, answer: Answer) -> Iterator[Difference]:
    pairs = [
        ("outcome", result.outcome, answer.outcome.value),
        ("label", result.label, answer.label),
        ("preprocessing", result.preprocessing, answer.preprocessing),
    ]
    if result.transform is not None:
        pairs.append(("reason_code", result.reason_code, answer.reason_code))
    for what, stored, now in pairs:
        if stored != now:
            yield {"what": what, "stored": stored, "now": now}


def _numbers(result: Result, answer: Answer, tolerance: Tolerance) -> Iterator[Difference]:
    stored_scores, scores = result.probabilities or {}, answer.scores or {}
    pairs: list[tuple[str, float | None, float | None, float]] = [
        (f"score_{label}", stored_scores.get(label), scores.get(label), tolerance.score)
        for label in sorted({*stored_scores, *scores})
    ]
    pairs += [
        ("threshold", result.threshold, answer.threshold, EXACT),
        ("sensitivity", result.sensitivity, answer.sensitivity, EXACT),
    ]
    if result.transform is not None:
        pairs += [
            ("temperature", result.temperature, answer.temperature, EXACT),
            ("minimum_score", result.minimum_score, answer.minimum_score, EXACT),
        ]
    for what, stored, now, allowed in pairs:
        if not _near(stored, now, allowed):
            yield {"what": what, "stored": stored, "now": now, "tolerance": allowed}


def _near(stored: float | None, now: float | None, allowed: float) -> bool:
    if stored is None or now is None:
        return stored is now
    return abs(stored - now) <= allowed


def _transform(result: Result, answer: Answer) -> Iterator[Difference]:
    stored, now = result.transform, answer.transform
    if stored is None:
        return
    for what in ("picture", "content", "fit", "size"):
        then, again = stored.get(what), (now or {}).get(what)
        if then != again:
            yield {"what": what, "stored": then, "now": again}


def _heatmap(result: Result, answer: Answer, tolerance: Tolerance) -> Iterator[Difference]:
    stored, now = _maps(result), _maps(answer)
    if stored is None or now is None or stored.shape != now.shape:
        if stored is not now:
            shapes = [None if maps is None else list(maps.shape) for maps in (stored, now)]
            yield {"what": "heatmap_shape", "stored": shapes[0], "now": shapes[1]}
        return
    box, again = result.heatmap_box or [], answer.heatmap_box or []
    if len(box) != len(again) or not np.allclose(box, again, rtol=0, atol=BOX):
        yield {"what": "heatmap_box", "stored": box, "now": again, "tolerance": BOX}
    largest = np.abs(stored[np.isfinite(stored)]).max(initial=1e-3)
    allowed = tolerance.heatmap * float(largest)
    with np.errstate(invalid="ignore"):
        # Where one of them is no number, that cell is the worst.
        worst = int(np.abs(stored - now).argmax())
    then, here = float(stored.flat[worst]), float(now.flat[worst])
    # "not below" also where one of them is no number.
    if not abs(then - here) <= allowed:
        yield {"what": "heatmap", "stored": then, "now": here, "tolerance": allowed}


def _maps(source: Result | Answer) -> np.ndarray[Any, np.dtype[np.float64]] | None:
    if not source.heatmap:
        return None
    values = np.frombuffer(bytes(source.heatmap), dtype=np.float16).astype(np.float64)
    return values.reshape(3, source.heatmap_rows, source.heatmap_columns)
