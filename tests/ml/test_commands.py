"""The contract's commands, through their ``main``: files written, keys, exit codes."""

import csv
import json
import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from ml import baselines, cards, crossval, evaluate, predict, refusal_fit, train
from ml import dataset as dataset_module
from ml.cli import run_cli
from tests.ml.helpers import phantom, png
from tests.ml.samples import KEYS

TINY = ["--epochs", "1", "--size", "64", "--batch-size", "8", "--init", "none", "--bootstraps", "5"]


@pytest.fixture
def pictures(tmp_path):
    paths = [tmp_path / f"{seed}.png" for seed in range(3)]
    for seed, path in enumerate(paths):
        path.write_bytes(png(phantom(seed)))
    return paths


def test_train_writes_what_the_contract_says(data_dir, tmp_path, capsys):
    out = tmp_path / "out"
    code = train.main(["--data", str(data_dir), "--out", str(out), "--limit-images", "20", *TINY])
    assert code == 0
    for name in ("model.safetensors", "model.json", "history.csv", "checkpoint.pt"):
        assert (out / name).is_file()
    assert len(list((out / "figures").glob("*.svg"))) >= 6
    card = json.loads((out / "model.json").read_text())
    assert set(card["metrics"]["held_out"]) >= KEYS
    assert "initial weights from none" in capsys.readouterr().out
    assert not [p for p in out.iterdir() if p.name.startswith(".")]


def test_evaluate_writes_json_and_predictions(data_dir, model_file, tmp_path, capsys):
    json_out, csv_out = tmp_path / "e.json", tmp_path / "p.csv"
    arguments = ["--data", str(data_dir), "--model", str(model_file), "--json", str(json_out)]
    arguments += ["--predictions", str(csv_out), "--bootstraps", "20"]
    assert evaluate.main(arguments) == 0
    result = json.loads(json_out.read_text())
    assert set(result) >= KEYS
    assert result["n"] == 24 and result["n_refused"] == result["n_abstained"] == 0
    assert result["classes"] == ["benign", "malignant", "normal"]
    assert set(result["per_source"]) == {data_dir.name}
    assert len(result["ci95"]["accuracy"]) == 2
    with csv_out.open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["file", "label", "p_benign", "p_malignant", "p_normal", "outcome"]
    assert len(rows) == 24
    assert sum(float(rows[0][f"p_{c}"]) for c in result["classes"]) == pytest.approx(1, abs=1e-5)
    right = sum(row["file"].split("/")[0] == row["label"] for row in rows)
    assert right / 24 == pytest.approx(result["at_operating_point"]["accuracy"])
    largest = [max(result["classes"], key=lambda c: float(row[f"p_{c}"])) for row in rows]
    right = sum(row["file"].split("/")[0] == c for row, c in zip(rows, largest, strict=True))
    assert right / 24 == pytest.approx(result["accuracy"])
    assert "auc_malignant" in capsys.readouterr().out


def test_evaluate_works_on_two_classes_only(data_dir, model_file, tmp_path):
    folder = tmp_path / "two"
    for name in ("benign", "malignant"):
        shutil.copytree(data_dir / name, folder / name)
    json_out = tmp_path / "e.json"
    arguments = ["--data", str(folder), "--model", str(model_file), "--json", str(json_out)]
    assert evaluate.main([*arguments, "--bootstraps", "5"]) == 0
    result = json.loads(json_out.read_text())
    assert result["n"] == 18
    assert result["recall"]["normal"] is None


def test_evaluate_tells_what_was_seen_in_training(data_dir, tmp_path, capsys, narrow):
    out, json_out = tmp_path / "out", tmp_path / "e.json"
    assert train.main(["--data", str(data_dir), "--out", str(out), *TINY]) == 0
    measured = ["--data", str(data_dir), "--model", str(out / "model.safetensors")]
    measured += ["--json", str(json_out), "--bootstraps", "5"]
    assert evaluate.main(measured) == 0
    assert json.loads(json_out.read_text())["seen_in_training"] is True
    assert "honest figures on them are those of --part held-out" in capsys.readouterr().err
    assert evaluate.main([*measured, "--part", "held-out"]) == 0
    result = json.loads(json_out.read_text())
    assert result["seen_in_training"] is False
    stated = json.loads((out / "model.json").read_text())["metrics"]["held_out"]
    assert result["n"] == stated["n"]
    assert result["auc_malignant"] == pytest.approx(stated["auc_malignant"])


def test_crossval_scores_every_picture_once(data_dir, tmp_path, narrow):
    json_out, csv_out = tmp_path / "c.json", tmp_path / "p.csv"
    arguments = ["--data", str(data_dir), "--folds", "2", *TINY, "--json", str(json_out)]
    assert crossval.main([*arguments, "--predictions", str(csv_out)]) == 0
    result = json.loads(json_out.read_text())
    assert set(result) >= KEYS
    assert result["n"] == 24
    assert [fold["fold"] for fold in result["folds"]] == [0, 1]
    with csv_out.open() as file:
        assert len({row["file"] for row in csv.DictReader(file)}) == 24


def test_predict_prints_one_object_a_line(pictures, model_file, capsys):
    assert predict.main([*map(str, pictures), "--model", str(model_file)]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["file"] for line in lines] == [str(p) for p in pictures]
    wanted = {
        "id", "outcome", "reason", "label", "probabilities", "operating_point", "frame",
        "heatmap_url", "model", "engine", "preprocessing", "duration_ms", "research_use_only",
    }  # fmt: skip
    assert set(lines[0]) >= wanted
    assert set(lines[0]["model"]) == {"id", "version", "sha256"}


def test_predict_writes_a_list_and_names_what_it_could_not_read(
    pictures, model_file, tmp_path, capsys
):
    out = tmp_path / "out.json"
    pictures[1].write_bytes(b"no picture")
    files = [*map(str, pictures), str(tmp_path / "none.png")]
    assert predict.main([*files, "--model", str(model_file), "--json", str(out)]) == 2
    assert [r["file"] for r in json.loads(out.read_text())] == [files[0], files[2]]
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 2
    assert "1.png: the file is not a JPEG or PNG picture" in "".join(errors)
    assert "none.png: No such file" in "".join(errors)


def test_a_name_that_is_not_utf_8_is_written_with_escapes(pictures, model_file, tmp_path, capsys):
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.png"))
    shutil.copy(pictures[0], odd)
    out = tmp_path / "out.json"
    assert predict.main([str(odd), "--model", str(model_file), "--json", str(out)]) == 0
    assert json.loads(out.read_text())[0]["file"].endswith("caf\\udce9.png")
    assert "caf\\udce9.png: " in capsys.readouterr().out
    assert predict.main([str(odd), "--model", str(model_file)]) == 0
    assert json.loads(capsys.readouterr().out)["file"].endswith("caf\\udce9.png")


def test_dataset_prints_its_report(data_dir, tmp_path, capsys):
    out = tmp_path / "report.json"
    assert dataset_module.main([str(data_dir), "--json", str(out)]) == 0
    assert json.loads(out.read_text())["images"] == 24
    assert "24 images, 24 masks" in capsys.readouterr().out


def tampered(model, folder, data, **changes):
    """A measurement of a copy of the model whose card was changed."""
    copy = folder / f"tampered-{len(list(folder.iterdir()))}.safetensors"
    shutil.copy(model, copy)
    card = json.loads(model.with_suffix(".json").read_text()) | changes
    copy.with_suffix(".json").write_text(json.dumps(card))
    return evaluate.main, ["--model", str(copy), "--part", "held-out", "--data", str(data)]


def bad_calls(data, model, tmp):
    empty = tmp / "empty"
    empty.mkdir()
    single = tmp / "single"
    shutil.copytree(data / "benign", single / "benign")
    unknown = tmp / "unknown"
    shutil.copytree(data / "benign", unknown / "cyst")
    cut = tmp / "cut.safetensors"
    cut.write_bytes(model.read_bytes()[:5000])
    shutil.copy(model.with_suffix(".json"), cut.with_suffix(".json"))
    out = ["--out", str(tmp / "out")]
    fitting = ["--init", "none", *out]
    measured = ["--data", str(data)]
    return {
        "train: no folder": (train.main, ["--data", str(tmp / "no"), *fitting]),
        "train: empty": (train.main, ["--data", str(empty), *fitting]),
        "train: single class": (train.main, ["--data", str(single), *fitting]),
        "train: unknown class": (train.main, ["--data", str(unknown), *fitting]),
        "train: bad init": (train.main, [*measured, "--init", str(cut), *out]),
        "train: missing init": (train.main, [*measured, "--init", str(tmp / "no"), *out]),
        "train: zero epochs": (train.main, [*measured, *fitting, "--epochs", "0"]),
        "train: odd size": (train.main, [*measured, *fitting, "--size", "100"]),
        "evaluate: single class": (evaluate.main, ["--data", str(single), "--model", str(model)]),
        "evaluate: nothing held out": (
            evaluate.main,
            [*measured, "--model", str(model), "--part", "held-out"],
        ),
        "evaluate: cut model": (evaluate.main, [*measured, "--model", str(cut)]),
        "evaluate: no model": (evaluate.main, [*measured, "--model", str(tmp / "no")]),
        "predict: cut model": (predict.main, ["x.png", "--model", str(cut)]),
        "predict: no file": (predict.main, ["x.png", "--model", str(model)]),
        "crossval: one fold": (crossval.main, [*measured, "--folds", "1", "--init", "none"]),
        "crossval: resume": (crossval.main, [*measured, "--resume", "--init", "none"]),
        "dataset: empty": (dataset_module.main, [str(empty)]),
        "train: one picture a step": (
            train.main,
            [*measured, *fitting, "--size", "32", "--batch-size", "1"],
        ),
        "train: out is a file": (train.main, [*measured, *TINY, "--out", str(cut)]),
        "train: device": (train.main, [*measured, *fitting, "--device", "foo"]),
        "evaluate: device": (
            evaluate.main,
            [*measured, "--model", str(model), "--device", "cuda:99"],
        ),
        "evaluate: json under a file": (
            evaluate.main,
            [*measured, "--model", str(model), "--json", str(cut / "x"), "--bootstraps", "2"],
        ),
        "predict: device": (predict.main, ["x.png", "--model", str(model), "--device", "foo"]),
        "crossval: device": (crossval.main, [*measured, *TINY, "--device", "foo"]),
        "crossval: size": (crossval.main, [*measured, "--size", "100"]),
        "crossval: batch size": (crossval.main, [*measured, "--batch-size", "0"]),
        "crossval: seed": (crossval.main, [*measured, "--seed", "-1"]),
        "crossval: threads": (crossval.main, [*measured, "--threads", "-1"]),
        "baselines: seed": (baselines.main, [*measured, "--seed", "-1"]),
        "refusal: threads": (refusal_fit.main, ["test", *measured, "--threads", "-1"]),
        "cards: no number": (cards.main, ["--model", str(model), "--set", "a=NaN"]),
        "evaluate: weights a string": tampered(model, tmp, data, weights="x"),
        "evaluate: classes a number": tampered(model, tmp, data, classes=3),
        "evaluate: training removed": tampered(model, tmp, data, training=None),
        "evaluate: training a list": tampered(model, tmp, data, training=[1]),
        "evaluate: training without data": tampered(model, tmp, data, training={"data": 3}),
    }


CASES = [
    "train: no folder", "train: empty", "train: single class", "train: unknown class",
    "train: bad init", "train: missing init", "train: zero epochs", "train: odd size",
    "evaluate: single class", "evaluate: nothing held out", "evaluate: cut model",
    "evaluate: no model", "predict: cut model", "predict: no file", "crossval: one fold",
    "crossval: resume", "dataset: empty", "train: one picture a step", "train: out is a file",
    "train: device", "evaluate: device", "evaluate: json under a file", "predict: device",
    "crossval: device", "crossval: size", "crossval: batch size", "crossval: seed",
    "crossval: threads", "baselines: seed", "refusal: threads", "cards: no number",
    "evaluate: weights a string",
    "evaluate: classes a number", "evaluate: training removed", "evaluate: training a list",
    "evaluate: training without data",
]  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_bad_input_ends_with_2_and_one_line_and_nothing_half_written(
    case, data_dir, model_file, tmp_path, capsys
):
    main, arguments = bad_calls(data_dir, model_file, tmp_path)[case]
    assert run_cli(partial(main, arguments)) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 1 and errors[0].startswith("error: ")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "module",
    [train, evaluate, crossval, predict, dataset_module, baselines],
    ids=lambda module: module.__name__,
)
def test_bad_usage_ends_with_2(module, capsys):
    with pytest.raises(SystemExit) as ended:
        module.main(["--no-such-option"])
    assert ended.value.code == 2
    assert f"python -m {module.__name__}: error: " in capsys.readouterr().err


def test_a_command_of_its_own_ends_with_the_same_code():
    done = subprocess.run(
        [sys.executable, "-m", "ml.dataset", "--no-such-option"], capture_output=True, check=False
    )
    assert done.returncode == 2
    assert b"Traceback" not in done.stderr


def test_other_failures_end_with_1_and_one_line(capsys):
    def fail():
        raise OSError(28, "No space left on device", "out/model")

    assert run_cli(fail) == 1
    assert capsys.readouterr().err == "error: No space left on device (out/model)\n"
