"""Between the worker and its engine: what is asked for, what comes back, what is logged."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ml.errors import ImageUnreadableError
from ml.registry import OperatingPoint
from worker import engine
from worker.answers import answer_from
from worker.engine import EngineOptions, EngineProcess
from worker.engine_child import Engine


def prediction(outcome: str = "answered", cells: int = 7) -> Any:
    refused = outcome == "refused"
    reasons = {"refused": "This is a photograph.", "abstained": "Too uncertain."}
    return SimpleNamespace(
        outcome=outcome,
        reason=reasons.get(outcome),
        reason_code="not_ultrasound" if refused else None,
        label=None if refused else "benign",
        probabilities={"benign": 0.7, "malignant": 0.2, "normal": 0.1},
        operating_point=OperatingPoint(0.4, 0.95),
        temperature=1.2,
        minimum_score=None,
        transform={
            "picture": [90, 60],
            "content": [0, 0, 90, 60],
            "covered": [0.0, -15.0, 90.0, 75.0],
            "fit": "pad",
            "size": 224,
        },
        feature_distance=1.25,
        heatmap=np.full((3, cells, cells), 0.5, np.float16),
        heatmap_box=(0.0, -15.0, 90.0, 75.0),
        phash=7,
        engine="onnxruntime-1-cpu",
        preprocessing="abc",
        duration_ms=60.0,
    )


def test_refused_and_unreadable_pictures_come_without_heatmap_and_order_is_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = [
        prediction(cells=5),
        prediction("refused"),
        ImageUnreadableError("the file is empty", index=2),
        prediction("abstained", cells=6),
    ]
    child = Engine(device="cpu", kind="auto", threads=1)
    child.loaded["sha"] = SimpleNamespace(predict_each=lambda pictures: found)  # type: ignore[assignment]
    answers, heatmaps = child.predict("sha", [b""] * 4)
    # Over the wire everything is JSON.
    reply = {"answers": json.loads(json.dumps(answers))}
    worker = EngineProcess(EngineOptions())
    monkeypatch.setattr(worker, "_ask", lambda *_, **__: (reply, heatmaps))
    received = worker.predict("sha", [b""] * 4, lambda: None)
    sizes = [None if heatmap is None else len(heatmap) for _, heatmap in received]
    assert sizes == [2 * 3 * 25, None, None, 2 * 3 * 36]
    answered, refused, unreadable, abstained = received
    assert answer_from(*answered).heatmap_rows == 5
    told = answer_from(*refused)
    assert (told.scores, told.label, told.reason) == (None, "", "This is a photograph.")
    assert unreadable[0]["error"] == "image_unreadable"
    assert answer_from(*abstained).scores == found[3].probabilities


def test_an_engine_that_is_not_the_wanted_one_is_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    worker = EngineProcess(EngineOptions())
    reply = {"engine": "pytorch-2-cpu", "warning": "ONNX Runtime is not used: its maps differ"}
    monkeypatch.setattr(worker, "start", lambda: None)
    monkeypatch.setattr(worker, "_ask", lambda *_, **__: (reply, []))
    worker.load("sha", Path("m"), lambda: None)
    assert worker.engine == "pytorch-2-cpu"
    (record,) = [r for r in caplog.records if "engine_fallback" in str(r.msg)]
    assert record.levelname == "WARNING"
    assert reply["warning"] in str(record.msg)


def test_the_child_is_told_engine_and_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []

    def popen(command: list[str], **_: Any) -> Any:
        commands.append(command)
        return SimpleNamespace(pid=1, poll=lambda: 0, kill=lambda: None, wait=lambda: 0)

    monkeypatch.setattr(engine.subprocess, "Popen", popen)
    worker = EngineProcess(EngineOptions(device="cpu", kind="pytorch", threads=3))
    worker.start()
    worker.close()
    told = json.loads(commands[0][-1])
    assert (told["device"], told["kind"], told["threads"]) == ("cpu", "pytorch", 3)


@pytest.mark.parametrize(("asked", "used"), [(0, 5), (2, 2)])
def test_without_a_number_the_quota_decides_the_threads(
    monkeypatch: pytest.MonkeyPatch, asked: int, used: int
) -> None:
    monkeypatch.setattr("ml.threads.default_threads", lambda: 5)
    assert Engine(device="cpu", kind="auto", threads=asked).threads == used
