import numpy as np
import pytest
from hypothesis import given, strategies

from ml.intervals import bootstrap, group_weights_of_draws, wilson
from ml.metrics import measure
from tests.ml.samples import made


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [  # Newcombe (1998), Statistics in Medicine 17, table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (206, 210, 0.952, 0.993),
    ],
)
def test_wilson_gives_the_published_intervals(successes, trials, low, high):
    found = wilson(successes, trials)
    assert found == pytest.approx([low, high], abs=6e-5 if trials != 210 else 6e-4)


def test_wilson_has_no_interval_without_trials():
    assert wilson(0, 0) is None


@given(strategies.integers(1, 500).flatmap(
    lambda n: strategies.tuples(strategies.integers(0, n), strategies.just(n))
))  # fmt: skip
def test_wilson_holds_the_share_and_mirrors(case):
    successes, trials = case
    low, high = wilson(successes, trials)
    assert 0 <= low <= successes / trials <= high <= 1
    assert low < high
    mirrored = wilson(trials - successes, trials)
    assert [1 - high, 1 - low] == pytest.approx(mirrored, abs=1e-12)


def test_groups_are_drawn_whole():
    groups = np.array([7, 3, 3, 9, 7, 7, 1])
    weights = group_weights_of_draws(groups, 200, np.random.default_rng(0))
    assert weights.shape == (200, 7)
    for name in np.unique(groups):
        own = weights[:, groups == name]
        assert (own == own[:, :1]).all()
    # as many groups as there are, whatever their sizes
    firsts = [np.flatnonzero(groups == name)[0] for name in np.unique(groups)]
    assert (weights[:, firsts].sum(axis=1) == 4).all()
    assert {0.0, 1.0, 2.0} <= set(weights.ravel().tolist())


def test_a_single_group_has_no_spread():
    targets, scores = made(count=50)
    found = bootstrap(targets, scores, np.zeros(50, dtype=np.int64), 0.4, rounds=20)
    accuracy = measure(targets, scores, 0.4)["accuracy"]
    assert found["accuracy"] == pytest.approx([accuracy, accuracy])


def test_intervals_are_wider_when_pictures_come_in_groups():
    targets, scores = made(count=240)
    order = np.argsort(targets + 0.1 * scores[:, 0])
    targets, scores = targets[order], scores[order]
    single = bootstrap(targets, scores, np.arange(240), 0.4, rounds=200)
    grouped = bootstrap(targets, scores, np.arange(240) // 12, 0.4, rounds=200)

    def width(interval):
        return interval[1] - interval[0]

    assert width(grouped["accuracy"]) > 1.3 * width(single["accuracy"])
    low, high = single["accuracy"]
    assert low < measure(targets, scores, 0.4)["accuracy"] < high
    assert set(single["recall"]) == {"benign", "malignant", "normal"}
    again = bootstrap(targets, scores, np.arange(240), 0.4, rounds=200)
    assert again == single


def test_intervals_have_the_keys_of_the_figures_and_leave_out_the_undefined():
    targets, scores = made()
    two = targets != 2
    found = bootstrap(targets[two], scores[two], np.arange(two.sum()), 0.4, rounds=50)
    figures = measure(targets[two], scores[two], 0.4)
    numbers = {k for k, v in figures.items() if isinstance(v, float)}
    assert numbers - {"ece_floor"} <= set(found)
    assert set(found["recall"]) == {"benign", "malignant"}
    benign = targets == 0
    found = bootstrap(targets[benign], scores[benign], np.arange(benign.sum()), 0.4, rounds=50)
    assert "auc_malignant" not in found and "sensitivity" not in found
    assert "specificity" in found and "predictive_values" not in found


def test_blocks_of_rounds_change_no_interval(monkeypatch):
    targets, scores = made(count=60)
    groups = np.arange(60) // 2
    whole = bootstrap(targets, scores, groups, 0.4, rounds=40, prevalence=0.1)
    monkeypatch.setattr("ml.intervals._CELLS", 60 * 7)
    parts = bootstrap(targets, scores, groups, 0.4, rounds=40, prevalence=0.1)
    assert parts == whole
    assert set(whole["predictive_values"]) == {"ppv", "npv"}


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    # 100 samples of 80 from a coin of 0.7: accuracy of a constant answer
    rng = np.random.default_rng(3)
    scores = np.tile([0.7, 0.2, 0.1], (80, 1))
    held = 0
    for seed in range(100):
        targets = np.where(rng.random(80) < 0.7, 0, 1)
        low, high = bootstrap(targets, scores, np.arange(80), 0.5, rounds=100, seed=seed)[
            "accuracy"
        ]
        held += low <= 0.7 <= high
    assert 0.86 <= held / 100 <= 0.99


def test_the_interval_of_the_calibration_error_holds_the_figure_itself():
    rng = np.random.default_rng(4)
    malignant = rng.uniform(size=400)
    scores = np.stack([1 - malignant, malignant, np.zeros(400)], axis=1)
    targets = (rng.uniform(size=400) < malignant).astype(np.int64)
    found = bootstrap(targets, scores, np.arange(400), 0.5, rounds=300)["ece"]
    point = measure(targets, scores, 0.5)["ece"]
    # the percentiles of the rounds begin above the figure: these scores are as good as any
    assert 0 <= found[0] < point <= found[1]
