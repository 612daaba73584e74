"""The same figures for parts of the pictures: sources, devices, BI-RADS, lesion sizes, answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ml.calibrate import Floats, Indices
from ml.config import CLASSES, MALIGNANT
from ml.dataset import Dataset, Record
from ml.intervals import bootstrap, wilson
from ml.metrics import SENSITIVITIES, Bools, Metrics, Ranking, Sample, measure

NOT_STATED = "not stated"
AREA_RULE = (
    "lesion area: share of the picture under its masks; the bounds are the terciles of the "
    "malignant pictures that have masks, and other lesions are counted by the same bounds"
)
COVERAGES = (1.0, 0.95, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5)
OUTCOMES = ("answered", "abstained", "refused")
_NAMES = ("small", "middle", "large")
_CANCER = ("cancer", "non-cancer")


def lesion_areas(dataset: Dataset, records: Sequence[Record]) -> Floats:
    """Share of each picture that its lesion masks cover: float64 N in 0..1, NaN without masks."""
    shares = np.full(len(records), np.nan)
    for index, record in enumerate(records):
        mask = dataset.read_mask(record) if record.masks else None
        if mask is not None:
            shares[index] = float((mask > 0).mean())
    return shares


def part(sample: Sample, chosen: Bools, groups: Indices, *, bootstraps: int) -> Metrics:
    """The figures of the chosen pictures (bool N), with their counts and intervals.

    ``wilson95`` are intervals of the shares at the operating point that take each picture as
    independent: they are there where resampling 20 of 20 would show no spread.
    """
    targets, scores = sample.targets[chosen], sample.scores[chosen]
    thresholds = sample.thresholds[chosen]
    return {
        "n": len(targets),
        "n_groups": len(np.unique(groups[chosen])),
        "counts": {c: int((targets == k).sum()) for k, c in enumerate(CLASSES)},
        **measure(targets, scores, thresholds),
        "wilson95": shares_at_point(Sample(targets, scores, thresholds)),
        "ci95": bootstrap(targets, scores, groups[chosen], thresholds, rounds=bootstraps),
    }


def shares_at_point(sample: Sample) -> dict[str, list[float] | None]:
    """Wilson's 95 % intervals of sensitivity and specificity at the operating point."""
    called, malignant = sample.answered == MALIGNANT, sample.malignant
    return {
        "sensitivity": wilson(int((called & malignant).sum()), int(malignant.sum())),
        "specificity": wilson(int((~called & ~malignant).sum()), int((~malignant).sum())),
    }


def by_value(
    sample: Sample, values: Sequence[str], groups: Indices, *, bootstraps: int
) -> dict[str, Metrics]:
    """One part for each different value of a property of the pictures, in order; "" has a name.

    Empty when no picture has the property.
    """
    named = np.array([v or NOT_STATED for v in values])
    if not any(values):
        return {}
    return {
        str(value): part(sample, named == value, groups, bootstraps=bootstraps)
        for value in np.unique(named)
    }


def by_lesion_area(
    sample: Sample, areas: Floats, groups: Indices, *, bootstraps: int
) -> Metrics | None:
    """Figures of small, middle and large lesions by :data:`AREA_RULE`; ``areas`` float64 N.

    None when fewer than three malignant pictures have masks.
    """
    sized = ~np.isnan(areas)
    own = areas[sized & sample.malignant]
    if len(own) < len(_NAMES):
        return None
    bounds = np.quantile(own, [1 / 3, 2 / 3])
    third = np.digitize(np.nan_to_num(areas), bounds)
    found = {
        name: part(sample, sized & (third == k), groups, bootstraps=bootstraps)
        for k, name in enumerate(_NAMES)
        if (sized & (third == k)).any()
    }
    return {"rule": AREA_RULE, "bounds": bounds.tolist(), **found}


def by_outcome(outcomes: Sequence[str], targets: Indices) -> dict[str, Metrics]:
    """How many were answered, abstained from and refused, of all and of each class."""
    given = np.array(outcomes)
    counts = np.bincount(targets, minlength=len(CLASSES))
    return {
        name: {
            "n": int((given == name).sum()),
            "share": float((given == name).mean()),
            "share_by_class": {
                c: float((given[targets == k] == name).mean()) if counts[k] else None
                for k, c in enumerate(CLASSES)
            },
        }
        for name in OUTCOMES
    }


def as_if_positive(sample: Sample, unanswered: Bools) -> Metrics:
    """Sensitivity and specificity when each picture without an answer counts as called malignant.

    Shares are of all pictures of that truth; one without an answer is never a negative.
    """
    called = unanswered | (sample.answered == MALIGNANT)
    malignant = sample.malignant
    caught, cleared = int((called & malignant).sum()), int((~called & ~malignant).sum())
    ones, zeros = int(malignant.sum()), int((~malignant).sum())
    return {
        "sensitivity": caught / ones if ones else None,
        "specificity": cleared / zeros if zeros else None,
        "wilson95": {"sensitivity": wilson(caught, ones), "specificity": wilson(cleared, zeros)},
    }


def coverage_table(sample: Sample) -> list[Metrics]:
    """Error among the surest pictures, for falling coverage (Chow 1970; El-Yaniv and Wiener 2010).

    Sure is who has a large largest score. Each row keeps all pictures from ``minimum_score`` on,
    so equal scores stay together and ``coverage`` may be more than the row's ``wanted``.
    """
    sure = sample.scores.max(axis=1)
    falling = np.sort(sure)[::-1]
    called, malignant = sample.answered == MALIGNANT, sample.malignant
    rows: list[Metrics] = []
    for wanted in COVERAGES:
        minimum = falling[int(np.ceil(wanted * len(falling) - 1e-9)) - 1]
        kept = sure >= minimum
        wrong = int((kept & (sample.largest != sample.targets)).sum())
        ones, zeros = int((kept & malignant).sum()), int((kept & ~malignant).sum())
        rows.append(
            {
                "wanted": wanted,
                "coverage": float(kept.mean()),
                "minimum_score": float(minimum),
                "n": int(kept.sum()),
                "error": wrong / int(kept.sum()),
                "error_wilson95": wilson(wrong, int(kept.sum())),
                "sensitivity": int((kept & called & malignant).sum()) / ones if ones else None,
                "specificity": int((kept & ~called & ~malignant).sum()) / zeros if zeros else None,
                "malignant_left_out": int((malignant & ~kept).sum()),
            }
        )
    return rows


def at_sensitivities(sample: Sample) -> dict[str, Metrics | None]:
    """Specificity at 95 % and 98 % sensitivity, with the sensitivity reached and its interval.

    The threshold is chosen on these very pictures, so this describes the ranking, not a setting
    that would reach the sensitivity elsewhere: hence Wilson's interval. None without both kinds.
    """
    malignant = sample.malignant
    ones, zeros = int(malignant.sum()), int((~malignant).sum())
    found: dict[str, Metrics | None] = {}
    for wanted in SENSITIVITIES:
        if not ones or not zeros:
            found[f"{wanted:.2f}"] = None
            continue
        ranking = Ranking(malignant, sample.scores[:, MALIGNANT])
        index = int(ranking.position(wanted)[0])
        caught = int(ranking.caught[0, index])
        cleared = zeros - int(ranking.alarms[0, index])
        found[f"{wanted:.2f}"] = {
            "threshold": float(ranking.values[index]),
            "sensitivity": caught / ones,
            "sensitivity_wilson95": wilson(caught, ones),
            "caught": caught,
            "malignant": ones,
            "specificity": cleared / zeros,
            "specificity_wilson95": wilson(cleared, zeros),
        }
    return found


def cancer_confusion(sample: Sample) -> dict[str, Any]:
    """Cancer against non-cancer (benign and normal), rows truth, columns answer, two ways."""

    def table(answered: Indices) -> list[list[int]]:
        called, malignant = answered == MALIGNANT, sample.malignant
        return [
            [int((truth & called).sum()), int((truth & ~called).sum())]
            for truth in (malignant, ~malignant)
        ]

    return {
        "classes": list(_CANCER),
        "operating_point": table(sample.answered),
        "largest_score": table(sample.largest),
    }
