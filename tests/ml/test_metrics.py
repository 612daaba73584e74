import numpy as np
import pytest
from hypothesis import assume, given, settings, strategies
from sklearn import metrics as reference

from ml.calibrate import fit_temperature, fit_threshold, group_weights, log_loss, softmax
from ml.config import MALIGNANT
from ml.metrics import (
    Ranking,
    Sample,
    answers,
    auc,
    ece_floor,
    expected_calibration_error,
    measure,
    specificity_at,
)
from tests.ml.samples import made


def agree_by_class(found, targets, answered):
    assert found["accuracy"] == pytest.approx(reference.accuracy_score(targets, answered))
    assert found["confusion"] == reference.confusion_matrix(targets, answered).tolist()
    for key, function in (
        ("precision", reference.precision_score),
        ("recall", reference.recall_score),
        ("f1", reference.f1_score),
    ):
        expected = function(targets, answered, average=None, zero_division=0)
        assert list(found[key].values()) == pytest.approx(list(expected))
        macro = function(targets, answered, average="macro", zero_division=0)
        assert found[f"macro_{key}"] == pytest.approx(macro)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("ties", [False, True])
def test_figures_agree_with_scikit_learn(seed, ties):
    targets, scores = made(seed, ties=ties)
    found = measure(targets, scores, 0.4)
    answered = answers(scores, 0.4)
    assert (answered != scores.argmax(axis=1)).any()
    for part, own in ((found, scores.argmax(axis=1)), (found["at_operating_point"], answered)):
        agree_by_class(part, targets, own)
    positive = targets == MALIGNANT
    area = reference.roc_auc_score(positive, scores[:, MALIGNANT])
    assert found["auc_malignant"] == pytest.approx(area)
    each = reference.roc_auc_score(np.eye(3)[targets], scores, average="macro")
    assert found["auc_macro"] == pytest.approx(each)
    apart = reference.roc_auc_score(np.eye(3)[targets], scores, average=None)
    assert list(found["auc_by_class"].values()) == pytest.approx(list(apart))
    precision = reference.average_precision_score(positive, scores[:, MALIGNANT])
    assert found["average_precision"] == pytest.approx(precision)
    brier = sum(reference.brier_score_loss(targets == k, scores[:, k]) for k in range(3))
    assert found["brier"] == pytest.approx(brier)
    assert found["sensitivity"] == pytest.approx(
        reference.recall_score(positive, answered == MALIGNANT)
    )
    assert found["specificity"] == pytest.approx(
        reference.recall_score(~positive, answered != MALIGNANT)
    )
    false_rate, true_rate, _ = reference.roc_curve(
        positive, scores[:, MALIGNANT], drop_intermediate=False
    )
    for wanted in (0.95, 0.98):
        best = 1 - false_rate[true_rate >= wanted - 1e-12].min()
        assert found[f"specificity_at_{100 * wanted:.0f}_sensitivity"] == pytest.approx(best)
    if not ties:  # with ties some scores are 0, where scikit-learn clips elsewhere
        expected = reference.log_loss(targets, scores, labels=[0, 1, 2])
        assert log_loss(scores, targets) == pytest.approx(expected)


def test_figures_by_hand():
    targets = np.array([0, 0, 1, 1, 2])
    scores = np.array(
        [[0.7, 0.2, 0.1], [0.3, 0.6, 0.1], [0.1, 0.8, 0.1], [0.2, 0.3, 0.5], [0.1, 0.1, 0.8]]
    )
    found = measure(targets, scores, 0.25)
    assert found["confusion"] == [[1, 1, 0], [0, 1, 1], [0, 0, 1]]
    assert found["accuracy"] == pytest.approx(3 / 5)
    assert found["at_operating_point"]["confusion"] == [[1, 1, 0], [0, 2, 0], [0, 0, 1]]
    found = measure(targets, scores, 0.5)
    assert found["at_operating_point"]["confusion"] == found["confusion"]
    assert found["sensitivity"] == pytest.approx(1 / 2)
    assert found["specificity"] == pytest.approx(2 / 3)
    assert found["malignant_called_normal"] == 1
    # malignant scores .8 and .3 against .2, .6, .1: 5 of 6 pairs in order
    assert found["auc_malignant"] == pytest.approx(5 / 6)
    # at a sensitivity of 95 % both count: threshold .3, of .2, .6, .1 two lie below
    assert found["specificity_at_95_sensitivity"] == pytest.approx(2 / 3)
    brier = ((0.3**2 + 0.2**2 + 0.1**2) + (0.7**2 + 0.6**2 + 0.1**2) + (0.1**2 + 0.2**2 + 0.1**2)
             + (0.2**2 + 0.7**2 + 0.5**2) + (0.1**2 + 0.1**2 + 0.2**2)) / 5  # fmt: skip
    assert found["brier"] == pytest.approx(brier)
    # one picture a bin, but for .1 alone and .2, .3, .6, .8 alone: gaps .2 .6 .2 .7 .1
    assert found["ece"] == pytest.approx((0.2 + 0.6 + 0.2 + 0.7 + 0.1) / 5)


def test_two_classes_are_enough_and_one_gives_none_instead_of_a_number():
    targets, scores = made()
    two = targets != 2
    found = measure(targets[two], scores[two], 0.4)
    assert found["recall"]["normal"] is None
    assert found["auc_malignant"] is not None
    benign = targets == 0
    found = measure(targets[benign], scores[benign], 0.4)
    assert found["auc_malignant"] is None
    assert found["sensitivity"] is None
    assert auc(np.array([True, True]), np.array([0.1, 0.2])) is None
    assert specificity_at(np.array([False]), np.array([0.1]), 0.95) is None


def test_perfectly_calibrated_scores_have_no_calibration_error():
    score = np.repeat([0.25, 0.75], 400)
    positive = np.concatenate([np.arange(400) % 4 == 0, np.arange(400) % 4 != 0])
    assert expected_calibration_error(positive, score) == pytest.approx(0)
    assert expected_calibration_error(~positive, score) == pytest.approx(0.5)


def test_thresholds_may_differ_by_picture():
    scores = np.array([[0.5, 0.4, 0.1], [0.5, 0.4, 0.1]])
    assert answers(scores, np.array([0.3, 0.45])).tolist() == [1, 0]


def test_the_temperature_undoes_overconfidence():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(4000, 3)) * 2
    targets = np.array([rng.choice(3, p=p) for p in softmax(logits)])
    assert fit_temperature(logits * 3, targets) == pytest.approx(3, rel=0.1)
    assert fit_temperature(logits, targets) == pytest.approx(1, rel=0.1)


@pytest.mark.parametrize("wanted", [0.8, 0.9, 0.95, 1.0])
def test_the_threshold_reaches_its_sensitivity_and_not_more_than_needed(wanted):
    targets, scores = made(1)
    threshold = fit_threshold(scores, targets, wanted)
    own = scores[targets == MALIGNANT, MALIGNANT]
    caught = (own >= threshold).mean()
    assert caught >= wanted
    assert caught - 1 / len(own) < wanted


def test_a_lesion_pictured_twice_counts_once_for_the_threshold():
    scores = np.array([[0.99, 0.01, 0.0]] * 2 + [[0.3, 0.7, 0.0]] * 19 + [[0.8, 0.2, 0.0]])
    targets = np.array([1] * 21 + [0])
    assert fit_threshold(scores, targets, 0.95) == pytest.approx(0.005)
    weights = group_weights(np.array([0, 0, *range(1, 20), 20]))
    assert weights.tolist() == [0.5, 0.5] + [1.0] * 20
    assert fit_threshold(scores, targets, 0.95, weights) == pytest.approx((0.7 + 0.2) / 2)


def test_a_threshold_needs_a_malignant_picture():
    with pytest.raises(ValueError, match="no malignant"):
        fit_threshold(np.full((3, 3), 1 / 3), np.zeros(3, dtype=np.int64), 0.95)


def test_equal_scores_move_together():
    positive = np.array([True, True, False, False])
    score = np.array([0.5, 0.5, 0.5, 0.1])
    # two pairs tie (half each) and two are in order: (2 * 0.5 + 2) / 4
    assert auc(positive, score) == pytest.approx(0.75)
    # no threshold catches both without the third
    assert specificity_at(positive, score, 0.95) == pytest.approx(0.5)
    assert specificity_at(positive, score, 0.1) == pytest.approx(0.5)
    assert Ranking(positive, score).average_precision()[0] == pytest.approx(2 / 3)
    assert Ranking(positive, score).values.tolist() == [0.5, 0.1]


def test_predictive_values_follow_bayes_and_need_a_stated_prevalence():
    targets = np.repeat([1, 0], [10, 20])
    malignant = np.concatenate([np.repeat([0.9, 0.1], [8, 2]), np.repeat([0.9, 0.1], [2, 18])])
    scores = np.stack([1 - malignant, malignant, np.zeros(30)], axis=1)
    assert "predictive_values" not in measure(targets, scores, 0.5)
    found = measure(targets, scores, 0.5, prevalence=0.01)["predictive_values"]
    # sensitivity 0.8, specificity 0.9
    assert found["ppv"] == pytest.approx(0.008 / (0.008 + 0.099))
    assert found["npv"] == pytest.approx(0.891 / (0.891 + 0.002))


@pytest.mark.parametrize("only", [0, 1, 2])
def test_one_class_leaves_what_needs_another_undefined(only):
    targets, scores = made()
    own = targets == only
    found = measure(targets[own], scores[own], 0.4)
    assert found["auc_malignant"] is None and found["auc_macro"] is None
    assert found["specificity_at_95_sensitivity"] is None
    assert (found["sensitivity"] is None) == (only != MALIGNANT)
    assert (found["specificity"] is None) == (only == MALIGNANT)
    assert (found["average_precision"] is None) == (only != MALIGNANT)
    assert found["accuracy"] == pytest.approx((scores[own].argmax(axis=1) == only).mean())
    assert sum(v is not None for v in found["recall"].values()) == 1


def test_nothing_cannot_be_measured():
    with pytest.raises(ValueError, match="no pictures"):
        measure(np.zeros(0, dtype=np.int64), np.zeros((0, 3)), 0.5)


def samples(largest=40):
    """Small samples with many ties, and how often each picture counts."""

    def build(size):
        scores = strategies.lists(
            strategies.lists(strategies.integers(1, 4), min_size=3, max_size=3),
            min_size=size, max_size=size,
        )  # fmt: skip
        targets = strategies.lists(strategies.integers(0, 2), min_size=size, max_size=size)
        times = strategies.lists(strategies.integers(0, 3), min_size=size, max_size=size)
        return strategies.tuples(targets, scores, times)

    return strategies.integers(1, largest).flatmap(build)


@settings(max_examples=40, deadline=None)
@given(samples())
def test_a_weight_counts_as_that_many_copies(sample):
    targets, raw, times = (np.array(part) for part in sample)
    scores = raw / raw.sum(axis=1, keepdims=True)
    assume(times.sum() > 0)
    thresholds = np.full(len(targets), 0.4)
    weights = np.stack([times, np.ones_like(times)]).astype(np.float64)
    rounds = Sample(targets, scores, thresholds).figures(weights, 0.1)
    copies = np.repeat(np.arange(len(targets)), times)
    for row, chosen in enumerate((copies, np.arange(len(targets)))):
        expected = measure(targets[chosen], scores[chosen], 0.4, prevalence=0.1)
        compare_figures(rounds, expected, row)


def compare_figures(rounds, expected, row):
    for key, value in rounds.items():
        if isinstance(value, dict):
            compare_figures(value, expected[key], row)
        elif expected[key] is None:
            assert np.isnan(value[row])
        else:
            assert value[row] == pytest.approx(expected[key])


@settings(max_examples=40, deadline=None)
@given(samples())
def test_figures_are_shares_and_do_not_depend_on_the_order(sample):
    targets, raw, _ = (np.array(part) for part in sample)
    scores = raw / raw.sum(axis=1, keepdims=True)
    found = measure(targets, scores, 0.4)
    turned = measure(targets[::-1], scores[::-1], 0.4)
    for key in ("accuracy", "macro_f1", "auc_malignant", "auc_macro", "average_precision",
                "sensitivity", "specificity", "specificity_at_98_sensitivity", "ece"):  # fmt: skip
        assert found[key] == (None if turned[key] is None else pytest.approx(turned[key]))
        assert found[key] is None or -1e-12 <= found[key] <= 1 + 1e-12
    if found["specificity_at_95_sensitivity"] is not None:
        assert found["specificity_at_98_sensitivity"] <= found["specificity_at_95_sensitivity"]
    assert sum(map(sum, found["confusion"])) == len(targets)


def test_the_floor_of_the_calibration_error_is_that_of_exact_scores():
    # n scores of 1/2: the mean of |Binomial(n, 1/2) - n/2| / n
    for count, expected in ((1, 0.5), (2, 0.25), (100, 0.0398)):
        floor = ece_floor(np.full(count, 0.5), rounds=4000)
        assert floor == pytest.approx(expected, rel=0.06)
    assert ece_floor(np.array([0.0, 1.0, 1.0])) == 0
    targets, scores = made(count=100)
    assert measure(targets, scores, 0.4)["ece_floor"] == ece_floor(scores[:, 1])
