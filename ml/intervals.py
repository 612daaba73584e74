"""95 % intervals: of figures by resampling whole groups, of shares by Wilson's formula."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from ml.calibrate import Floats, Indices
from ml.metrics import Rounds, Sample

BOOTSTRAPS = 1000
_Z = 1.959963984540054  # the 97.5th percentile of the normal distribution
_BIASED = ("ece",)  # the path of the one figure whose rounds lie above what they resample
_CELLS = 2_000_000  # of one block of weights: 16 MB


def wilson(successes: int, trials: int) -> list[float] | None:
    """95 % interval [low, high] of a share, by Wilson (1927); None without trials.

    It takes the trials as independent, which pictures of one lesion are not.
    """
    if trials == 0:
        return None
    share, spread = successes / trials, _Z * _Z / trials
    middle = (share + spread / 2) / (1 + spread)
    half = _Z * math.sqrt(share * (1 - share) / trials + spread / (4 * trials)) / (1 + spread)
    # Rounding must not put an end beyond the share itself, as it would at 0 and 1.
    return [max(0.0, min(share, middle - half)), min(1.0, max(share, middle + half))]


def group_weights_of_draws(groups: Indices, rounds: int, rng: np.random.Generator) -> Floats:
    """How often each picture counts when whole groups are drawn with replacement.

    ``groups`` int64 N -> float64 rounds x N: pictures of one group always count equally.
    """
    names, inverse = np.unique(groups, return_inverse=True)
    count = len(names)
    drawn = rng.integers(0, count, (rounds, count)) + count * np.arange(rounds)[:, None]
    times = np.bincount(drawn.ravel(), minlength=rounds * count).reshape(rounds, count)
    return times[:, inverse.reshape(-1)].astype(np.float64)


def bootstrap(
    targets: Indices,
    scores: Floats,
    groups: Indices,
    threshold: float | Floats,
    *,
    rounds: int = BOOTSTRAPS,
    seed: int = 0,
    prevalence: float | None = None,
) -> dict[str, Any]:
    """95 % intervals by drawing whole groups with replacement: same keys -> [low, high].

    Arguments as for :func:`ml.metrics.measure`, and ``groups`` int64 N. All rounds of a block
    are computed at once. A round in which a figure is undefined does not count for that figure.

    Intervals are percentiles of the rounds, but for ``ece``: resampling adds to the noise that
    keeps it above 0, so its percentiles lie too high. Its interval is the basic one, the
    percentiles mirrored at the figure (Davison and Hinkley 1997, section 5.2), cut at 0; its upper
    end is never below the figure.
    """
    rng = np.random.default_rng(seed)
    thresholds = np.broadcast_to(np.asarray(threshold, dtype=np.float64), len(targets))
    sample = Sample(targets, scores, thresholds)
    block = max(1, _CELLS // len(targets))
    collected: dict[tuple[str, ...], list[Floats]] = {}
    for start in range(0, rounds, block):
        weights = group_weights_of_draws(groups, min(block, rounds - start), rng)
        for key, values in _flat(sample.figures(weights, prevalence)):
            collected.setdefault(key, []).append(values)
    result: dict[str, Any] = {}
    for key, parts in collected.items():
        values = np.concatenate(parts)
        values = values[~np.isnan(values)]
        if len(values):
            inner = result
            for part in key[:-1]:
                inner = inner.setdefault(part, {})
            low, high = (float(v) for v in np.percentile(values, [2.5, 97.5]))
            if key == _BIASED:
                point = float(sample.figures(np.ones((1, len(targets))))["ece"][0])
                low, high = max(0.0, 2 * point - high), max(point, 2 * point - low)
            inner[key[-1]] = [low, high]
    return result


def _flat(rounds: Rounds, above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Floats]]:
    """The figures among nested ones, each with its path."""
    for key, value in rounds.items():
        if isinstance(value, dict):
            yield from _flat(value, (*above, key))
        else:
            yield (*above, key), value
