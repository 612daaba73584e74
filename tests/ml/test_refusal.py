"""Pictures that are no B-mode breast ultrasound are refused, and ultrasounds are not."""

import json
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file

from ml import refusal_fit, registry
from ml.dataset import read_dataset
from ml.errors import DatasetError, ModelFileError
from ml.inference import Predictor
from ml.initial import initial_network
from ml.negative_sources import (
    PYDICOM,
    SKIMAGE,
    SKLEARN,
    colour_doppler,
    elastogram,
    overlaid,
    pydicom_negatives,
    side_by_side,
    skimage_negatives,
    sklearn_negatives,
)
from ml.negatives import MAKERS, code_negatives
from ml.picture_facts import picture_facts
from ml.refusal import SENTENCES, Detector, Limits, fit, main
from ml.refusal_fit import shown_in
from tests.ml.helpers import phantom, png

RNG = np.random.default_rng(5)


def rgb(grey):
    return np.repeat(np.asarray(grey)[:, :, None], 3, axis=2)


def textures(count, shift=0.0, seed=0):
    """Made-up textures of 40 channels: a few directions of variation, moved by ``shift``."""
    rng = np.random.default_rng(seed)
    hidden = rng.standard_normal((count, 4)) @ np.random.default_rng(9).standard_normal((4, 40))
    noise = 0.2 * rng.standard_normal((count, 40))
    return np.square(6 + hidden * 0.3 + noise + shift * np.linspace(-1, 1, 40)).astype(np.float32)


@pytest.fixture(scope="module")
def detector():
    return fit(textures(300), textures(120, shift=2.5, seed=1), components=4)


# Facts


def test_a_phantom_keeps_to_all_limits():
    limits = Limits()
    for seed, size in enumerate([(470, 500), (240, 300), (900, 1200), (120, 140)]):
        facts = picture_facts(rgb(phantom(seed, size=size)))
        assert facts.spread > limits.spread and facts.lit > limits.lit
        assert facts.coloured == facts.gap == 0
        assert facts.seam < limits.seam


@pytest.mark.parametrize("overlay", [colour_doppler, elastogram])
def test_colour_laid_over_an_ultrasound_is_seen(overlay):
    for seed in range(4):
        picture = rgb(phantom(seed, size=(300, 360)))
        assert picture_facts(overlay(np.random.default_rng(seed), picture)).coloured > 0.006


def test_a_tinted_ultrasound_and_coloured_marks_are_no_overlay():
    grey = rgb(phantom(3, size=(300, 360)))
    sepia = (grey * np.array([1.0, 0.8, 0.55])).astype(np.uint8)
    assert picture_facts(sepia).coloured == 0
    marked = grey.copy()
    marked[100, 50:200] = marked[60:160, 120] = (255, 255, 0)
    marked[20:24, 20:80] = (0, 255, 0)
    assert picture_facts(marked).coloured < 0.006


def test_coloured_bars_of_a_screen_are_no_overlay_on_its_ultrasound():
    screen = np.zeros((600, 900, 3), dtype=np.uint8)
    screen[:18] = (20, 60, 200)
    screen[60:560, 150:750] = rgb(np.maximum(phantom(1, size=(500, 600)), 20))
    assert picture_facts(screen).coloured < 0.006


@pytest.mark.parametrize("gap", [4, 12, 40])
def test_two_views_are_told_by_the_gap_between_them(gap):
    first, second = (rgb(phantom(s, size=(300, 360))) for s in (1, 2))
    # With their black margins and scales between them, and cut to the tissue.
    assert picture_facts(side_by_side(first, second, gap)).gap > 0.03
    inner = side_by_side(first[15:-15, 40:-40], second[15:-15, 40:-40], gap)
    assert 0 < picture_facts(inner).gap < 0.1


def test_two_views_without_a_gap_are_told_by_their_seam():
    first = np.maximum(rgb(phantom(1, size=(300, 360))), 20)
    darker = (np.maximum(rgb(phantom(2, size=(300, 360))), 20) * 0.4).astype(np.uint8)
    both = picture_facts(side_by_side(first[:, 40:-40], darker[:, 40:-40], 0))
    assert both.gap == 0 and both.seam > Limits().seam


def test_a_shadow_that_fades_to_its_sides_is_no_gap():
    picture = np.maximum(phantom(2, size=(300, 360)), 20).astype(float)
    across = np.abs(np.arange(360) - 180)
    picture *= np.clip((across - 10) / 60, 0, 1)
    assert picture_facts(rgb(picture.astype(np.uint8))).gap == 0


def test_tiny_pictures_and_odd_shapes_are_measured_too():
    for shape in [(16, 16), (16, 900), (700, 17)]:
        facts = picture_facts(RNG.integers(0, 256, (*shape, 3), dtype=np.uint8))
        assert all(np.isfinite(v) for v in vars(facts).values())


# The detector


def test_the_score_is_0_at_the_edge_of_ultrasounds_and_1_at_that_of_others(detector):
    own, others = textures(300), textures(120, shift=2.5, seed=1)
    assert np.quantile(detector.scores(own), 0.998) == pytest.approx(0, abs=1e-3)
    assert np.quantile(detector.scores(others), 0.02) == pytest.approx(1, abs=1e-3)
    assert (detector.scores(textures(100, seed=2)) < 0.65).mean() > 0.98
    # Others of another kind, as far away in another direction.
    assert (detector.scores(textures(100, seed=3)[:, ::-1] * 1.6) > 0.65).all()


@pytest.mark.parametrize(
    ("change", "score", "code"),
    [
        ({}, -0.2, None),
        ({}, 0.65, None),
        ({}, 0.66, "not_ultrasound"),
        ({}, float("nan"), "not_ultrasound"),
        ({"spread": 3.0}, 2.0, "empty_frame"),
        ({"lit": 0.02}, 2.0, "empty_frame"),
        ({"gap": 0.02}, 0.3, "dual_view"),
        ({"seam": 3.5}, 0.9, "dual_view"),
        ({"coloured": 0.1}, 0.9, "colour_overlay"),
        ({"coloured": 0.1, "gap": 0.02}, 1.2, "not_ultrasound"),
    ],
)
def test_the_most_telling_reason_is_given(detector, change, score, code):
    plain = picture_facts(rgb(phantom(0, size=(300, 360))))
    verdict = detector.verdict(replace(plain, **change), score)
    assert (verdict and verdict.code) == code
    if verdict is not None:
        assert verdict.sentence == SENTENCES[code]


def test_every_reason_is_short_and_says_what_to_do():
    for sentence in SENTENCES.values():
        assert len(sentence) <= 200
        assert sentence.count(". ") == 1 and sentence.endswith(".")


def test_the_detector_travels_through_tensors_and_card(detector):
    card = json.loads(json.dumps(detector.to_card()))
    # The model file keeps matrices in half precision.
    kept = {k: t.half() if t.ndim > 1 else t for k, t in detector.to_tensors().items()}
    again = Detector.from_tensors(kept, card)
    np.testing.assert_array_equal(again.scores(textures(5)), detector.scores(textures(5)))
    assert again.limits == detector.limits


def test_a_damaged_detector_is_refused(detector):
    tensors, card = detector.to_tensors(), detector.to_card()
    for bad_tensors, bad_card in (
        ({k: v for k, v in tensors.items() if k != "refusal.basis"}, card),
        ({**tensors, "refusal.spread": tensors["refusal.spread"][:-1]}, card),
        ({**tensors, "refusal.mean": tensors["refusal.mean"] * float("nan")}, card),
        (tensors, {**card, "format": 2}),
        (tensors, {**card, "limits": {"unknown": 1}}),
    ):
        with pytest.raises(ValueError, match="refusal check"):
            Detector.from_tensors(bad_tensors, bad_card)


# Negatives


def test_code_makes_over_100_different_pictures_the_same_each_time():
    made = list(code_negatives(seed=3))
    assert len(made) == 8 * len(MAKERS) > 100
    assert all(n.image.dtype == np.uint8 and n.image.shape[2] == 3 for n in made)
    assert len({n.image.tobytes() for n in made}) >= len(made) - 6  # black is black
    for first, second in zip(made[::8], code_negatives(seed=3, each=1), strict=True):
        np.testing.assert_array_equal(first.image, second.image)


@pytest.mark.parametrize(
    ("source", "make", "least"),
    [
        (SKIMAGE, skimage_negatives, 60),
        (SKLEARN, sklearn_negatives, 20),
        (PYDICOM, pydicom_negatives, 20),
    ],
)
def test_packages_carry_pictures_to_refuse(source, make, least):
    made = list(make())
    assert len(made) >= least
    assert {n.source for n in made} == {source}
    assert all(n.image.ndim == 3 and min(n.image.shape[:2]) >= 16 for n in made)


def test_an_ultrasound_gives_three_pictures_to_refuse():
    pictures = [rgb(phantom(s, size=(200, 240))) for s in range(2)]
    kinds = [n.kind for n in overlaid(pictures)]
    assert kinds == ["colour Doppler", "elastogram", "dual view"] * 2


# The model file and the command


@pytest.fixture(scope="module")
def phantoms_dir(tmp_path_factory):
    root = tmp_path_factory.mktemp("ultrasounds")
    for n in range(48):
        label = ("benign", "malignant", "normal")[n % 3]
        (root / label).mkdir(exist_ok=True)
        size = (150 + 5 * (n % 7), 170 + 9 * (n % 5))
        image = Image.fromarray(phantom(n, size=size, lesion=label))
        image.save(root / label / f"{label} ({n}).png")
    return root


@pytest.fixture(scope="module")
def fitted(model_file, phantoms_dir, tmp_path_factory):
    """A model file with a refusal check, put there by the command; and the figures it wrote."""
    out = tmp_path_factory.mktemp("fitted") / "with.safetensors"
    figures = out.with_name("figures.json")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("skimage_negatives", "sklearn_negatives", "pydicom_negatives"):
            real = getattr(refusal_fit, name)
            patch.setattr(refusal_fit, name, lambda real=real: islice(real(), 12))
        line = ["--model", str(model_file), "--data", str(phantoms_dir), "--json", str(figures)]
        assert main(["fit", *line, "--out", str(out), "--each", "3"]) == 0
    return out, json.loads(figures.read_text())


def test_the_command_puts_the_check_into_the_file_and_nothing_else(fitted, model_file):
    path, _ = fitted
    card, _ = registry.verify_file(path)
    assert path.stat().st_size - model_file.stat().st_size < 300_000
    before, after = load_file(model_file), load_file(path)
    assert {k for k in after if k not in before} == {
        f"refusal.{name}" for name in ("mean", "scale", "basis", "spread", "weights")
    }
    assert all(bool((after[k] == v).all()) for k, v in before.items())
    assert card["refusal"]["limits"]["texture"] == 0.65
    assert registry.load_model(model_file).detector is None
    loaded = registry.load_model(path).detector
    assert loaded is not None and loaded.figures == card["refusal"]["figures"]


def test_its_figures_count_every_picture_once(fitted):
    _, figures = fitted
    negatives, ultrasounds = figures["negatives"], figures["ultrasounds"]
    assert ultrasounds["n"] == 48
    assert negatives["n"] == 3 * len(MAKERS) + 36 + 3 * 20
    for table in ("by_kind", "by_source"):
        assert sum(row["n"] for row in negatives[table].values()) == negatives["n"]
        assert sum(row["refused"] for row in negatives[table].values()) == negatives["refused"]
    assert sum(negatives["codes"].values()) == negatives["refused"]
    assert negatives["by_kind"]["empty frame"]["rate"] == 1
    assert negatives["by_kind"]["elastogram"]["rate"] == 1
    # Even a network with random weights tells textures apart.
    assert negatives["rate"] > 0.6 and ultrasounds["rate"] < 0.1


def test_the_distance_is_one_in_the_mean_square_of_what_it_was_fitted_on(detector):
    seen = detector.distances(textures(300))
    assert np.mean(seen**2) == pytest.approx(1, abs=0.1)
    assert seen.min() > 0
    other = detector.distances(textures(300, seed=3))
    assert np.median(other) == pytest.approx(np.median(seen), rel=0.15)


def test_the_distance_grows_with_the_shift_among_the_components_and_beyond_them(detector):
    medians = [np.median(detector.distances(textures(100, shift=s, seed=4))) for s in (0, 0.5, 1)]
    assert medians[0] < medians[1] < medians[2]
    along = textures(1)[0]
    roots = np.sqrt(along) + 8 * detector.basis[:, 0] * detector.spread[0] * detector.scale
    assert detector.distances(np.square(roots)[None].astype(np.float32)) > 2.5


def test_the_card_tells_the_distances_of_new_pictures_of_the_same_kind(fitted):
    _, figures = fitted
    told = figures["distance"]
    assert told["n"] == 48 and len(told["deciles"]) == 9
    assert told["deciles"][0] > 0
    assert told["deciles"] == sorted(told["deciles"]) and told["deciles"][-1] <= told["p95"]
    assert registry.read_card(fitted[0])["refusal"]["figures"]["distance"] == told


def test_each_answer_has_its_distance_from_the_same_pass(fitted, model_file):
    pictures = [png(phantom(s, size=(160, 190))) for s in (100, 101)]
    predictor = Predictor(fitted[0], device="cpu", engine="pytorch")
    answers = predictor.predict(pictures)
    assert all(0 < answer.feature_distance < 10 for answer in answers)
    alone = predictor.predict(pictures[1:])[0].feature_distance
    assert alone == pytest.approx(answers[1].feature_distance, rel=1e-3)
    # A model without a check has no measure of it.
    without = Predictor(model_file, device="cpu", engine="pytorch").predict(pictures[:1])
    assert without[0].feature_distance is None


def test_the_service_refuses_by_the_file(fitted):
    predictor = Predictor(fitted[0], device="cpu", engine="pytorch")
    ultrasound = phantom(100, size=(160, 190))
    boards = np.kron(np.indices((8, 9)).sum(axis=0) % 2, np.full((20, 20), 220, np.uint8))
    flow = colour_doppler(np.random.default_rng(1), rgb(ultrasound))
    black = np.zeros((160, 190), dtype=np.uint8)
    pictures = [png(p) for p in (ultrasound, boards.astype(np.uint8), flow, black)]
    answers = predictor.predict(pictures)
    assert [a.reason_code for a in answers][::3] == [None, "empty_frame"]
    assert answers[0].outcome == "answered"
    for answer in answers[1:]:
        assert answer.outcome == "refused" and answer.label is None
        assert answer.reason == SENTENCES[answer.reason_code]
        assert sum(answer.probabilities.values()) == pytest.approx(1)
    assert [a.reason_code for a in predictor.predict(pictures)] == [a.reason_code for a in answers]


def test_a_changed_limit_on_the_card_is_found(fitted, tmp_path):
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(fitted[0].read_bytes())
    card = registry.read_card(fitted[0])
    card["refusal"]["limits"]["texture"] = 99.0
    registry.write_card(copy, card)
    with pytest.raises(ModelFileError, match="refusal differs"):
        registry.load_model(copy)


def test_training_can_start_from_a_file_with_a_check(fitted):
    _, layout, report = initial_network(str(fitted[0]), None, seed=0)
    assert layout == "v1-layer3" and not report.fresh


def test_the_test_command_tells_what_the_file_does(fitted, phantoms_dir, tmp_path, capsys):
    out = tmp_path / "test.json"
    with pytest.MonkeyPatch.context() as patch:
        for name in ("skimage_negatives", "sklearn_negatives", "pydicom_negatives"):
            patch.setattr(refusal_fit, name, lambda: iter(()))
        line = ["--model", str(fitted[0]), "--data", str(phantoms_dir), "--json", str(out)]
        assert main(["test", *line, "--each", "1"]) == 0
    figures = json.loads(out.read_text())
    assert figures["ultrasounds"]["refused"] == len(figures["ultrasounds"]["files"])
    assert "refused wrongly" in capsys.readouterr().out


def test_a_file_without_a_check_and_too_little_data_are_named(model_file, dataset):
    model = registry.load_model(model_file)
    with pytest.raises(ModelFileError, match="no refusal check"):
        refusal_fit.test_detector(model, dataset)
    with pytest.raises(DatasetError, match="needs 40 pictures, not 24"):
        refusal_fit.fit_detector(model, dataset)


def test_the_shipped_model_refuses_no_ultrasound_and_takes_no_photograph(shared_dir):
    if registry.load_model(registry.SHIPPED).detector is None:
        pytest.skip("the model that ships has no refusal check yet")
    predictor = Predictor(registry.SHIPPED, device="cpu")
    data = read_dataset(shared_dir / "data" / "busi")
    answers = predictor.predict([data.read(r) for r in data.records[::26]])
    assert sum(a.outcome == "refused" for a in answers) <= 1
    photographs = [n.image for n in islice(skimage_negatives(), 0, None, 4)]
    taken = [a.outcome != "refused" for a in predictor.predict(photographs)]
    assert np.mean(taken) <= 0.05


def test_a_dual_view_shows_two_ultrasounds_and_the_others_one():
    pictures = [np.full((80, 90, 3), tone, dtype=np.uint8) for tone in (40, 90, 140)]
    for number, negative in enumerate(overlaid(pictures)):
        shown = shown_in([7, 8, 9], number)
        if negative.kind == "dual view":
            tones = {int(negative.image[5, x, 0]) for x in (2, -2)}
            assert tones == {(40, 90, 140)[i - 7] for i in shown} and len(shown) == 2
        else:
            assert shown == (7 + number // 3,)
