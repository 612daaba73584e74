"""The training benchmark runs and writes what it promises; how fast anything is, is not tested."""

import json

import pytest

from bench import train as bench
from ml.cli import UsageError
from ml.errors import DatasetError


def test_the_training_benchmark_writes_a_row_per_loop(data_dir, tmp_path, narrow, capsys):
    out = tmp_path / "bench.json"
    small = ["--pictures", "9", "--batch-size", "4", "--size", "32", "--rounds", "1"]
    arguments = ["--data", str(data_dir), *small, "--threads", "1", "--loaders", "0"]
    assert bench.main([*arguments, "--json", str(out)]) == 0
    result = json.loads(out.read_text())
    assert result["pictures"] == 8  # whole batches
    rows = {row["loop"]: row for row in result["rows"]}
    assert set(rows) == {"plain", "ours, batches in line", "ours, batches made ahead"}
    assert rows["plain"]["times_plain"] == 1
    for row in rows.values():
        assert row["images_per_s"] == pytest.approx(8 / row["seconds"][0])
        assert row["with_decoding"] <= row["images_per_s"]
        assert row["peak_mib"] > 0
    assert "x fastest plain" in capsys.readouterr().out


def test_both_loops_step_on_the_same_recipe(narrow):
    config = bench.plain_config("bcweb", 8, 64)
    assert (config.batch_size, config.size, config.stages, config.ema) == (8, 64, (), 0)
    assert config.optimizer == "adamw"


def test_fewer_pictures_than_a_batch_and_counts_below_one_are_refused(data_dir):
    with pytest.raises(DatasetError, match="fewer pictures than one batch"):
        bench.main(["--data", str(data_dir), "--batch-size", "100"])
    with pytest.raises(UsageError, match="at least 1"):
        bench.main(["--data", str(data_dir), "--rounds", "0"])
