"""The model that ships: its card is true, and it answers."""

import pytest

from ml import registry
from ml.cli import UsageError
from ml.config import CLASSES
from ml.dataset import read_dataset
from ml.duplicates import group_records
from ml.evaluate import evaluation, score_records
from ml.heldout import any_held_out, held_out_part, seen_in_training
from ml.inference import Predictor
from ml.preprocessing import Preprocessing
from tests.ml.helpers import png
from tests.phantoms import bmode_phantom


@pytest.fixture(scope="module")
def predictor():
    return Predictor(registry.SHIPPED, device="cpu")


def test_the_shipped_file_is_whole_and_under_50_mb():
    card, sha256 = registry.verify_file(registry.SHIPPED)
    assert card["weights"]["sha256"] == sha256
    assert card["weights"]["file"] == registry.SHIPPED.name
    assert card["weights"]["bytes"] == registry.SHIPPED.stat().st_size < 50_000_000


def test_its_card_tells_how_it_was_made_and_how_it_scored():
    card = registry.read_card(registry.SHIPPED)
    assert card["version"] == registry.SHIPPED.stem
    assert card["research_use_only"] is True
    assert Preprocessing.from_dict(card["preprocessing"]).digest() == card["preprocessing_digest"]
    training, data = card["training"], card["training"]["data"]
    assert "fc" in training["initial_weights"]["fresh"]
    assert "correlate above 0.97" in training["grouping_rule"]
    if any_held_out(card):
        measured = card["metrics"]["held_out"]
        assert measured["n"] == sum(data["split"]["held_out"].values())
    else:  # trained on every picture: its figures are those of its cross-validation
        measured = card["metrics"]["out_of_fold"]
        assert measured["data"]["digest"] == data["digest"]
        assert measured["folds_planned"] == 5
        assert [row["fold"] for row in measured["folds"]] == measured["folds_measured"]
        every = data["images"] - data["quarantined_images"]
        if len(measured["folds"]) == 5:
            assert measured["n"] == every
        else:  # and the card says how many of how many
            assert 0 < measured["n"] < every
    for key in ("accuracy", "macro_f1", "auc_malignant", "sensitivity", "specificity"):
        low, high = measured["ci95"][key]
        assert low <= measured[key] <= high


def test_it_has_a_refusal_check_and_may_abstain(predictor):
    assert predictor.model.detector is not None
    assert predictor.model.card["refusal"]
    assert 0 < predictor.model.card["abstention"]["minimum_score"] < 1


def test_it_answers_phantoms_with_scores_that_sum_to_one(predictor):
    predictor.warm_up()
    pictures = [png(bmode_phantom(seed, lesion=lesion)) for seed, lesion in enumerate(CLASSES)]
    for answer in predictor.predict(pictures):
        # A phantom is no patient's picture: a refusal check may say so.
        assert answer.outcome == "answered" or predictor.model.detector
        assert sum(answer.probabilities.values()) == pytest.approx(1)
        assert answer.heatmap.shape == (3, 7, 7)
        assert answer.model_version == registry.SHIPPED.stem


def _check_it_knows_its_pictures(predictor, shared_dir):
    """All that can be measured of a model of everything here: that it knows what it has seen."""
    trained = registry.trained_pictures(predictor.model.path)
    whole = read_dataset(shared_dir / "data" / "busi")
    seen = seen_in_training(predictor.model.card, trained, whole, whole.records)
    usable = int((~group_records(whole.records).quarantined).sum())
    assert seen.same + seen.alike >= usable
    with pytest.raises(UsageError):
        held_out_part(predictor.model.card, whole, trained)


def test_its_held_out_figures_are_measured_again_or_its_pictures_are_known(predictor, shared_dir):
    card = predictor.model.card
    if not any_held_out(card):
        _check_it_knows_its_pictures(predictor, shared_dir)
        return
    whole = read_dataset(shared_dir / "data" / "busi")
    data = held_out_part(card, whole, registry.trained_pictures(predictor.model.path))
    scored = score_records(predictor, data, data.records)
    groups = group_records(data.records).groups
    threshold = predictor.model.operating_point.threshold
    found = evaluation(scored, threshold, groups, bootstraps=1)
    stated = card["metrics"]["held_out"]
    for key in ("n", "accuracy", "macro_f1", "auc_malignant", "sensitivity", "specificity"):
        assert found[key] == pytest.approx(stated[key], abs=0.01), key
