"""Evaluation in parts: outcomes, sources, lesion sizes, stated sensitivities, score files."""

import csv
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from ml import evaluate
from ml.calibrate import softmax
from ml.cli import UsageError, run_cli
from ml.config import BCWEB, CLASSES, MALIGNANT
from ml.dataset import read_dataset
from ml.duplicates import RULE, group_records
from ml.errors import DatasetError
from ml.evaluate import evaluation
from ml.heldout import held_out_part
from ml.intervals import wilson
from ml.metrics import Sample, measure
from ml.oof import OutOfFold
from ml.reports import summary
from ml.scored import cross_fitted, records_of
from ml.split import split_records
from ml.strata import by_lesion_area, coverage_table, lesion_areas
from tests.ml.helpers import phantom, png
from tests.ml.samples import made, scored

ONLY = {"benign": 0, "malignant": 1, "normal": 2}


def evaluated(targets, scores, *, threshold=0.4, bootstraps=20, **more):
    pictures = scored(
        targets, scores, threshold, more.pop("outcomes", None), **more.pop("columns", {})
    )
    groups = np.arange(len(targets)) // 2
    return evaluation(pictures, threshold, groups, bootstraps=bootstraps, **more)


def by_score(malignant):
    """Scores of pictures whose malignant score is given, the rest benign."""
    malignant = np.asarray(malignant, dtype=np.float64)
    return np.stack([1 - malignant, malignant, np.zeros_like(malignant)], axis=1)


def test_specificity_comes_with_the_sensitivity_reached_and_its_interval():
    # 210 malignant with falling scores: 98 % are 205.8, so 206 must be caught
    targets = np.repeat([1, 0], [210, 90])
    caught = np.linspace(0.9, 0.5, 210)
    cleared = np.concatenate([np.full(60, 0.1), np.full(30, caught[205] + 1e-4)])
    result = evaluated(targets, by_score(np.concatenate([caught, cleared])))
    found = result["specificity_at_sensitivity"]["0.98"]
    assert (found["caught"], found["malignant"]) == (206, 210)
    assert found["sensitivity_wilson95"] == pytest.approx([0.952, 0.993], abs=6e-4)
    assert found["threshold"] == pytest.approx(caught[205])
    assert found["specificity"] == pytest.approx(60 / 90)
    assert found["specificity"] == result["specificity_at_98_sensitivity"]
    assert found["specificity_wilson95"] == wilson(60, 90)
    assert result["specificity_at_sensitivity"]["0.95"]["caught"] == 200
    assert "206 of 210 caught, [0.952, 0.993], lower bound 0.952" in summary(result)


def test_refused_and_abstained_are_told_apart_and_also_counted_as_positive():
    targets = np.array([1, 1, 1, 0, 0, 0, 0, 2])
    scores = by_score([0.9, 0.1, 0.1, 0.1, 0.9, 0.1, 0.1, 0.1])
    outcomes = ["answered", "abstained", "answered", "refused", *["answered"] * 4]
    result = evaluated(targets, scores, outcomes=outcomes)
    assert (result["n"], result["n_refused"], result["n_abstained"]) == (8, 1, 1)
    assert result["sensitivity"] == pytest.approx(1 / 3)
    assert result["specificity"] == pytest.approx(4 / 5)
    assert result["as_if_positive"]["sensitivity"] == pytest.approx(2 / 3)
    assert result["as_if_positive"]["specificity"] == pytest.approx(3 / 5)
    assert result["as_if_positive"]["wilson95"]["sensitivity"] == wilson(2, 3)
    assert result["outcomes"]["abstained"]["n"] == 1
    shares = result["outcomes"]["refused"]["share_by_class"]
    assert shares == {"benign": pytest.approx(1 / 4), "malignant": 0, "normal": 0}
    only = result["answered_only"]
    assert only["n"] == 6
    assert only["sensitivity"] == pytest.approx(1 / 2)
    assert only["counts"] == {"benign": 3, "malignant": 2, "normal": 1}
    assert "refused 1, abstained 1 of 8" in summary(result)


def test_nothing_answered_leaves_nothing_to_measure_among_the_answered():
    targets, scores = made(count=20)
    result = evaluated(targets, scores, outcomes=["refused"] * 20)
    assert result["answered_only"] is None
    assert result["as_if_positive"]["sensitivity"] == 1
    assert result["as_if_positive"]["specificity"] == 0


def test_the_cancer_matrix_merges_benign_and_normal():
    targets, scores = made()
    result = evaluated(targets, scores)
    assert result["cancer_confusion"]["classes"] == ["cancer", "non-cancer"]
    for name, part in (
        ("largest_score", result),
        ("operating_point", result["at_operating_point"]),
    ):
        whole = np.array(part["confusion"])
        table = np.array(result["cancer_confusion"][name])
        own = whole[MALIGNANT, MALIGNANT]
        assert table[0].tolist() == [own, whole[MALIGNANT].sum() - own]
        assert table[1, 0] == whole[:, MALIGNANT].sum() - own
        assert table.sum() == len(targets)


def test_coverage_falls_with_the_surest_kept_and_ties_together():
    targets = np.array([0, 0, 0, 1, 1, 0, 1, 0, 0, 0])
    malignant = [0.05, 0.05, 0.1, 0.9, 0.9, 0.1, 0.3, 0.4, 0.45, 0.45]
    rows = coverage_table(Sample(targets, by_score(malignant), np.full(10, 0.5)))
    by_wanted = {row["wanted"]: row for row in rows}
    assert by_wanted[1.0]["coverage"] == 1 and by_wanted[1.0]["error"] == pytest.approx(0.1)
    # the fifth and sixth surest have 0.9 like the third and fourth
    assert by_wanted[0.5]["n"] == 6 and by_wanted[0.5]["error"] == 0
    assert by_wanted[0.5]["malignant_left_out"] == 1
    assert by_wanted[0.5]["sensitivity"] == 1
    assert by_wanted[0.7]["error"] == pytest.approx(1 / 7)
    assert by_wanted[0.7]["error_wilson95"] == wilson(1, 7)
    shares = [row["coverage"] for row in rows]
    assert shares == sorted(shares, reverse=True)
    assert all(row["coverage"] >= row["wanted"] for row in rows)


def test_predictive_values_only_come_with_a_stated_prevalence():
    targets, scores = made()
    plain = evaluated(targets, scores)
    assert "predictive_values" not in plain and "PPV" not in summary(plain)
    stated = evaluated(targets, scores, prevalence=0.01)
    assert stated["predictive_values"]["prevalence"] == 0.01
    low, high = stated["ci95"]["predictive_values"]["ppv"]
    assert low <= stated["predictive_values"]["ppv"] <= high < 0.5
    assert "PPV at a stated prevalence of 1 %: " in summary(stated)


def test_sources_devices_and_categories_have_figures_of_their_own():
    targets, scores = made(count=120)
    columns = {
        "source": ["here"] * 60 + ["there"] * 60,
        "device": [""] * 60 + ["Scanner A"] * 30 + ["Scanner B"] * 30,
        "birads": ["4"] * 120,
    }
    result = evaluated(targets, scores, columns=columns)
    assert list(result["per_source"]) == ["here", "there"]
    expected = measure(targets[:60], scores[:60], 0.4)
    assert {k: result["per_source"]["here"][k] for k in expected} == expected
    assert set(result["per_source"]["here"]["ci95"]["recall"]) <= set(CLASSES)
    assert {k: v["n"] for k, v in result["per_device"].items()} == {
        "Scanner A": 30, "Scanner B": 30, "not stated": 60,
    }  # fmt: skip
    assert list(result["per_birads"]) == ["4"]
    assert result["grouping_rule"] == RULE
    text = summary(result)
    assert "  Scanner A: n 30" in text and RULE in text
    assert evaluated(targets, scores)["per_device"] == {}


def test_lesion_sizes_are_parted_by_the_terciles_of_the_malignant():
    targets = np.array([1] * 6 + [0] * 3 + [2])
    areas = np.array([0.01, 0.02, 0.05, 0.06, 0.2, 0.3, 0.015, 0.07, np.nan, np.nan])
    malignant = [0.1, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.1, 0.1, 0.1]
    sample = Sample(targets, by_score(malignant), np.full(10, 0.5))
    found = by_lesion_area(sample, areas, np.arange(10), bootstraps=5)
    assert 0.02 < found["bounds"][0] <= 0.05 and 0.06 < found["bounds"][1] <= 0.2
    assert [found[k]["counts"]["malignant"] for k in ("small", "middle", "large")] == [2, 2, 2]
    assert [found[k]["sensitivity"] for k in ("small", "middle", "large")] == [0.5, 1, 1]
    assert found["small"]["specificity"] == 0 and found["middle"]["specificity"] == 1
    assert found["large"]["specificity"] is None
    assert found["small"]["wilson95"]["sensitivity"] == wilson(1, 2)
    none = np.full(10, np.nan)
    assert by_lesion_area(sample, none, np.arange(10), bootstraps=5) is None


def test_areas_are_shares_of_the_picture_under_all_its_masks(tmp_path):
    (tmp_path / "benign").mkdir()
    stem = tmp_path / "benign" / "a"
    stem.with_suffix(".png").write_bytes(png(phantom(1, size=(100, 200))))
    for name, rows in (("_mask", slice(0, 10)), ("_mask_1", slice(5, 20))):
        mask = np.zeros((100, 200), dtype=np.uint8)
        mask[rows, :100] = 255
        Image.fromarray(mask).save(tmp_path / "benign" / f"a{name}.png")
    (tmp_path / "benign" / "b.png").write_bytes(png(phantom(2)))
    dataset = read_dataset(tmp_path, classes_needed=1)
    found = lesion_areas(dataset, dataset.records)
    assert found[0] == pytest.approx(0.1)
    assert np.isnan(found[1])


@pytest.mark.parametrize("only", CLASSES)
def test_one_class_gives_null_and_valid_json(only):
    targets, scores = made(count=200)
    own = targets == ONLY[only]
    result = evaluated(targets[own], scores[own], prevalence=0.01)
    json.dumps(result, allow_nan=False)
    assert result["auc_malignant"] is None
    assert result["specificity_at_sensitivity"] == {"0.95": None, "0.98": None}
    assert result["predictive_values"]["ppv"] is None
    assert summary(result)


@pytest.fixture
def kept(dataset, tmp_path):
    """Out-of-fold logits of the phantoms in four folds, as cross-validation keeps them."""
    rng = np.random.default_rng(0)
    targets = np.array([r.target for r in dataset.records])
    found = OutOfFold(
        files=tuple(r.file for r in dataset.records),
        sha256=tuple(r.sha256 for r in dataset.records),
        logits=rng.normal(size=(len(targets), 3)) + 2 * np.eye(3)[targets],
        targets=targets,
        folds=np.arange(len(targets)) % 4,
        groups=group_records(dataset.records).groups,
        identity={},
    )
    found.save(tmp_path / "oof.npz")
    return found


def test_a_score_file_is_measured_as_cross_validation_would(
    kept, data_dir, dataset, tmp_path, capsys
):
    out = tmp_path / "e.json"
    arguments = ["--data", str(data_dir), "--oof", str(tmp_path / "oof.npz"), "--json", str(out)]
    assert evaluate.main([*arguments, "--bootstraps", "5"]) == 0
    result = json.loads(out.read_text())
    pictures, thresholds = cross_fitted(kept, dataset.records)
    expected = evaluation(pictures, thresholds, kept.groups, bootstraps=5)
    for key in ("n", "accuracy", "auc_malignant", "sensitivity", "n_abstained", "ci95"):
        assert result[key] == expected[key]
    assert result["operating_threshold"] == sorted(set(thresholds.tolist()))
    assert result["model"] is None
    fold = kept.folds == 2
    fitted = kept.calibration(0.95, without=2)
    assert pictures.scores[fold] == pytest.approx(softmax(kept.logits[fold], fitted.temperature))
    assert set(thresholds[fold]) == {fitted.threshold}


def test_scores_of_other_pictures_are_refused(kept, dataset, data_dir, tmp_path, capsys):
    other = tmp_path / "other"
    shutil.copytree(data_dir, other)
    (other / "normal" / "normal (1).png").unlink()
    with pytest.raises(DatasetError, match=r"1 pictures .* such as normal/normal"):
        records_of(kept, read_dataset(other))
    twice = OutOfFold(
        kept.files * 2, kept.sha256 * 2, kept.logits, kept.targets, kept.folds, kept.groups, {}
    )
    with pytest.raises(DatasetError, match="two out-of-fold scores"):
        records_of(twice, dataset)
    arguments = ["--data", str(other), "--oof", str(tmp_path / "oof.npz")]
    assert run_cli(lambda: evaluate.main(arguments)) == 2
    arguments = ["--data", str(data_dir), "--oof", str(data_dir / "normal" / "normal (1).png")]
    assert run_cli(lambda: evaluate.main(arguments)) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line.startswith("error: ") for line in lines] == [True, True]


def test_a_manifest_alone_is_data(data_dir, model_file, tmp_path, capsys):
    folder = tmp_path / "set"
    (folder / "pictures").mkdir(parents=True)
    with (folder / "manifest.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["file", "class", "patient_id", "source", "birads", "device"])
        for number, path in enumerate(sorted(data_dir.glob("*/*[0-9)].png"))[:16]):
            shutil.copy(path, folder / "pictures" / f"{number}.png")
            row = [f"pictures/{number}.png", path.parent.name, str(number // 2), "clinic"]
            table.writerow([*row, str(3 + number % 2), "Scanner A"])
    out = tmp_path / "e.json"
    arguments = ["--data", str(folder), "--model", str(model_file), "--json", str(out)]
    figures = tmp_path / "figures"
    arguments += ["--bootstraps", "5", "--figures", str(figures), "--prevalence", "0.01"]
    assert evaluate.main(arguments) == 0
    result = json.loads(out.read_text())
    assert result["n_groups"] <= 8
    assert list(result["per_source"]) == ["clinic"]
    assert list(result["per_birads"]) == ["3", "4"]
    assert list(result["per_device"]) == ["Scanner A"]
    assert result["counts"]["normal"] == 0 and result["auc_by_class"]["normal"] is None
    assert result["predictive_values"]["prevalence"] == 0.01
    assert (figures / "roc.svg").is_file() and (figures / "coverage.svg").is_file()


def test_one_class_is_measured_where_that_is_asked_for(data_dir, model_file, tmp_path):
    folder = tmp_path / "one"
    shutil.copytree(data_dir / "malignant", folder / "malignant")
    out, figures = tmp_path / "e.json", tmp_path / "figures"
    arguments = ["--data", str(folder), "--model", str(model_file), "--single-class"]
    arguments += ["--json", str(out), "--figures", str(figures), "--bootstraps", "5"]
    assert evaluate.main(arguments) == 0
    result = json.loads(out.read_text())
    assert result["n"] == 8 and result["specificity"] is None and result["sensitivity"] is not None
    assert not (figures / "roc.svg").exists() and (figures / "confusion.svg").is_file()


@pytest.mark.parametrize(
    "wrong",
    [["--prevalence", "1"], ["--prevalence", "0"], ["--oof", "x.npz", "--limit-images", "3"]],
)
def test_options_that_make_no_sense_end_with_2(wrong, data_dir, capsys):
    assert run_cli(lambda: evaluate.main(["--data", str(data_dir), *wrong])) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def card_of(dataset, held_out, **facts):
    split = {"train": {"benign": 5}, "validation": {}, "held_out": {"benign": held_out}}
    data = {"digest": dataset.digest(), "split": split, **facts}
    return {"training": {"config": BCWEB.to_dict(), "data": data}}


@pytest.mark.parametrize("kind", ["grouped", "random"])
def test_the_held_out_part_is_that_of_the_models_own_split(dataset, kind):
    found = held_out_part(card_of(dataset, 3, split_kind=kind), dataset, None)
    split = split_records(dataset.records, folds=BCWEB.folds, seed=BCWEB.seed, kind=kind)
    assert found.records == tuple(dataset.records[i] for i in split.held_out)


def test_a_model_trained_on_everything_has_no_held_out_part(dataset):
    with pytest.raises(UsageError, match="trained on all of this data"):
        held_out_part(card_of(dataset, 0), dataset, None)


def test_out_of_fold_scores_say_nothing_of_refusal(kept, dataset):
    pictures, thresholds = cross_fitted(kept, dataset.records)
    result = evaluation(pictures, thresholds, kept.groups, bootstraps=5)
    assert result["n_refused"] is None
    assert result["outcomes"]["refused"]["n"] is None
    assert "refusal not checked, abstained" in summary(result)


def test_the_result_says_which_answer_each_figure_is_about():
    targets, scores = made(count=30)
    said = evaluated(targets, scores)["answered_by"]
    figures = {key: rule for keys, rule in said.items() for key in keys.split(", ")}
    assert figures["confusion"] == figures["accuracy"] == "the class with the largest score"
    assert figures["label in the predictions"].startswith("the operating point")


def test_quarantined_pictures_are_measured_and_counted(data_dir, model_file, tmp_path):
    folder, out = tmp_path / "data", tmp_path / "e.json"
    for name in ("benign", "malignant"):
        shutil.copytree(data_dir / name, folder / name)
    shutil.copy(folder / "benign" / "benign (1).png", folder / "malignant" / "again.png")
    arguments = ["--data", str(folder), "--model", str(model_file), "--json", str(out)]
    assert evaluate.main([*arguments, "--bootstraps", "5"]) == 0
    result = json.loads(out.read_text())
    assert (result["n"], result["n_quarantined"], result["conflicting_groups"]) == (19, 2, 1)
