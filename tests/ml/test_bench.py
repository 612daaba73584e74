"""The benchmark runs and writes what it promises; how fast anything is, is not tested."""

import json

import pytest

from bench import inference as bench
from ml.cli import UsageError


def test_the_inference_benchmark_writes_rows_and_memory(model_file, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(bench, "SIZE", (90, 110))
    # A process of its own per engine would import torch three times more.
    monkeypatch.setattr(bench, "peak_memory", bench.own_memory)
    out = tmp_path / "bench.json"
    arguments = ["--model", str(model_file), "--batches", "1", "2", "--rounds", "1"]
    assert bench.main([*arguments, "--threads", "1", "--json", str(out)]) == 0
    result = json.loads(out.read_text())
    cells = {(row["engine"], row["batch"], row["mode"]) for row in result["rows"]}
    for batch in (1, 2):
        assert {(e, batch, "pass") for e in ("eager", "pytorch", "onnx")} <= cells
        assert {(e, batch, "all") for e in ("pytorch", "onnx")} <= cells
    for row in result["rows"]:
        assert row["ms_per_image"] > 0
        assert row["images_per_s"] == pytest.approx(1000 / row["ms_per_image"])
    assert max(result["largest_score_difference"].values()) < 1e-4
    assert set(result["memory_mib"]) == {"eager", "pytorch", "onnx"}
    for used in result["memory_mib"].values():
        assert used["peak"] >= used["loaded"] > 0
    assert "x eager" in capsys.readouterr().out


def test_memory_is_told_as_json_for_the_asking_process(model_file, capsys):
    arguments = ["--memory-of", "onnx", "--model", str(model_file), "--batches", "1", "2"]
    assert bench.main([*arguments, "--threads", "1"]) == 0
    used = json.loads(capsys.readouterr().out)
    assert len(used["after_batches"]) == 4
    assert used["peak"] >= used["peak_while_loading"] >= used["imported"] > 0


@pytest.mark.parametrize("option", ["--rounds", "--batches", "--threads"])
def test_counts_below_one_are_refused(option):
    with pytest.raises(UsageError, match="at least 1"):
        bench.main([option, "0"])
