"""Marks drawn, found and filled; what changes do to answers; the source told from pixels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from ml import registry
from ml.cli import UsageError
from ml.config import MALIGNANT
from ml.dataset import Dataset
from ml.inference import Predictor
from ml.marks import CHANGES, Change, draw_calipers, draw_words, fill, find_marks
from ml.shortcuts import (
    Probed,
    apply_change,
    change_figures,
    main,
    probe_shortcuts,
    with_settings_of,
)
from ml.sources import FACTS, normal_scores, picture_facts, pooled, tell_source
from tests.ml.helpers import phantom, record


@pytest.fixture
def picture() -> npt.NDArray[np.uint8]:
    return np.repeat(phantom(3, size=(300, 400))[:, :, None], 3, axis=2)


@pytest.fixture(scope="module")
def predictor(model_file: Path) -> Predictor:
    return Predictor(model_file, device="cpu")


def few(dataset: Dataset, count: int) -> Dataset:
    return Dataset(dataset.root, dataset.records[::3][:count], ())


def test_drawn_calipers_and_letters_lie_where_they_were_put(picture: Any) -> None:
    drawn = draw_calipers(picture, [(50, 60), (150, 60)])
    assert drawn[60, 50].tolist() == drawn[60, 150].tolist() == [255, 255, 255]
    changed = (drawn != picture).any(axis=2)
    assert not changed[:40].any()
    assert not changed[80:].any()
    for corner, part in enumerate(
        (np.s_[:150, :200], np.s_[:150, 200:], np.s_[150:, :200], np.s_[150:, 200:])
    ):
        changed = (draw_words(picture, "LT TRANS", corner) != picture).any(axis=2)
        assert changed.sum() == changed[part].sum() > 50


def test_marks_that_were_drawn_are_found_and_little_else(picture: Any) -> None:
    calm = (picture * 0.6).astype(np.uint8)
    assert find_marks(calm).mean() < 0.002
    drawn = draw_words(draw_calipers(calm, [(80, 90), (300, 200)]), "RT BREAST 10H", 3)
    drawn[20:30, 20:40] = (240, 220, 20)
    truth = (drawn != calm).any(axis=2)
    found = find_marks(drawn)
    assert (found & truth).sum() / truth.sum() > 0.8
    assert found.sum() < 3 * truth.sum()


def test_filling_takes_the_marks_away_and_leaves_the_rest_alone() -> None:
    grey = np.full((60, 80, 3), 90, dtype=np.uint8)
    marked = grey.copy()
    marked[20:24, 10:70] = 255
    marks = (marked == 255).all(axis=2)
    np.testing.assert_array_equal(fill(marked, marks), grey)
    assert (fill(marked, np.ones((60, 80), dtype=np.bool_)) == marked).all()


@pytest.mark.parametrize("name", list(CHANGES))
def test_a_change_gives_a_picture_leaves_its_input_and_follows_its_seed(
    name: str, picture: Any
) -> None:
    marked = draw_words((picture * 0.6).astype(np.uint8), "LT TRANS", 0)
    before = marked.copy()
    mask = np.zeros(marked.shape[:2], dtype=np.uint8)
    mask[100:150, 120:220] = 255
    change = CHANGES[name]
    made = [change.apply(marked, mask, np.random.default_rng(s)) for s in (1, 1, 2)]
    assert all(m is not None and m.dtype == np.uint8 and m.ndim == 3 for m in made)
    np.testing.assert_array_equal(marked, before)
    np.testing.assert_array_equal(made[0], made[1])
    assert not np.array_equal(made[0], marked)  # type: ignore[arg-type]
    same = np.array_equal(made[0], made[2])  # type: ignore[arg-type]
    assert same is not change.random


def test_what_does_not_apply_says_so(picture: Any) -> None:
    rng = np.random.default_rng(0)
    assert CHANGES["calipers_at_lesion"].apply(picture, None, rng) is None
    plain = np.full((64, 64, 3), 80, dtype=np.uint8)
    assert CHANGES["marks_removed"].apply(plain, None, rng) is None


def scored(*malignant: float) -> npt.NDArray[np.float64]:
    rows = np.zeros((len(malignant), 3))
    rows[:, MALIGNANT] = malignant
    rows[:, 0] = 1 - rows[:, MALIGNANT]
    return rows


def test_changes_flips_and_auc_are_those_counted_by_hand() -> None:
    probed = Probed(np.arange(4), scored(0.2, 0.6, 0.9, 0.4), scored(0.6, 0.6, 0.3, 0.45))
    figures = change_figures(probed, np.array([0, 0, 1, 1]), np.arange(4), threshold=0.5)
    assert (figures["n"], figures["n_changed"]) == (4, 4)
    assert figures["mean_abs_change"] == pytest.approx((0.4 + 0 + 0.6 + 0.05) / 4)
    assert figures["mean_change"] == pytest.approx((0.4 - 0.6 + 0.05) / 4)
    assert (figures["to_malignant"], figures["from_malignant"]) == (0.25, 0.25)
    assert figures["flipped"] == 0.5
    assert (figures["auc_before"], figures["auc_after"]) == (0.75, 0.0)
    assert figures["auc_change"] == -0.75
    assert figures["per_class"]["malignant"]["from_malignant"] == 0.5
    low, high = figures["ci95"]["mean_abs_change"]
    assert low < figures["mean_abs_change"] < high


def test_a_change_that_applies_to_nothing_has_no_figures() -> None:
    empty = Probed(np.zeros(0, dtype=np.int64), np.zeros((0, 3)), np.zeros((0, 3)))
    figures = change_figures(empty, np.array([0, 1]), np.arange(2), threshold=0.5)
    assert figures["n"] == 0
    assert figures["mean_abs_change"] is None
    assert figures["auc_before"] is None


def test_only_random_changes_are_repeated(dataset: Dataset, predictor: Predictor) -> None:
    part = few(dataset, 3)
    before = scored(0.1, 0.2, 0.3)
    once = apply_change(predictor, part, CHANGES["mirrored"], before, repeats=3)
    assert once.index.tolist() == [0, 1, 2]
    thrice = apply_change(predictor, part, CHANGES["text"], before, repeats=3)
    assert thrice.index.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    again = apply_change(predictor, part, CHANGES["text"], before, repeats=3)
    np.testing.assert_array_equal(thrice.after, again.after)


def test_a_change_that_changes_nothing_moves_no_score(
    dataset: Dataset, predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    still = {"still": Change("Still", "nothing", lambda image, _, __: image)}
    monkeypatch.setattr("ml.shortcuts.CHANGES", still)
    found = probe_shortcuts(predictor, few(dataset, 5))["changes"]["still"]
    assert found["mean_abs_change"] == found["flipped"] == 0.0
    assert found["auc_change"] == 0.0
    assert "0.0 % of the answers flip" in found["sentence"]


def test_a_source_that_shows_in_the_inputs_is_told_and_one_that_does_not_is_not() -> None:
    rng = np.random.default_rng(0)
    sources = np.array(["one", "two"] * 60)
    noise = rng.normal(size=(120, 12))
    groups = np.arange(120) // 2 * 2 + np.arange(120) % 2
    shown = noise + 4 * (sources == "two")[:, None]
    assert tell_source(shown, sources, groups)["balanced_accuracy"] == 1.0
    hidden = tell_source(noise, sources, groups)
    assert 0.3 < float(hidden["balanced_accuracy"] or 0) < 0.7
    assert 0.3 < float(hidden["auc"] or 0) < 0.7


def test_the_pooled_features_are_what_the_head_sees(dataset: Dataset, predictor: Predictor) -> None:
    pictures = [dataset.read(r) for r in dataset.records[:2]]
    found = pooled(predictor, pictures)
    assert found.shape == (2, 2048)
    head = predictor.model.network.fc
    weight, bias = (t.detach().double().numpy() for t in (head.weight, head.bias))
    logits = (found @ weight.T + bias) / predictor.model.temperature
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    answers = predictor.predict(pictures)
    given = [[a.probabilities[c] for c in ("benign", "malignant", "normal")] for a in answers]
    np.testing.assert_allclose(given, expected, atol=1e-3)


def test_simple_facts_of_a_picture_are_named_and_right() -> None:
    image = np.zeros((100, 200, 3), dtype=np.uint8)
    image[:, 50:] = 100
    image[:10, 50:70] = (100, 160, 100)
    facts = picture_facts(image)
    width, height, aspect, black, rows, columns, mean, _, coloured = facts.tolist()
    assert (width, height, aspect) == (200, 100, 2.0)
    assert (black, rows, columns) == (0.25, 0.0, 0.25)
    assert mean == pytest.approx(image.mean())
    assert coloured == pytest.approx(200 / 20_000)
    assert "aspect" in FACTS


def test_normal_scores_are_of_pictures_with_a_lesion_by_source() -> None:
    records = (
        record(0, "benign", source="a"),
        record(1, "normal", source="a"),
        record(2, "malignant", source="b"),
        record(3, "benign", source="b"),
    )
    scores = np.array([[0.7, 0.2, 0.1], [0, 0, 1], [0.1, 0.2, 0.7], [0.6, 0.1, 0.3]])
    found = normal_scores(Dataset(Path(), records, ()), scores, threshold=0.5)
    assert found["a"]["has_normals"] is True
    assert found["a"]["mean_normal_score"] == pytest.approx(0.1)
    assert found["b"]["has_normals"] is False
    assert found["b"]["mean_normal_score"] == pytest.approx(0.5)
    assert found["b"]["called_normal"] == 0.5


def test_settings_of_another_card_serve_a_model_of_cross_validation(
    predictor: Predictor, dataset: Dataset
) -> None:
    card = {"temperature": 9.0, "operating_point": {"threshold": 0.2, "sensitivity": 0.9}}
    other = with_settings_of(predictor, card, "cpu")
    assert other.model.operating_point.threshold == 0.2
    image = dataset.read(dataset.records[0])
    sharp, flat = (p.predict([image])[0].probabilities for p in (predictor, other))
    assert max(flat.values()) < max(sharp.values())


def test_the_command_prints_sentences_and_writes_json(
    data_dir: Path, model_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "shortcuts.json"
    command = ["--data", str(data_dir), "--model", str(model_file), "--json", str(out)]
    command += ["--settings-of", str(model_file), "--limit-images", "4", "--repeats", "1"]
    assert main(command) == 0
    written = json.loads(out.read_text())
    assert written["n"] == 4
    assert set(written["changes"]) == set(CHANGES)
    assert written["threshold"] == registry.read_card(model_file)["operating_point"]["threshold"]
    printed = capsys.readouterr().out
    assert all(entry["sentence"] in printed for entry in written["changes"].values())
    with pytest.raises(UsageError, match="not trained on this data"):
        main([*command, "--part", "held-out"])
    with pytest.raises(UsageError, match="repeats"):
        main([*command, "--repeats", "0"])
