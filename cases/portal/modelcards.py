"""A model card (JSON) as a page: what is known gets words and order, what is not is still shown.

Every key is optional: cards of models trained elsewhere, or later, must render too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Card = Mapping[str, Any]

# Figures of the held-out part in reading order, with what they say.
METRICS: tuple[tuple[str, str], ...] = (
    ("sensitivity", "Sensitivity for malignant, at the operating point"),
    ("specificity", "Specificity for malignant, at the operating point"),
    ("specificity_at_95_sensitivity", "Specificity at 95 % sensitivity"),
    ("auc_malignant", "AUC, malignant against the rest"),
    ("auc_macro", "AUC, mean over the classes"),
    ("accuracy", "Accuracy over the three classes"),
    ("macro_f1", "F1, mean over the classes"),
    ("brier", "Brier score (lower is better)"),
    ("ece", "Calibration error of the malignant score (lower is better)"),
)
PARTS = {
    "held_out": "Held-out part, never used for any choice",
    "validation": "Validation part, used to choose the epoch, temperature and threshold",
    "train": "Training part",
}
SPLIT_ORDER = ("train", "validation", "held_out")


@dataclass(frozen=True)
class Metric:
    label: str
    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Confusion:
    """Rows truth, columns answer."""

    classes: tuple[str, ...]
    rows: tuple[tuple[str, tuple[int, ...]], ...]


@dataclass(frozen=True)
class Measured:
    """The figures of one part of the data."""

    part: str
    n: int | None
    metrics: tuple[Metric, ...]
    confusion: Confusion | None
    counts: tuple[tuple[str, int], ...]
    n_refused: int | None
    n_abstained: int | None


@dataclass(frozen=True)
class SplitRow:
    part: str
    counts: tuple[int, ...]


@dataclass(frozen=True)
class Entry:
    """A key and its value; nested where the card nests. ``children`` or ``value``."""

    label: str
    value: str
    children: tuple[Entry, ...] = ()


@dataclass(frozen=True)
class CardView:
    """What the pages show of a card."""

    intended_use: str
    limits: tuple[str, ...]
    threshold: float | None
    target_sensitivity: float | None
    data_name: str
    data_images: int | None
    split_classes: tuple[str, ...]
    split: tuple[SplitRow, ...]
    measured: tuple[Measured, ...]
    everything: tuple[Entry, ...]

    @property
    def held_out(self) -> Measured | None:
        """The honest figures, where the card has them."""
        return self.measured[0] if self.measured else None


def card_view(card: Card) -> CardView:
    point = _mapping(card.get("operating_point"))
    data = _mapping(_mapping(card.get("training")).get("data"))
    classes = tuple(str(c) for c in _sequence(card.get("classes")))
    limits = card.get("limits")
    return CardView(
        intended_use=_text(card.get("intended_use")),
        limits=(limits,) if isinstance(limits, str) else tuple(map(str, _sequence(limits))),
        threshold=_number(point.get("threshold")),
        target_sensitivity=_number(point.get("sensitivity")),
        data_name=_text(data.get("name")),
        data_images=_count(data.get("images")),
        split_classes=classes,
        split=_split(_mapping(data.get("split")), classes),
        measured=_measured(_mapping(card.get("metrics")), classes),
        everything=tuple(_entry(str(key), value) for key, value in sorted(card.items())),
    )


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _sequence(value: object) -> Sequence[Any]:
    return value if isinstance(value, Sequence) and not isinstance(value, str) else ()


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value)


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _split(split: Mapping[str, Any], classes: Sequence[str]) -> tuple[SplitRow, ...]:
    # The database does not keep the order of keys.
    order = [name for name in SPLIT_ORDER if name in split]
    order += sorted(name for name in split if name not in SPLIT_ORDER)
    return tuple(
        SplitRow(
            part=str(name).replace("_", "-"),
            counts=tuple(_count(_mapping(split[name]).get(c)) or 0 for c in classes),
        )
        for name in order
        if isinstance(split[name], Mapping)
    )


def _measured(metrics: Mapping[str, Any], classes: Sequence[str]) -> tuple[Measured, ...]:
    """By part, held-out first. A card with bare figures counts as one part without a name."""
    parts = {str(k): _mapping(v) for k, v in metrics.items() if k != "ci95" and _is_part(v)}
    if not parts and any(name in metrics for name, _ in METRICS):
        parts = {"": metrics}
    order = [name for name in PARTS if name in parts]
    order += [name for name in parts if name not in PARTS]
    return tuple(_part(PARTS.get(name, name), parts[name], classes) for name in order)


def _is_part(value: object) -> bool:
    return isinstance(value, Mapping) and any(name in value for name, _ in METRICS)


def _part(name: str, figures: Mapping[str, Any], classes: Sequence[str]) -> Measured:
    intervals = _mapping(figures.get("ci95"))
    named = tuple(str(c) for c in _sequence(figures.get("classes"))) or tuple(classes)
    counts = _mapping(figures.get("counts"))
    return Measured(
        part=name,
        n=_count(figures.get("n")),
        metrics=tuple(
            Metric(label, value, *_interval(intervals.get(key)))
            for key, label in METRICS
            if (value := _number(figures.get(key))) is not None
        ),
        confusion=_confusion(figures.get("confusion"), named),
        counts=tuple((c, n) for c in named if (n := _count(counts.get(c))) is not None),
        n_refused=_count(figures.get("n_refused")),
        n_abstained=_count(figures.get("n_abstained")),
    )


def _interval(value: object) -> tuple[float | None, float | None]:
    bounds = [_number(v) for v in _sequence(value)]
    return (bounds[0], bounds[1]) if len(bounds) == 2 else (None, None)


def _confusion(value: object, classes: Sequence[str]) -> Confusion | None:
    rows = [[_count(cell) for cell in _sequence(row)] for row in _sequence(value)]
    if len(rows) != len(classes) or not classes:
        return None
    whole = [tuple(c for c in row if c is not None) for row in rows]
    if any(len(row) != len(classes) for row in whole):
        return None
    return Confusion(tuple(classes), tuple(zip(classes, whole, strict=True)))


def _entry(key: str, value: object) -> Entry:
    label = key.replace("_", " ")
    if isinstance(value, Mapping):
        return Entry(label, "", tuple(_entry(str(k), v) for k, v in sorted(value.items())))
    items = _sequence(value)
    if any(isinstance(item, Mapping | list) for item in items):
        return Entry(label, "", tuple(_entry(str(n), v) for n, v in enumerate(items, start=1)))
    if items:
        return Entry(label, ", ".join(_scalar(item) for item in items))
    return Entry(label, _scalar(value))


def _scalar(value: object) -> str:
    if value is None or value in ((), [], ""):
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)
