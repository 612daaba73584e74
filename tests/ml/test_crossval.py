"""Cross-validation: what it writes, what it fits on what, and the model trained on everything."""

import itertools
import json
import os
import shutil
import signal
from dataclasses import replace

import numpy as np
import pytest

from ml import crossval, evaluate, registry, train
from ml.calibrate import fit_abstention, fit_calibration, group_weights
from ml.cli import UsageError, run_cli
from ml.config import BCWEB, CLASSES, TrainConfig
from ml.dataset import read_dataset
from ml.errors import ModelFileError
from ml.evaluate import score_records
from ml.inference import Predictor
from ml.oof import OutOfFold, logits_from_scores
from ml.split import split_records
from ml.trainer import Trainer
from tests.ml.helpers import phantom, png

TINY = ["--epochs", "1", "--size", "64", "--batch-size", "8", "--init", "none", "--bootstraps", "5"]


@pytest.fixture
def out_of_fold():
    rng = np.random.default_rng(3)
    targets = rng.integers(0, 3, 120)
    logits = rng.normal(size=(120, 3)) + 2.5 * np.eye(3)[targets]
    folds, groups = np.arange(120) % 5, np.arange(120) // 2
    names = tuple(f"{i}.png" for i in range(120))
    return OutOfFold(names, names, logits, targets, folds, groups, {"data": "x"})


def test_out_of_fold_scores_survive_a_file(out_of_fold, tmp_path):
    out_of_fold.save(tmp_path / "oof.npz")
    read = OutOfFold.load(tmp_path / "oof.npz")
    assert read.files == out_of_fold.files and read.identity == {"data": "x"}
    assert (read.logits == out_of_fold.logits).all() and (read.folds == out_of_fold.folds).all()


@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04cut", b"no archive"])
def test_a_bad_file_of_scores_is_one_clear_error(content, tmp_path):
    path = tmp_path / "oof.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelFileError, match=r"oof\.npz holds no out-of-fold scores"):
        OutOfFold.load(path)


def test_what_is_measured_on_a_fold_is_not_fitted_on_it(out_of_fold):
    changed = replace(
        out_of_fold, logits=np.where(out_of_fold.folds[:, None] == 2, 99.0, out_of_fold.logits)
    )
    assert changed.calibration(0.95, without=2) == out_of_fold.calibration(0.95, without=2)
    assert changed.calibration(0.95) != out_of_fold.calibration(0.95)


def test_a_lone_fold_is_calibrated_on_parts_of_it_that_share_no_group(out_of_fold):
    assert (out_of_fold.parts == out_of_fold.folds).all()
    lone = replace(out_of_fold, folds=np.full(120, 3))
    assert set(lone.parts.tolist()) == set(range(5))
    for group in np.unique(lone.groups):
        assert len(set(lone.parts[lone.groups == group].tolist())) == 1
    changed = replace(lone, logits=np.where(lone.parts[:, None] == 2, 99.0, lone.logits))
    assert changed.calibration(0.95, without=2) == lone.calibration(0.95, without=2)
    sizes = np.bincount(lone.parts)
    assert sizes.max() - sizes.min() <= 2 * 3  # one group a class at most


def test_logits_come_back_from_scores_up_to_a_constant(out_of_fold):
    powers = np.exp(out_of_fold.logits)
    back = logits_from_scores(powers / powers.sum(axis=1, keepdims=True))
    shift = back - out_of_fold.logits
    assert np.allclose(shift, shift[:, :1])


def test_calibration_reaches_the_wanted_sensitivity_on_what_it_saw(out_of_fold):
    weights = group_weights(out_of_fold.groups)
    found = fit_calibration(out_of_fold.logits, out_of_fold.targets, weights, 0.9)
    powers = np.exp(out_of_fold.logits / found.temperature)
    scores = powers / powers.sum(axis=1, keepdims=True)
    assert (scores[out_of_fold.targets == 1, 1] >= found.threshold).mean() >= 0.9


def test_abstention_keeps_the_greatest_coverage_with_the_wanted_error():
    top = np.linspace(0.99, 0.40, 100)
    scores = np.stack([top, (1 - top) / 2, (1 - top) / 2], axis=1)
    targets = np.zeros(100, dtype=np.int64)
    targets[86:] = 1  # the least sure 14 are wrong
    minimum, error, coverage = fit_abstention(scores, targets, np.ones(100))
    assert coverage == pytest.approx(0.95) and error == pytest.approx(9 / 95)
    assert (top >= minimum).sum() == 95


def test_abstention_leaves_nothing_out_when_all_is_well_and_a_fifth_at_most():
    top = np.linspace(0.99, 0.40, 100)
    scores = np.stack([top, (1 - top) / 2, (1 - top) / 2], axis=1)
    right = np.zeros(100, dtype=np.int64)
    assert fit_abstention(scores, right, np.ones(100)) == (0.0, 0.0, 1.0)
    minimum, error, coverage = fit_abstention(scores, right + 1, np.ones(100))
    assert (error, coverage) == (1.0, pytest.approx(0.8)) and minimum > 0.4


def test_settings_follow_another_number_of_epochs_and_another_size():
    config = TrainConfig(epochs=10, size=224, stages=((4, 128), (2, 160)))
    assert config.changed(epochs=20).stages == ((8, 128), (4, 160))
    assert config.changed(epochs=1).stages == ()
    assert config.changed(size=128).stages == ()
    assert config.changed(epochs=None, seed=3) == replace(config, seed=3)
    assert [config.size_at(e) for e in (0, 3, 4, 5, 6, 9)] == [128, 128, 160, 160, 224, 224]
    assert TrainConfig.from_dict(BCWEB.to_dict()) == BCWEB


def test_a_model_of_everything_takes_its_figures_from_the_folds(data_dir, tmp_path, narrow):
    folds = tmp_path / "folds"
    data = ["--data", str(data_dir), *TINY]
    assert crossval.main([*data, "--folds", "2", "--out", str(folds)]) == 0
    measured = json.loads((folds / "crossval.json").read_text())
    saved = OutOfFold.load(folds / "oof.npz")
    card = registry.read_card(folds / "fold-1" / "model.safetensors")
    expected = saved.calibration(0.95, without=1)
    assert card["temperature"] == expected.temperature
    assert card["operating_point"]["threshold"] == expected.threshold
    assert len(saved.files) == measured["n"] == 24

    out = tmp_path / "final"
    assert train.main([*data, "--out", str(out), "--crossval", str(folds)]) == 0
    final = registry.read_card(out / "model.safetensors")
    assert final["metrics"]["out_of_fold"]["auc_malignant"] == measured["auc_malignant"]
    assert final["temperature"] == saved.calibration(0.95).temperature
    assert (out / "figures" / "confusion-train.svg").is_file()
    assert "no part of the data validated" in final["training"]["curves"]
    assert final["training"]["data"]["split"]["held_out"] == {
        "benign": 0,
        "malignant": 0,
        "normal": 0,
    }


def test_folds_can_be_trained_one_by_one_and_scored_ones_are_taken_as_they_are(
    data_dir, tmp_path, narrow, capsys
):
    data = ["--data", str(data_dir), *TINY, "--folds", "3"]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert crossval.main([*data, "--out", str(whole)]) == 0
    assert crossval.main([*data, "--out", str(parts), "--resume", "--only", "2"]) == 0
    alone = json.loads((parts / "crossval.json").read_text())
    assert alone["folds_measured"] == [2]
    held_out = OutOfFold.load(parts / "oof.npz")
    assert set(held_out.folds.tolist()) == {2} and alone["n"] == len(held_out.files) < 24
    card = registry.read_card(parts / "fold-2" / "model.safetensors")
    assert "its own held-out pictures" in card["training"]["calibrated_on"]
    assert crossval.main([*data, "--out", str(parts), "--resume", "--only", "0"]) == 0
    partly = json.loads((parts / "crossval.json").read_text())
    assert (partly["folds_measured"], partly["folds_planned"]) == ([0, 2], 3)
    # Of a fold from another machine the scores are enough.
    shutil.rmtree(parts / "fold-0")
    (parts / "fold-0").mkdir()
    shutil.copy(whole / "fold-0" / "oof.npz", parts / "fold-0")
    capsys.readouterr()
    assert crossval.main([*data, "--out", str(parts), "--resume"]) == 0
    assert capsys.readouterr().out.count("already scored") == 2
    ours, theirs = OutOfFold.load(parts / "oof.npz"), OutOfFold.load(whole / "oof.npz")
    assert ours.files == theirs.files and (ours.logits == theirs.logits).all()
    assert json.loads((parts / "crossval.json").read_text())["folds_measured"] == [0, 1, 2]


def test_a_model_of_everything_says_that_only_some_folds_were_measured(data_dir, tmp_path, narrow):
    data, folds = ["--data", str(data_dir), *TINY], tmp_path / "folds"
    command = [*data, "--folds", "3", "--out", str(folds), "--only", "0", "2"]
    assert crossval.main(command) == 0
    out = tmp_path / "final"
    assert train.main([*data, "--out", str(out), "--crossval", str(folds)]) == 0
    measured = registry.read_card(out / "model.safetensors")["metrics"]["out_of_fold"]
    assert (measured["folds_measured"], measured["folds_planned"]) == ([0, 2], 3)


def test_a_fold_that_is_not_there_or_has_no_folder_is_bad_usage(data_dir, tmp_path, narrow):
    data = ["--data", str(data_dir), *TINY, "--folds", "2", "--only", "2"]
    with pytest.raises(UsageError, match="numbered 0 to 1"):
        crossval.main([*data, "--out", str(tmp_path / "folds")])
    with pytest.raises(UsageError, match="--only needs --out"):
        crossval.main(data)


def test_a_measurement_says_how_many_pictures_the_model_was_trained_on(data_dir, tmp_path, narrow):
    folds, part, json_out = tmp_path / "folds", tmp_path / "part", tmp_path / "e.json"
    assert crossval.main(["--data", str(data_dir), *TINY, "--folds", "2", "--out", str(folds)]) == 0
    shutil.copytree(data_dir, part)
    for path in sorted(part.glob("benign/*(?).png")):
        path.unlink()
    held_out = OutOfFold.load(folds / "oof.npz")
    trained = {file for file, fold in zip(held_out.files, held_out.folds, strict=True) if fold != 0}
    left = [f for f in held_out.files if (part / f).exists()]
    model = str(folds / "fold-0" / "model.safetensors")
    arguments = ["--data", str(part), "--model", model, "--json", str(json_out)]
    assert evaluate.main([*arguments, "--bootstraps", "5"]) == 0
    result = json.loads(json_out.read_text())
    assert result["n_seen_in_training"] == len(trained & set(left)) > 0
    assert result["seen_in_training"] is True
    assert result["n"] == len(left)


def test_figures_of_another_run_are_refused(data_dir, tmp_path, narrow):
    folds = tmp_path / "folds"
    data = ["--data", str(data_dir), *TINY]
    assert crossval.main([*data, "--folds", "2", "--out", str(folds)]) == 0
    other = [*data, "--seed", "5", "--out", str(tmp_path / "x"), "--crossval", str(folds)]
    with pytest.raises(UsageError, match="another run: config"):
        train.main(other)
    assert not (tmp_path / "x").exists()  # before a step was made
    (folds / "crossval.json").unlink()
    with pytest.raises(UsageError, match=r"folds holds no crossval\.json"):
        train.main([*data, "--out", str(tmp_path / "x"), "--crossval", str(folds)])
    assert not (tmp_path / "x").exists()


def test_a_training_on_everything_takes_no_split(data_dir, tmp_path):
    arguments = ["--data", str(data_dir), "--out", str(tmp_path / "x"), "--crossval", str(tmp_path)]
    with pytest.raises(UsageError, match="--crossval trains on every picture"):
        train.main([*arguments, "--split", "random"])


def test_what_was_loaded_and_skipped_is_told_and_a_wish_to_stop_ends_between_steps(
    data_dir, tmp_path, narrow, capsys, monkeypatch
):
    root = tmp_path / "data"
    shutil.copytree(data_dir, root)
    (root / "benign" / "broken.png").write_bytes(b"no picture")
    train_epoch = Trainer.run_epoch

    def told_to_stop(trainer, *arguments):
        os.kill(os.getpid(), signal.SIGTERM)
        return train_epoch(trainer, *arguments)

    monkeypatch.setattr(Trainer, "run_epoch", told_to_stop)
    arguments = ["--data", str(root), *TINY, "--out", str(tmp_path / "out")]
    assert run_cli(lambda: crossval.main(arguments)) == 1
    told = capsys.readouterr()
    assert told.out.startswith("fold 0: ")
    skipped, ended = told.err.splitlines()
    assert skipped.startswith("skipped benign/broken.png: ")
    assert ended == "error: the training was cancelled in epoch 1 of 1"


@pytest.mark.parametrize("known", ['{"by": "source", "folds": 5}', '{"by": "group", "folds": 2}'])
def test_a_folder_with_folds_made_otherwise_is_refused(known, dataset, tmp_path):
    (tmp_path / crossval.PLAN_FILE).write_text(known)
    with pytest.raises(UsageError, match="holds the folds of another cross-validation"):
        crossval.cross_validate(dataset, BCWEB, tmp_path)


def test_a_folder_with_more_folds_than_are_made_now_is_refused(dataset, tmp_path):
    (tmp_path / "fold-5").mkdir()
    with pytest.raises(UsageError, match="holds the folds of another cross-validation"):
        crossval.cross_validate(dataset, BCWEB, tmp_path)


def test_out_of_fold_scores_are_those_of_the_folds_files(data_dir, dataset, tmp_path, narrow):
    arguments = ["--data", str(data_dir), *TINY, "--folds", "2", "--out", str(tmp_path)]
    assert crossval.main(arguments) == 0
    saved = OutOfFold.load(tmp_path / "oof.npz")
    predictor = Predictor(tmp_path / "fold-0" / "model.safetensors", device="cpu")
    own = [r for r in dataset.records if r.file in np.array(saved.files)[saved.folds == 0]]
    again = score_records(predictor, dataset, own).scores
    powers = np.exp(saved.logits[saved.folds == 0] / predictor.model.temperature)
    order = [list(np.array(saved.files)[saved.folds == 0]).index(r.file) for r in own]
    expected = (powers / powers.sum(axis=1, keepdims=True))[order]
    assert np.allclose(again, expected, atol=1e-5)


def test_each_source_is_held_out_once_and_shares_nothing_with_its_training(tmp_path):
    root = tmp_path / "sets"
    for seed, (name, label) in enumerate(itertools.product(("first", "second"), CLASSES)):
        (root / name / label).mkdir(parents=True)
        for number in range(3):
            path = root / name / label / f"{number}.png"
            path.write_bytes(png(phantom(10 * seed + number, lesion=label)))
    data = read_dataset(root)
    splits = crossval.fold_splits(data, BCWEB, "source")
    sources = np.array([r.source for r in data.records])
    assert [set(sources[s.held_out]) for s in splits] == [{"first"}, {"second"}]
    assert [set(sources[s.train]) for s in splits] == [{"second"}, {"first"}]
    assert all(len(s.validation) == 0 for s in splits)


def test_data_of_one_source_cannot_be_held_out_by_source(dataset):
    with pytest.raises(UsageError, match="no other source"):
        crossval.fold_splits(dataset, BCWEB, "source")


def test_the_published_split_says_what_it_leaks(data_dir, tmp_path, narrow):
    root = tmp_path / "twins"
    shutil.copytree(data_dir, root)
    for path in sorted(root.glob("benign/benign (?).png")):
        shutil.copy(path, path.with_name(f"copy of {path.name}"))
    out = tmp_path / "out"
    arguments = ["--data", str(root), "--recipe", "paper", "--split", "random", "--out", str(out)]
    assert train.main([*arguments, *TINY]) == 0
    card = registry.read_card(out / "model.safetensors")
    facts = card["training"]["data"]
    assert facts["split_kind"] == "random"
    records = read_dataset(root).records
    parts = split_records(records, folds=5, seed=0, kind="random", validate=False)
    groups = parts.grouping.groups.tolist()
    trained = {groups[i] for i in parts.train.tolist()}
    by_hand = sum(groups[i] in trained for i in parts.held_out.tolist())
    assert facts["held_out_with_their_group_in_training"] == by_hand
    assert 0 < by_hand < len(parts.held_out)
    assert "published protocol" in card["training"]["calibrated_on"]
    assert (out / "history.csv").read_text().splitlines()[0].count("val_") >= 5
