from pathlib import Path

import numpy as np
import pytest

from ml.config import CLASSES
from ml.errors import ImageUnreadableError
from ml.inference import Predictor, label_for, resolve_device
from ml.phash import hamming, perceptual_hash
from ml.preprocessing import decode_raster
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
    assert result["engine"].startswith("pytorch-") and result["engine"].endswith("-cpu")
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
