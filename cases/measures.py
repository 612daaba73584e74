"""Figures from counts: shares with intervals, calibration, and how far inputs have drifted.

Pure functions, without a table and without torch: pages, API and metrics compute the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

# Of fewer no share is told: it would look like knowledge.
FEWEST = 10
# Of fewer images no calibration error is told, and no drift.
FEWEST_IMAGES = 50
# As on a model's card (ml.metrics).
CALIBRATION_BINS = 15
# Inputs are compared in the tenths of their reference.
DRIFT_BINS = 10
# Upper bounds of the buckets in which waiting and running times of jobs are counted. Stored counts
# are by place: whoever changes these starts the counts anew.
DURATION_BOUNDS_S = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 3600, 21_600, 86_400)
_Z = 1.959963984540054  # the 97.5th percentile of the normal distribution
_CHI2_999_9 = 27.877164871256568  # the 99.9th percentile of chi-square with DRIFT_BINS - 1 degrees


def wilson(count: int, n: int) -> tuple[float, float] | None:
    """95 % interval of a share, by Wilson (1927); None of nothing. Takes the n as independent."""
    if n == 0:
        return None
    share, spread = count / n, _Z * _Z / n
    middle = (share + spread / 2) / (1 + spread)
    half = _Z * math.sqrt(share * (1 - share) / n + spread / (4 * n)) / (1 + spread)
    return max(0.0, min(share, middle - half)), min(1.0, max(share, middle + half))


@dataclass(frozen=True)
class Share:
    """``count`` of ``n``, with its interval; the figures are None where ``n`` is below FEWEST."""

    count: int
    n: int

    @property
    def value(self) -> float | None:
        return self.count / self.n if self.n >= FEWEST else None

    @property
    def interval(self) -> tuple[float, float] | None:
        return wilson(self.count, self.n) if self.n >= FEWEST else None

    @property
    def low(self) -> float | None:
        return self.interval[0] if self.interval else None

    @property
    def high(self) -> float | None:
        return self.interval[1] if self.interval else None

    def surely_above(self, limit: float) -> bool:
        """Whether the whole interval lies above ``limit``."""
        return self.low is not None and self.low > limit


@dataclass(frozen=True)
class CalibrationBin:
    """Images whose malignant score fell into one bin of 0..1, and how many were malignant."""

    n: int
    mean_score: float
    malignant: int

    @property
    def share(self) -> Share:
        return Share(self.malignant, self.n)


@dataclass(frozen=True)
class Calibration:
    """Malignant scores against what the findings turned out to be, by image."""

    bins: tuple[CalibrationBin, ...]
    findings: int

    @property
    def n(self) -> int:
        return sum(one.n for one in self.bins)

    @property
    def error(self) -> float | None:
        """Expected calibration error (Naeini 2015): None of fewer than FEWEST_IMAGES."""
        if self.n < FEWEST_IMAGES:
            return None
        gaps = (abs(one.malignant - one.n * one.mean_score) for one in self.bins)
        return sum(gaps) / self.n


@dataclass(frozen=True)
class Reference:
    """The feature distances that new ones are held against: nine deciles and the 95th percentile.

    ``n`` distances; ``of``: "training" (from the model's card) or "first_images".
    """

    deciles: tuple[float, ...]
    p95: float
    n: int
    of: str


def reference_of_card(card: Mapping[str, object]) -> Reference | None:
    """What the card tells of its training images' distances; None where it tells nothing sound."""
    told: object = card
    for key in ("refusal", "figures", "distance"):
        told = told.get(key) if isinstance(told, Mapping) else None
    if not isinstance(told, Mapping):
        return None
    deciles, p95, n = told.get("deciles"), told.get("p95"), told.get("n")
    if not isinstance(deciles, list) or type(n) is not int or n < FEWEST_IMAGES:
        return None
    numbers = [value for value in (*deciles, p95) if type(value) in (int, float)]
    if len(numbers) != DRIFT_BINS or not all(map(math.isfinite, numbers)):
        return None
    if not _rising(numbers):
        return None
    return Reference(tuple(map(float, numbers[:-1])), float(numbers[-1]), n, "training")


def _rising(numbers: Sequence[float]) -> bool:
    return all(low <= high for low, high in pairwise(numbers))


@dataclass(frozen=True)
class Drift:
    """How the recent images' feature distances lie to a reference.

    ``counts``: how many fell into each tenth of the reference; ``far``: beyond its 95th
    percentile, where 5 % are expected.
    """

    reference: Reference
    counts: tuple[int, ...]
    beyond: int

    @property
    def n(self) -> int:
        return sum(self.counts)

    @property
    def far(self) -> Share:
        return Share(self.beyond, self.n)

    @property
    def psi(self) -> float | None:
        """Population stability index; None of fewer than FEWEST_IMAGES."""
        return stability_index(self.counts) if self.n >= FEWEST_IMAGES else None

    @property
    def chance(self) -> float | None:
        """The index that chance alone exceeds once in a thousand, with these numbers of images.

        Without a change the index is about (1/n + 1/m) times a chi-square of one degree fewer
        than there are bins (Yurdakul 2018).
        """
        if self.n < FEWEST_IMAGES:
            return None
        return _CHI2_999_9 * (1 / self.n + 1 / self.reference.n)

    def alerts(self, *, psi: float, far: float) -> bool:
        """Whether the inputs have moved: by the index, beyond chance, or by those far away."""
        if self.psi is None or self.chance is None:
            return False
        return self.psi >= max(psi, self.chance) or self.far.surely_above(far)


def stability_index(counts: Sequence[int]) -> float:
    """PSI of ``counts`` in bins that each held the same share of the reference.

    Half an image is added to each bin, so that an empty one stays finite.
    """
    expected = 1 / len(counts)
    total = sum(counts) + len(counts) / 2
    shares = [(count + 0.5) / total for count in counts]
    return sum((share - expected) * math.log(share / expected) for share in shares)
