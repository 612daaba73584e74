"""The engine's answers, checked on arrival: the engine decodes untrusted pictures."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from cases.services.results import Answer
from cases.vocabulary import Label, Outcome
from worker.wire import MAX_HEATMAP_SIDE

# Pixels along a side: intake accepts no picture that comes near it.
MAX_SIDE = 1_000_000


class AnswerInvalidError(ValueError):
    """An answer that no sound engine gives."""


def answer_from(raw: dict[str, Any], heatmap: bytes | None) -> Answer:
    """``raw`` as an `Answer`. Raises ``AnswerInvalidError`` where anything is off."""
    try:
        return _checked(raw, heatmap)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        # It may quote the answer: in the log it is short.
        raise AnswerInvalidError(f"{type(error).__name__}: {error}"[:300]) from error


def _checked(raw: dict[str, Any], heatmap: bytes | None) -> Answer:
    outcome = Outcome(raw["outcome"])
    refused = outcome is Outcome.REFUSED
    scores = None if refused else _scores(raw["scores"])
    label = "" if refused else Label(raw["label"]).value
    point = raw["operating_point"]
    threshold = _share(point["threshold"])
    if scores is not None and (label == Label.MALIGNANT) != (scores["malignant"] >= threshold):
        raise ValueError("a label that contradicts the operating point")
    reason = _text(raw["reason"], 300)
    if outcome is not Outcome.ANSWERED and not reason.strip():
        raise ValueError("no answer, and no reason why")
    if refused and heatmap is not None:
        raise ValueError("a heatmap of what was refused")
    rows, columns = _shape(raw["heatmap_shape"], heatmap)
    minimum, distance = raw["minimum_score"], raw["feature_distance"]
    return Answer(
        outcome=outcome,
        reason=reason,
        reason_code=_text(raw["reason_code"], 40),
        label=label,
        scores=scores,
        threshold=threshold,
        sensitivity=_share(point["sensitivity"]),
        temperature=_positive(raw["temperature"]),
        minimum_score=None if minimum is None else _share(minimum),
        transform=_transform(raw["transform"]),
        feature_distance=None if distance is None else _at_least(0, distance),
        heatmap=heatmap,
        heatmap_rows=rows,
        heatmap_columns=columns,
        heatmap_box=_box(raw["heatmap_box"]),
        phash=_phash(raw["phash"]),
        engine=_text(raw["engine"], 80),
        preprocessing=_text(raw["preprocessing"], 80),
        duration_ms=_at_least(0, raw["duration_ms"]),
    )


def _number(value: Any) -> float:
    if type(value) not in (int, float):
        raise TypeError("not a number")
    number = float(value)
    if not math.isfinite(number):
        raise ValueError("not a finite number")
    return number


def _int(value: Any, low: int, high: int) -> int:
    if type(value) is not int or not low <= value <= high:
        raise ValueError(f"not a whole number in {low}..{high}")
    return value


def _at_least(low: float, value: Any) -> float:
    number = _number(value)
    if number < low:
        raise ValueError(f"below {low}")
    return number


def _share(value: Any) -> float:
    number = _number(value)
    if not 0 <= number <= 1:
        raise ValueError("outside 0..1")
    return number


def _positive(value: Any) -> float:
    number = _number(value)
    if number <= 0:
        raise ValueError("not above zero")
    return number


def _text(value: Any, limit: int) -> str:
    if not isinstance(value, str) or len(value) > limit or "\0" in value:
        raise ValueError("not a short text")
    # Half a surrogate pair cannot be stored.
    value.encode()
    return value


def _scores(value: Any) -> dict[str, float]:
    scores = {label.value: _share(value[label.value]) for label in Label}
    if abs(sum(scores.values()) - 1) > 0.001:
        raise ValueError("scores do not sum to 1")
    return scores


def _shape(value: Any, heatmap: bytes | None) -> tuple[int, int]:
    if heatmap is None:
        if value is not None:
            raise ValueError("a heatmap was announced and did not come")
        return 0, 0
    classes, rows, columns = (_int(side, 1, MAX_HEATMAP_SIDE) for side in value)
    if classes != len(Label) or len(heatmap) != 2 * classes * rows * columns:
        raise ValueError("heatmap size")
    if not np.isfinite(np.frombuffer(heatmap, dtype=np.float16)).all():
        raise ValueError("a heatmap with cells that are no numbers")
    return rows, columns


def _box(value: Any) -> list[float]:
    x0, y0, x1, y1 = (_number(edge) for edge in value)
    if x1 <= x0 or y1 <= y0 or max(map(abs, (x0, y0, x1, y1))) > MAX_SIDE:
        raise ValueError("heatmap box")
    return [x0, y0, x1, y1]


def _transform(value: Any) -> dict[str, Any]:
    """How the picture was put on the input square; see `Prediction.transform`."""
    width, height = (_int(side, 1, MAX_SIDE) for side in value["picture"])
    x0, y0, x1, y1 = (_int(edge, 0, MAX_SIDE) for edge in value["content"])
    if not (x0 < x1 <= width and y0 < y1 <= height):
        raise ValueError("content box")
    size = _int(value["size"], 1, MAX_SIDE)
    if value["fit"] not in ("pad", "squash"):
        raise ValueError("fit")
    return {
        "picture": [width, height],
        "content": [x0, y0, x1, y1],
        "covered": _box(value["covered"]),
        "fit": value["fit"],
        "size": size,
    }


def _phash(value: Any) -> int:
    return _int(value, 0, (1 << 64) - 1)
