import numpy as np
import pytest
from sklearn import metrics as reference

from ml.calibrate import fit_temperature, fit_threshold, group_weights, log_loss, softmax
from ml.config import MALIGNANT
from ml.intervals import bootstrap
from ml.metrics import answers, auc, expected_calibration_error, measure, specificity_at


def made(seed=0, count=300, ties=False):
    rng = np.random.default_rng(seed)
    targets = rng.choice(3, count, p=[0.5, 0.3, 0.2])
    logits = rng.normal(size=(count, 3)) + 1.5 * np.eye(3)[targets]
    scores = softmax(logits)
    if ties:
        scores = np.round(scores, 1)
        scores /= scores.sum(axis=1, keepdims=True)
    return targets, scores


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
    macro = reference.f1_score(targets, answered, average="macro")
    assert found["macro_f1"] == pytest.approx(macro)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("ties", [False, True])
def test_figures_agree_with_scikit_learn(seed, ties):
    targets, scores = made(seed, ties=ties)
    found = measure(targets, scores, 0.4)
    answered = answers(scores, 0.4)
    assert (answered != scores.argmax(axis=1)).any()
    for part, given in ((found, scores.argmax(axis=1)), (found["at_operating_point"], answered)):
        agree_by_class(part, targets, given)
    positive = targets == MALIGNANT
    area = reference.roc_auc_score(positive, scores[:, MALIGNANT])
    assert found["auc_malignant"] == pytest.approx(area)
    each = reference.roc_auc_score(np.eye(3)[targets], scores, average="macro")
    assert found["auc_macro"] == pytest.approx(each)
    assert found["sensitivity"] == pytest.approx(
        reference.recall_score(positive, answered == MALIGNANT)
    )
    assert found["specificity"] == pytest.approx(
        reference.recall_score(~positive, answered != MALIGNANT)
    )
    false_rate, true_rate, _ = reference.roc_curve(
        positive, scores[:, MALIGNANT], drop_intermediate=False
    )
    best = 1 - false_rate[true_rate >= 0.95 - 1e-12].min()
    assert found["specificity_at_95_sensitivity"] == pytest.approx(best)
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
