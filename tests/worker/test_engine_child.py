"""The engine's shelf of models: what does not load is told, and what is held stays."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

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
            model=SimpleNamespace(sha256=path), warm_up=warm_up, engine="fake", warning=None
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
