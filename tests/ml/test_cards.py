"""The card's command: what may be added, what may not, and what a bad call leaves behind."""

import json
from pathlib import Path

import pytest

from ml import cards, registry
from ml.cli import UsageError
from ml.dataset import Dataset
from ml.registry import load_model
from tests.ml.helpers import record


def test_measured_sections_are_added_and_the_model_still_loads(model_copy, tmp_path):
    figures = tmp_path / "figures.json"
    figures.write_text(json.dumps({"n": 3, "auc_malignant": 0.9}))
    arguments = ["--set", f"evaluation.folds=@{figures}", "--set", "evaluation.folds.title=Folds"]
    assert (
        cards.main(["--model", str(model_copy), *arguments, "--set", "evaluation.folds.order=1"])
        == 0
    )
    model = load_model(model_copy)
    assert model.card["evaluation"] == {
        "folds": {"n": 3, "auc_malignant": 0.9, "title": "Folds", "order": 1}
    }
    assert "men" in model.card["known_gaps"]


@pytest.mark.parametrize(
    "given",
    [
        "temperature=2",
        "operating_point.threshold=0.1",
        "abstention.minimum_score=0",
        "refusal=null",
        "weights.sha256=x",
        "version.part=x",
        "intended_use.part=x",
        "=x",
        "a..b=x",
        "title",
        "data=@missing.json",
        "title=1e999",
    ],
)
def test_what_decides_answers_cannot_be_set_and_a_bad_call_changes_nothing(given, model_copy):
    before = registry.card_path(model_copy).read_bytes()
    with pytest.raises(UsageError):
        cards.main(["--model", str(model_copy), "--set", "title=fine", "--set", given])
    assert registry.card_path(model_copy).read_bytes() == before


def test_limits_are_those_of_the_data():
    named = [record(i, "benign", source="b", patient_id=str(i)) for i in range(2)]
    unnamed = [record(i, "normal", source="a") for i in range(2, 4)]
    both = " ".join(cards.limits_of(Dataset(Path(), (*named, *unnamed), ())))
    assert "'normal' pictures come from one source, a:" in both
    assert "without patient ids (in a):" in both
    own = " ".join(cards.limits_of(Dataset(Path(), tuple(named), ())))
    assert "no 'normal' picture" in own and "All pictures come from one source, b." in own
    assert "patient ids" not in own
    assert all(limit in own for limit in cards.LIMITS)


def test_without_changes_the_card_is_printed(model_copy, capsys):
    assert cards.main(["--model", str(model_copy)]) == 0
    assert json.loads(capsys.readouterr().out)["version"] == "tests-only"
