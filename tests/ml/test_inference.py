from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from ml import inference
from ml.config import CLASSES
from ml.errors import ImageUnreadableError, ModelFileError
from ml.inference import Predictor, label_for, resolve_device
from ml.phash import hamming, perceptual_hash
from ml.predict import in_words
from ml.preprocessing import decode_raster
from ml.registry import LoadedModel, load_model
from tests.ml.helpers import phantom, png


@pytest.fixture(scope="module")
def predictor(model_file: Path) -> Predictor:
    made = Predictor(model_file, device="cpu")
    made.warm_up()
    return made


PICTURES = [png(phantom(seed, size=(90, 150))) for seed in range(4)]


def test_an_answer_has_all_that_the_contract_wants_of_ml(predictor):
    answer = predictor.predict(PICTURES[:1])[0]
    result = answer.to_json()
    assert result["outcome"] == "answered"
    assert result["reason"] is None
    assert result["label"] in CLASSES
    assert set(result["probabilities"]) == set(CLASSES)
    assert sum(result["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert result["operating_point"] == {"threshold": 0.35, "sensitivity": 0.95}
    assert result["model"]["version"] == "tests-only"
    assert result["engine"].startswith("onnxruntime-") and result["engine"].endswith("-cpu")
    assert (result["temperature"], result["reason_code"]) == (1.5, None)
    transform = result["transform"]
    assert transform["picture"] == [150, 90]
    assert (transform["fit"], transform["size"]) == ("pad", 64)
    assert transform["covered"] == pytest.approx(answer.heatmap_box)
    x0, y0, x1, y1 = transform["content"]
    assert 0 <= x0 < x1 <= 150 and 0 <= y0 < y1 <= 90
    assert result["preprocessing"] == predictor.model.preprocessing.digest()
    assert result["duration_ms"] > 0
    assert result["research_use_only"] is True
    assert (answer.width, answer.height) == (150, 90)
    assert 0 <= answer.phash < 2**64


def test_bytes_and_arrays_get_the_same_answer(predictor):
    first, second = predictor.predict([PICTURES[0], decode_raster(PICTURES[0])])
    assert first.probabilities == pytest.approx(second.probabilities, abs=1e-6)
    assert first.phash == second.phash


def test_a_batch_answers_like_one_at_a_time_and_in_order(predictor):
    together = predictor.predict(PICTURES)
    for picture, answer in zip(PICTURES, together, strict=True):
        alone = predictor.predict([picture])[0]
        assert alone.probabilities == pytest.approx(answer.probabilities, abs=1e-5)
        assert alone.phash == answer.phash
        np.testing.assert_allclose(alone.heatmap, answer.heatmap, atol=2e-3)


def test_an_empty_batch_has_no_answers(predictor):
    assert predictor.predict([]) == []
    assert predictor.predict_each([]) == []


def test_a_bad_picture_is_named_by_its_place_and_spares_the_others(predictor):
    batch = [PICTURES[0], b"not a picture", PICTURES[1]]
    with pytest.raises(ImageUnreadableError) as caught:
        predictor.predict(batch)
    assert caught.value.index == 1
    answers = predictor.predict_each(batch)
    assert isinstance(answers[1], ImageUnreadableError)
    assert answers[1].index == 1
    assert answers[0].probabilities == pytest.approx(
        predictor.predict(PICTURES[:1])[0].probabilities, abs=1e-5
    )
    assert answers[2].phash == predictor.predict([PICTURES[1]])[0].phash


def test_the_heatmap_sums_up_to_the_logits_and_spans_the_padded_square(predictor):
    full = np.maximum(phantom(0, size=(90, 150)), 40)  # no black margin that would be cut
    answer = predictor.predict([full])[0]
    assert answer.heatmap.dtype == np.float16
    assert answer.heatmap.shape == (3, 2, 2)  # 64 px input: two cells a side
    bias = predictor.model.network.fc.bias.detach().numpy()
    logits = answer.heatmap.astype(float).mean(axis=(1, 2)) + bias
    scores = np.exp(logits / 1.5) / np.exp(logits / 1.5).sum()
    assert scores == pytest.approx([answer.probabilities[c] for c in CLASSES], abs=2e-3)
    x0, y0, x1, y1 = answer.heatmap_box
    assert (x0, x1) == (0, 150)
    assert y0 == pytest.approx(-30, abs=1.5) and y1 == pytest.approx(120, abs=1.5)


@pytest.mark.parametrize(
    ("scores", "label"),
    [
        ((0.5, 0.4, 0.1), "malignant"),
        ((0.5, 0.39, 0.11), "benign"),
        ((0.2, 0.39, 0.41), "normal"),
        ((0.3, 0.4, 0.3), "malignant"),
        ((0.35, 0.3, 0.35), "benign"),
    ],
)
def test_the_label_follows_the_operating_point(scores, label):
    assert label_for(np.array(scores), 0.4) == label


def test_auto_takes_the_cpu_where_there_is_no_gpu(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert resolve_device("auto").type == "cpu"
    assert resolve_device("cpu").type == "cpu"


def test_the_hash_survives_recompression_and_tells_pictures_apart():
    first = decode_raster(PICTURES[0])
    noisy = np.clip(
        first.astype(int) + np.random.default_rng(0).integers(-4, 5, first.shape), 0, 255
    )
    same = perceptual_hash(noisy.astype(np.uint8))
    assert hamming(perceptual_hash(first), same) <= 3
    assert hamming(perceptual_hash(first), perceptual_hash(decode_raster(PICTURES[1]))) > 10


def test_both_engines_give_the_same_answers(model_file, predictor):
    pytorch = Predictor(model_file, device="cpu", engine="pytorch")
    assert (pytorch.warning, predictor.warning) == ("", "")
    for mine, theirs in zip(predictor.predict(PICTURES), pytorch.predict(PICTURES), strict=True):
        assert mine.engine != theirs.engine
        assert (mine.label, mine.transform) == (theirs.label, theirs.transform)
        assert mine.probabilities == pytest.approx(theirs.probabilities, abs=1e-4)
        np.testing.assert_allclose(mine.heatmap, theirs.heatmap, atol=2e-3)


# Abstention and refusal


@pytest.mark.parametrize(("kind", "kept"), [("onnx", False), ("pytorch", True)])
def test_what_only_loading_needed_can_be_given_back(model_file, kind, kept):
    made = Predictor(model_file, device="cpu", engine=kind)
    before = made.predict(PICTURES[:2])
    made.compact()
    assert [p.probabilities for p in made.predict(PICTURES[:2])] == [
        p.probabilities for p in before
    ]
    assert all(p.is_meta is not kept for p in made.model.network.parameters())


def with_rules(model: LoadedModel, *, minimum: float | None = None, refuses=None) -> Predictor:
    """A predictor whose card abstains below ``minimum`` and whose detector is ``refuses``."""
    rule = {} if minimum is None else {"abstention": {"minimum_score": minimum}}
    card = {k: v for k, v in model.card.items() if k != "abstention"}
    made = Predictor(replace(model, card=card | rule), device="cpu", engine="pytorch")
    if refuses is not None:
        made._detector = SimpleNamespace(
            check=refuses, distances=lambda texture: np.ones(len(texture))
        )
    return made


@pytest.fixture(scope="module")
def model(model_file: Path) -> LoadedModel:
    return load_model(model_file)


def test_below_the_cards_minimum_score_there_is_no_answer_but_a_label(model):
    plain = with_rules(model).predict(PICTURES[:1])[0]
    top = max(plain.probabilities.values())
    assert (plain.outcome, plain.reason, plain.minimum_score) == ("answered", None, None)
    below = with_rules(model, minimum=top + 0.001).predict(PICTURES[:1])[0]
    assert (below.outcome, below.reason_code) == ("abstained", "uncertain")
    assert below.reason is not None and below.reason.endswith("on it answers.")
    assert (below.label, below.probabilities) == (plain.label, plain.probabilities)
    assert below.minimum_score == top + 0.001
    reached = with_rules(model, minimum=top).predict(PICTURES[:1])[0]
    assert (reached.outcome, reached.reason) == ("answered", None)


@pytest.mark.parametrize("rule", [{}, {"minimum_score": "x"}, {"minimum_score": 1.5}, [0.5], 7])
def test_a_rule_for_abstention_that_makes_no_sense_is_refused(model, rule):
    with pytest.raises(ModelFileError, match="abstention"):
        Predictor(replace(model, card={**model.card, "abstention": rule}), device="cpu")


def test_a_refused_picture_has_a_reason_and_no_label_and_keeps_its_scores(model):
    seen = []

    def check(pixels, texture):
        seen.append((pixels, texture))
        if len(seen) == 1:
            return SimpleNamespace(code="not_ultrasound", sentence="This is no ultrasound.")
        return None

    # Refusal goes first: where nothing is to be seen, uncertainty says nothing.
    refused, other = with_rules(model, minimum=1.0, refuses=check).predict(PICTURES[:2])
    assert (refused.outcome, refused.reason_code) == ("refused", "not_ultrasound")
    assert refused.reason == "This is no ultrasound."
    assert refused.label is None
    assert sum(refused.probabilities.values()) == pytest.approx(1)
    assert other.outcome == "abstained"
    for (pixels, texture), picture in zip(seen, PICTURES, strict=False):
        np.testing.assert_array_equal(pixels, decode_raster(picture))
        assert (texture.dtype, texture.shape) == (np.float32, (512,))
    shown = refused.to_json()
    assert shown["probabilities"] is shown["label"] is None


def test_pixels_held_for_the_check_are_bounded_and_order_is_kept(model, monkeypatch):
    predictor = with_rules(model, refuses=lambda pixels, texture: None)
    whole = predictor.predict(PICTURES)
    monkeypatch.setattr(inference, "MAX_HELD_BYTES", 2 * 90 * 150 * 3)
    passes, real = [], predictor.run
    monkeypatch.setattr(predictor, "run", lambda t: (passes.append(len(t)), real(t))[1])
    parts = predictor.predict_each([*PICTURES, b"not a picture"])
    assert passes == [3, 1]
    assert isinstance(parts[4], ImageUnreadableError)
    for mine, theirs in zip(parts[:4], whole, strict=True):
        assert mine.phash == theirs.phash
        assert mine.probabilities == pytest.approx(theirs.probabilities, abs=1e-5)


def test_a_result_in_words_tells_the_outcome_and_why():
    result = {"file": "a.png", "label": "benign", "outcome": "answered", "reason": None}
    scored = result | {"probabilities": {"malignant": 0.25}}
    assert in_words(scored) == "a.png: benign, malignant score 0.250"
    unsure = scored | {"outcome": "abstained", "reason": "Too uncertain."}
    assert in_words(unsure) == "a.png: abstained (Too uncertain.), malignant score 0.250"
    refused = result | {"outcome": "refused", "reason": "A photo.", "probabilities": None}
    assert in_words(refused) == "a.png: refused (A photo.)"
