"""Comparators: texture features by hand, and the whole comparison on phantoms."""

import json

import numpy as np
import pytest
from sklearn.pipeline import Pipeline

from ml import baselines, texture
from ml.baselines import COMPARATORS, choose, compare, logits_of, out_of_fold, texture_features
from ml.calibrate import softmax
from ml.cli import run_cli
from ml.dataset import read_dataset
from ml.errors import DatasetError
from ml.preprocessing import PREPROCESSING, Preprocessing
from ml.split import split_records
from tests.ml.helpers import phantom, png
from tests.ml.samples import KEYS


def value(found, name):
    return found[texture.NAMES.index(name)]


def test_features_have_names_and_are_finite():
    for image in (phantom(1), np.zeros((20, 30), dtype=np.uint8)):
        found = texture.features(image)
        assert found.shape == (len(texture.NAMES),)
        assert np.isfinite(found).all()
    assert len(set(texture.NAMES)) == len(texture.NAMES)


def test_features_of_stripes_by_hand():
    # columns of 0 and 8, one level apart: only vertical neighbours are alike; 8 px and, on the
    # diagonals, 6 columns away everything is as here
    stripes = np.tile(np.array([0, 8], dtype=np.uint8), (32, 16))
    found = texture.features(stripes)
    assert value(found, "glcm_contrast_mean_d1") == pytest.approx(3 / 4)  # 0, 45 and 135 degrees
    assert value(found, "glcm_contrast_range_d1") == pytest.approx(1)
    assert value(found, "glcm_contrast_range_d8") == pytest.approx(0)
    assert value(found, "glcm_correlation_mean_d8") == pytest.approx(1)
    assert value(found, "grey_mean") == 4 and value(found, "grey_std") == 4
    assert value(found, "grey_entropy") == pytest.approx(1)
    assert value(found, "grey_dark") == 1
    lbp = [n for n in texture.NAMES if n.startswith("lbp_8_")]
    assert sum(value(found, n) for n in lbp) == pytest.approx(1)


def test_features_do_not_see_the_padding():
    tall = np.repeat(phantom(3, size=(200, 80))[:, :, None], 3, axis=2)
    inner = texture.content(tall, Preprocessing(crop="none"))
    assert inner.shape == (224, 90)
    squashed = texture.content(tall, PREPROCESSING["paper"])
    assert squashed.shape == (224, 224)
    thin = np.repeat(phantom(3, size=(400, 16))[:, :, None], 3, axis=2)
    assert texture.content(thin, Preprocessing(crop="none")).shape == (224, 16)


def test_logits_are_in_class_order_also_with_a_class_missing():
    rng = np.random.default_rng(0)
    targets = np.repeat([1, 2], 30)
    features = rng.normal(size=(60, 4)) + 4 * targets[:, None]
    for comparator in COMPARATORS.values():
        model = comparator.build(comparator.settings[0]).fit(features, targets)
        assert isinstance(model, Pipeline)
        scores = softmax(logits_of(model, features))
        assert scores.shape == (60, 3)
        assert scores[:, 0].max() < 1e-6
        assert (scores.argmax(axis=1) == targets).mean() > 0.9


def test_settings_are_chosen_without_the_held_out_pictures(dataset):
    splits = [split_records(dataset.records, folds=3, fold=fold) for fold in range(3)]
    targets = np.array([r.target for r in dataset.records])
    rng = np.random.default_rng(0)
    features = rng.normal(size=(len(targets), 5)) + targets[:, None]
    comparator = COMPARATORS["logistic"]
    spoilt = features.copy()
    spoilt[splits[0].held_out] = 1e6
    assert choose(comparator, features, targets, splits[0]) == choose(
        comparator, spoilt, targets, splits[0]
    )
    found, settings = out_of_fold(comparator, dataset, features, splits)
    assert len(settings) == 3 and all(s in comparator.settings for s in settings)
    usable = np.flatnonzero(~splits[0].grouping.quarantined)
    assert sorted(found.files) == sorted(dataset.records[i].file for i in usable)
    # a fold's logits do not change with what the held-out pictures look like to others
    again, _ = out_of_fold(comparator, dataset, features, splits)
    assert (again.logits == found.logits).all()


@pytest.fixture(scope="module")
def quick(request):
    """One small setting for each comparator: the phantoms are too few to choose by."""
    patch = pytest.MonkeyPatch()
    request.addfinalizer(patch.undo)
    small = {
        "knn": {"n_neighbors": 5},
        "svm": {"C": 10},
        "logistic": {"C": 1},
        "boosting": {"max_iter": 10, "min_samples_leaf": 3},
    }
    for name, setting in small.items():
        old = COMPARATORS[name]
        patch.setitem(COMPARATORS, name, baselines.Comparator(old.title, old.make, (setting,)))


def test_all_comparators_on_phantoms_end_to_end(data_dir, dataset, tmp_path, capsys, quick):
    out = tmp_path / "b.json"
    splits = [split_records(dataset.records, folds=2, fold=fold) for fold in range(2)]
    features = texture_features(dataset, PREPROCESSING["bcweb"])
    scores, _ = out_of_fold(COMPARATORS["svm"], dataset, features, splits)
    scores.save(tmp_path / "oof.npz")
    arguments = ["--data", str(data_dir), "--folds", "2", "--bootstraps", "10"]
    arguments += ["--oof", str(tmp_path / "oof.npz"), "--json", str(out)]
    assert baselines.main(arguments) == 0
    result = json.loads(out.read_text())
    assert list(result["comparators"]) == ["knn", "svm", "logistic", "boosting", "network"]
    for part in result["comparators"].values():
        assert set(part) >= KEYS
        assert part["n"] == len(scores.files)
    # these scores are the SVM's own, so the "network" must have its figures
    network, own = result["comparators"]["network"], result["comparators"]["svm"]
    assert network["same_folds"] is True
    assert network["auc_malignant"] == pytest.approx(own["auc_malignant"])
    assert network["ci95"]["accuracy"] == pytest.approx(own["ci95"]["accuracy"])
    # ragged upright masses against smooth ovals: texture tells most phantoms
    assert own["accuracy"] > 0.5
    text = capsys.readouterr().out
    assert result["grouping_rule"] in text
    for part in result["comparators"].values():
        assert part["title"] in text and f"{part['accuracy']:.3f}" in text


def test_sources_get_tables_of_their_own(data_dir, tmp_path, quick):
    for number, name in enumerate(("one", "two")):
        for path in sorted(data_dir.glob("*/*[0-9)].png"))[number::2]:
            target = tmp_path / name / path.parent.name / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    dataset = read_dataset(tmp_path)
    result = compare(dataset, folds=2, bootstraps=5)
    text = baselines.tables(result)
    assert "one: 12 pictures" in text and "two: 12 pictures" in text


def test_data_without_malignant_pictures_to_train_on_is_refused(tmp_path, capsys, quick):
    for number in range(8):
        label = "benign" if number % 2 else "normal"
        (tmp_path / label).mkdir(exist_ok=True)
        image = phantom(number, size=(40, 50), lesion=label)
        (tmp_path / label / f"{number}.png").write_bytes(png(image))
    with pytest.raises(DatasetError, match="no malignant"):
        compare(read_dataset(tmp_path), folds=2, bootstraps=5)
    arguments = ["--data", str(tmp_path), "--folds", "2"]
    assert run_cli(lambda: baselines.main(arguments)) == 2
    assert run_cli(lambda: baselines.main([*arguments[:2], "--folds", "1"])) == 2
    bad = tmp_path / "x.npz"
    bad.write_bytes(b"no scores")
    assert run_cli(lambda: baselines.main([*arguments[:2], "--oof", str(bad)])) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3 and all(line.startswith("error: ") for line in lines)
