"""The model that ships: its card is true, and it answers."""

import pytest

from ml import registry
from ml.config import CLASSES
from ml.dataset import read_dataset
from ml.duplicates import group_records
from ml.evaluate import evaluation, score_records
from ml.heldout import held_out_part
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
    assert training["initial_weights"]["fresh"] == ["layer4", "fc"]
    assert "correlate above 0.97" in training["grouping_rule"]
    held_out = card["metrics"]["held_out"]
    assert held_out["n"] == sum(data["split"]["held_out"].values())
    for key in ("accuracy", "macro_f1", "auc_malignant", "sensitivity", "specificity"):
        low, high = held_out["ci95"][key]
        assert low <= held_out[key] <= high


def test_it_answers_phantoms_with_scores_that_sum_to_one(predictor):
    predictor.warm_up()
    pictures = [png(bmode_phantom(seed, lesion=lesion)) for seed, lesion in enumerate(CLASSES)]
    for answer in predictor.predict(pictures):
        assert answer.outcome == "answered"
        assert sum(answer.probabilities.values()) == pytest.approx(1)
        assert answer.heatmap.shape == (3, 7, 7)
        assert answer.model_version == registry.SHIPPED.stem


def test_its_held_out_figures_are_measured_again(predictor, shared_dir):
    card = predictor.model.card
    whole = read_dataset(shared_dir / "data" / "busi")
    data = held_out_part(card, whole, registry.trained_pictures(predictor.model.path))
    scored = score_records(predictor, data, data.records)
    groups = group_records(data.records).groups
    threshold = predictor.model.operating_point.threshold
    found = evaluation(scored, threshold, groups, bootstraps=1)
    stated = card["metrics"]["held_out"]
    for key in ("n", "accuracy", "macro_f1", "auc_malignant", "sensitivity", "specificity"):
        assert found[key] == pytest.approx(stated[key], abs=0.01), key
