"""Figures: valid SVG with text in it, the same bytes for the same run, and the right numbers."""

import csv
import re
from xml.etree import ElementTree

import numpy as np
import pytest

from ml.config import MALIGNANT
from ml.duplicates import RULE
from ml.evaluate import evaluation
from ml.figures import write_evaluation_figures, write_figures
from ml.figures_training import training_figures
from ml.plotting import COLOURS
from tests.ml.samples import made, scored

SVG = "{http://www.w3.org/2000/svg}"
CURVES = {"loss", "accuracy", "precision-recall-f1", "epoch-table"}
PICTURES = {
    "confusion", "confusion-operating-point", "cancer-confusion", "reliability", "coverage",
    "metric-bars", "class-bars", "roc", "precision-recall", "operating-point",
}  # fmt: skip


def row(epoch, **more):
    return {"epoch": float(epoch), "train_loss": 1 / epoch, "train_accuracy": 0.5, **more}


HISTORY = [
    row(1),
    row(2, val_loss=0.9, val_accuracy=0.7123, val_precision=0.6, val_recall=0.6, val_f1=0.6,
        val_auc_malignant=float("nan")),
    row(3, val_loss=0.8, val_accuracy=0.8, val_precision=0.7, val_recall=0.7, val_f1=0.7,
        val_auc_malignant=0.9312),
]  # fmt: skip


@pytest.fixture(scope="module")
def measured():
    targets, scores = made(count=150)
    outcomes = np.where(scores.max(axis=1) < 0.5, "abstained", "answered").tolist()
    pictures = scored(targets, scores, 0.4, outcomes)
    return pictures, evaluation(pictures, 0.4, np.arange(150) // 2, bootstraps=20)


def words(path):
    """The text of a figure, tag by tag."""
    root = ElementTree.parse(path).getroot()
    assert root.tag == f"{SVG}svg"
    return ["".join(e.itertext()).strip() for e in root.iter(f"{SVG}text")]


@pytest.fixture(scope="module")
def drawn(measured, tmp_path_factory):
    folder = tmp_path_factory.mktemp("figures")
    pictures, result = measured
    card = {"metrics": {"held_out": result}}
    written = write_figures(folder, HISTORY, card, pictures, train_scored=pictures)
    assert {p.stem for p in written} == CURVES | PICTURES | {"confusion-train"}
    return folder


def test_every_figure_is_valid_and_carries_the_rule_of_the_groups(drawn, measured):
    for path in drawn.glob("*.svg"):
        assert len(words(path)) >= 4, path.name
        text = path.read_text()
        assert RULE[:60] in text and f"{measured[1]['n']} pictures" in text
        assert "<dc:date>" not in text
        sizes = [float(s) for s in re.findall(r"font-size: ([\d.]+)px", text)]
        assert sizes and min(sizes) >= 9, path.name


def test_figures_hold_their_numbers(drawn, measured):
    result = measured[1]
    low, high = result["ci95"]["auc_malignant"]
    area = f"{result['auc_malignant']:.3f} [{low:.2f}, {high:.2f}]"
    assert f"malignant: AUC {area}" in words(drawn / "roc.svg")
    assert area in words(drawn / "metric-bars.svg")
    assert any(f"ECE {result['ece']:.3f}" in w for w in words(drawn / "reliability.svg"))
    assert "dotted line: the operating point, 0.400" in words(drawn / "operating-point.svg")
    assert f"{result['recall']['normal']:.2f}" in words(drawn / "class-bars.svg")
    error = f"error on all pictures: {1 - result['accuracy']:.3f} (dashed)"
    assert error in words(drawn / "coverage.svg")
    assert "answered by the model's own rule" in words(drawn / "coverage.svg")
    for name, table in (
        ("confusion", result["confusion"]),
        ("confusion-train", result["confusion"]),
        ("confusion-operating-point", result["at_operating_point"]["confusion"]),
        ("cancer-confusion", result["cancer_confusion"]["operating_point"]),
    ):
        shown = words(drawn / f"{name}.svg")
        for counts in table:
            for count in counts:
                share = f"{100 * count / sum(counts):.0f} %"
                assert any(w.split() == [str(count), *share.split()] for w in shown) or (
                    str(count) in shown and share in shown
                )


def test_the_table_of_epochs_is_drawn_and_written(drawn):
    with (drawn / "epochs.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [r["epoch"] for r in rows] == ["1", "2", "3"]
    assert rows[1]["accuracy"] == "0.712300" and rows[0]["accuracy"] == ""
    assert rows[1]["auc"] == "" and rows[2]["auc"] == "0.931200"
    shown = words(drawn / "epoch-table.svg")
    assert {"Epoch", "Accuracy", "Precision", "Recall", "F1", "AUC"} <= set(shown)
    assert {"0.712", "0.931", "–"} <= set(shown)


def test_the_same_run_draws_the_same_bytes(drawn, measured, tmp_path):
    pictures, result = measured
    for path in write_figures(tmp_path, HISTORY, {"metrics": {"out_of_fold": result}}, pictures):
        assert path.read_bytes() == (drawn / path.name).read_bytes()


def test_curves_differ_in_dash_as_well_as_colour(drawn):
    text = (drawn / "roc.svg").read_text()
    dashes = set(re.findall(r"stroke-dasharray: ([^;\"]+)", text))
    assert len(dashes) >= 2
    assert all(colour.lower() in text for colour in COLOURS[:3])


def test_an_evaluation_without_history_or_with_folds_is_drawn_too(measured, tmp_path):
    pictures, _ = measured
    thresholds = np.where(np.arange(150) % 2, 0.3, 0.4)
    result = evaluation(pictures, thresholds, np.arange(150), bootstraps=5)
    written = write_evaluation_figures(tmp_path, pictures, result)
    assert {p.stem for p in written} == PICTURES
    assert any("0.300 to 0.400" in w for w in words(tmp_path / "operating-point.svg"))


def test_one_class_draws_what_is_defined(tmp_path):
    targets, scores = made(count=60)
    own = targets == MALIGNANT
    pictures = scored(targets[own], scores[own])
    result = evaluation(pictures, 0.4, np.arange(own.sum()), bootstraps=5)
    written = write_evaluation_figures(tmp_path, pictures, result)
    assert {p.stem for p in written} == PICTURES - {"roc", "precision-recall", "operating-point"}
    assert "–" in words(tmp_path / "confusion.svg")


def test_epochs_without_validation_are_said_to_be_so(measured, tmp_path):
    pictures, result = measured
    write_figures(tmp_path, [row(1), row(2)], {"metrics": {"held_out": result}}, pictures)
    assert "no validation part" in words(tmp_path / "precision-recall-f1.svg")


def test_losses_of_two_kinds_are_not_drawn_on_one_axis():
    told_apart = [{**epoch, "train_objective": 2.0} for epoch in HISTORY]
    for name, history, shown in (("old", HISTORY, False), ("new", told_apart, True)):
        figures = training_figures(history)
        labels = [line.get_label() for line in figures["loss"].axes[0].lines]
        assert ("training loss" in labels) is shown, name
        assert "validation loss" in labels
