"""The engine's shelf of models: what does not load is told, and what is held stays."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cases.models import Result
from cases.services.leases import engine_jobs_claim
from cases.services.results import result_store
from tests.factories import WORKER, phantom_jpeg, submit
from worker.answers import answer_from
from worker.engine_child import MAX_MODELS, Engine


@pytest.fixture
def child(monkeypatch: pytest.MonkeyPatch) -> Engine:
    """An engine whose models load at once, are named by their path, and may be bad."""

    def load(path: str, **_: Any) -> Any:
        if path == "too large":
            raise MemoryError("no room for it")

        def warm_up() -> None:
            if path == "breaks":
                raise RuntimeError("x" * 2000)

        return SimpleNamespace(
            model=SimpleNamespace(sha256=path),
            warm_up=warm_up,
            compact=lambda: None,
            engine="fake",
            warning=None,
        )

    monkeypatch.setattr("ml.inference.Predictor", load)
    return Engine(device="cpu", kind="auto", threads=1)


@pytest.mark.parametrize("bad", ["too large", "breaks"])
def test_a_model_that_does_not_load_is_told_and_the_others_stay(child: Engine, bad: str) -> None:
    child.load("good", "good")
    told = child.load(bad, bad)
    assert told["fault"] == "model_unavailable"
    assert 0 < len(told["detail"]) <= 500
    assert list(child.loaded) == ["good"]


def test_the_models_used_last_are_held(child: Engine) -> None:
    assert MAX_MODELS == 2
    for name in ("live", "old", "live", "older"):
        assert child.load(name, name)["engine"] == "fake"
    assert list(child.loaded) == ["live", "older"]


@pytest.mark.django_db
def test_a_networks_answer_is_stored_with_its_distance_from_the_training_images(
    tests_only_model: Path,
) -> None:
    from ml.registry import read_card

    sha256 = read_card(tests_only_model)["weights"]["sha256"]
    engine = Engine(device="cpu", kind="pytorch", threads=1)
    assert "fault" not in engine.load(sha256, str(tests_only_model))
    picture = phantom_jpeg()
    submit(files=[picture])
    (claim,) = engine_jobs_claim(actor=WORKER, limit=1)
    answers, heatmaps = engine.predict(sha256, [picture])
    # As it comes over the wire.
    told = answer_from(json.loads(json.dumps(answers[0])), heatmaps[0])
    stored = result_store(actor=WORKER, job_id=claim.job_id, attempt=claim.attempt, answer=told)
    assert stored is not None
    distance = Result.objects.get(pk=stored.pk).feature_distance
    assert distance is not None and distance > 0
    assert distance == told.feature_distance
