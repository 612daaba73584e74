"""The engine's answers, checked on arrival: the engine decodes untrusted pictures."""

from __future__ import annotations

import math
from typing import Any

from cases.services.results import Answer
from cases.vocabulary import Label, Outcome

MAX_HEATMAP_SIDE = 64


class AnswerInvalidError(ValueError):
    """An answer that no sound engine gives."""


def answer_from(raw: dict[str, Any], heatmap: bytes | None) -> Answer:
    """``raw`` as an `Answer`. Raises ``AnswerInvalidError`` where anything is off."""
    try:
        return _checked(raw, heatmap)
    except (KeyError, TypeError, ValueError) as error:
        raise AnswerInvalidError(f"{type(error).__name__}: {error}") from error


def _checked(raw: dict[str, Any], heatmap: bytes | None) -> Answer:
    outcome = Outcome(raw["outcome"])
    refused = outcome is Outcome.REFUSED
    scores = None if refused else _scores(raw["scores"])
    label = "" if refused else Label(raw["label"]).value
    point = raw["operating_point"]
    if refused and heatmap is not None:
        raise ValueError("a heatmap of what was refused")
    rows, columns = _shape(raw["heatmap_shape"], heatmap)
    minimum = raw["minimum_score"]
    return Answer(
        outcome=outcome,
        reason=_text(raw["reason"], 300),
        reason_code=_text(raw["reason_code"], 40),
        label=label,
        scores=scores,
        threshold=_share(point["threshold"]),
        sensitivity=_share(point["sensitivity"]),
        temperature=_positive(raw["temperature"]),
        minimum_score=None if minimum is None else _share(minimum),
        transform=_transform(raw["transform"]),
        heatmap=heatmap,
        heatmap_rows=rows,
        heatmap_columns=columns,
        heatmap_box=_box(raw["heatmap_box"]),
        phash=_phash(raw["phash"]),
        engine=_text(raw["engine"], 80),
        preprocessing=_text(raw["preprocessing"], 80),
        duration_ms=_number(raw["duration_ms"]),
    )


def _number(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError("not a finite number")
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
    classes, rows, columns = (int(side) for side in value)
    if classes != len(Label) or not 1 <= rows <= MAX_HEATMAP_SIDE:
        raise ValueError("heatmap shape")
    if not 1 <= columns <= MAX_HEATMAP_SIDE or len(heatmap) != 2 * classes * rows * columns:
        raise ValueError("heatmap size")
    return rows, columns


def _box(value: Any) -> list[float]:
    x0, y0, x1, y1 = (_number(edge) for edge in value)
    if x1 <= x0 or y1 <= y0:
        raise ValueError("heatmap box")
    return [x0, y0, x1, y1]


def _transform(value: Any) -> dict[str, Any]:
    """How the picture was put on the input square; see `Prediction.transform`."""
    width, height = (int(side) for side in value["picture"])
    x0, y0, x1, y1 = (int(edge) for edge in value["content"])
    if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
        raise ValueError("content box")
    size = int(value["size"])
    if value["fit"] not in ("pad", "squash") or size < 1:
        raise ValueError("fit or size")
    return {
        "picture": [width, height],
        "content": [x0, y0, x1, y1],
        "covered": _box(value["covered"]),
        "fit": value["fit"],
        "size": size,
    }


def _phash(value: Any) -> int:
    number = int(value)
    if not 0 <= number < 1 << 64:
        raise ValueError("phash")
    return number
