"""Figures from counts, against numbers worked out by hand and against those of `ml`."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cases.measures import (
    DRIFT_BINS,
    FEWEST,
    Calibration,
    CalibrationBin,
    Drift,
    Reference,
    Share,
    reference_of_card,
    stability_index,
    wilson,
)
from ml.intervals import wilson as wilson_of_ml
from ml.refusal_fit import distance_figures


def test_an_interval_by_wilson_is_the_one_by_hand() -> None:
    # 8 of 10: p 0.8, z 1.96: centre 0.7167, half 0.2267.
    assert wilson(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert wilson(0, 0) is None


@pytest.mark.parametrize(("count", "n"), [(0, 10), (10, 10), (3, 40), (95, 100), (1, 1)])
def test_it_is_the_one_on_a_models_card(count: int, n: int) -> None:
    assert list(wilson(count, n) or ()) == pytest.approx(wilson_of_ml(count, n))


def test_a_share_of_too_few_has_no_figures() -> None:
    few, enough = Share(8, FEWEST - 1), Share(8, FEWEST)
    assert (few.value, few.interval, few.low, few.high) == (None, None, None, None)
    assert (few.count, few.n) == (8, FEWEST - 1)
    assert enough.value == 0.8
    assert not few.surely_above(0)
    assert enough.surely_above(0.49) and not enough.surely_above(0.5)


def test_the_calibration_error_weighs_each_bins_gap_by_its_images() -> None:
    # (40 x |0.1 - 2/40| + 60 x |0.8 - 54/60|) / 100 = (2 + 6) / 100
    bins = (CalibrationBin(40, 0.1, 2), CalibrationBin(60, 0.8, 54))
    assert Calibration(bins, findings=70).error == pytest.approx(0.08)
    assert Calibration(bins[:1], findings=30).error is None


def test_the_stability_index_is_zero_without_a_change_and_the_sum_by_hand_with_one() -> None:
    assert stability_index([100] * 10) == pytest.approx(0)
    shares = [0.5 / 1005] * 8 + [500.5 / 1005] * 2
    by_hand = sum((s - 0.1) * math.log(s / 0.1) for s in shares)
    assert stability_index([0] * 8 + [500] * 2) == pytest.approx(by_hand)


REFERENCE = Reference(tuple(np.arange(1, 10) / 10), 0.95, 500, "training")


def drift_of(values: np.ndarray) -> Drift:
    counts = np.bincount(np.searchsorted(REFERENCE.deciles, values, "right"), minlength=DRIFT_BINS)
    return Drift(REFERENCE, tuple(counts.tolist()), int((values > REFERENCE.p95).sum()))


@pytest.mark.parametrize("n", [50, 100, 400, 5000])
def test_the_same_distribution_raises_no_alert(n: int) -> None:
    rng = np.random.default_rng(n)
    raised = [drift_of(rng.random(n)).alerts(psi=0.25, far=0.1) for _ in range(200)]
    assert sum(raised) <= 1


@pytest.mark.parametrize("n", [100, 400])
def test_a_shift_does_by_the_whole_and_by_those_far_away(n: int) -> None:
    rng = np.random.default_rng(n)
    moved = drift_of(np.minimum(rng.random(n) ** 0.4, 1))
    assert moved.psi is not None and moved.psi > 0.25
    assert moved.alerts(psi=0.25, far=1)
    far = drift_of(np.where(rng.random(n) < 0.25, 2.0, rng.random(n)))
    assert far.alerts(psi=100, far=0.1) and not far.alerts(psi=100, far=0.6)


def test_of_few_images_no_drift_is_told() -> None:
    few = drift_of(np.full(49, 2.0))
    assert (few.psi, few.chance) == (None, None)
    assert not few.alerts(psi=0.01, far=0.05)


def test_what_chance_does_is_about_a_chi_square() -> None:
    rng = np.random.default_rng(0)
    beyond = 0
    for _ in range(2000):
        edges = np.quantile(rng.random(500), np.arange(1, 10) / 10)
        counts = np.bincount(np.searchsorted(edges, rng.random(200), "right"), minlength=10)
        drift = Drift(REFERENCE, tuple(counts.tolist()), 0)
        assert drift.psi is not None and drift.chance is not None
        beyond += drift.psi > drift.chance
    assert beyond <= 10


def card(**change: object) -> dict[str, object]:
    figures = {**distance_figures(np.linspace(0.5, 1.5, 101)), **change}
    return {"refusal": {"figures": {"distance": figures}}}


def test_a_card_tells_its_reference() -> None:
    told = reference_of_card(card())
    assert told is not None
    assert told.deciles == pytest.approx(np.linspace(0.6, 1.4, 9))
    assert (told.p95, told.n, told.of) == (pytest.approx(1.45), 101, "training")


@pytest.mark.parametrize(
    "odd",
    [
        {},
        {"refusal": None},
        {"refusal": {"figures": []}},
        card(deciles=[1.0]),
        card(deciles="many"),
        card(n=3),
        card(n="100"),
        card(p95=None),
        card(p95=0.1),
        card(p95=math.inf),
    ],
)
def test_a_card_without_a_sound_reference_tells_none(odd: dict[str, object]) -> None:
    assert reference_of_card(odd) is None
