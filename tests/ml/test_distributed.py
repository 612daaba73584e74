"""Two processes under ``torchrun``, talking gloo on the CPU, against a lone one.

BatchNorm keeps its statistics here: torch has no synchronised BatchNorm for the CPU, so batch
statistics over half a batch would differ from those over the whole of it.
"""

import csv
import json
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from ml.distributed import Loop, World, joined, others_named
from ml.errors import TrainingError
from ml.run import CHECKPOINT, WEIGHTS, fit, prepare
from tests.ml.narrow_train import tiny

ROOT = Path(__file__).parents[2]
CONFIG = {"frozen_batchnorm": True}


def torchrun(data_dir, out, *more, **settings):
    """Two processes share every batch: 3 and 2 pictures of the first, 2 and 2 of the second."""
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    module = ["-m", "tests.ml.narrow_train", json.dumps({"config": CONFIG, **settings})]
    data = ["--data", str(data_dir), "--out", str(out), "--init", "none", "--bootstraps", "5"]
    return subprocess.run(
        [sys.executable, *launch, *module, *data, "--device", "cpu", *more],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        timeout=600,
    )


def history(out):
    with (out / "history.csv").open() as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


def test_two_processes_end_where_a_lone_one_ends_also_after_one_was_killed(
    data_dir, dataset, tmp_path, narrow
):
    lone = prepare(dataset, tiny(**CONFIG), tmp_path / "lone", device="cpu")
    fit(lone)

    out = tmp_path / "broken"
    die = {"at": "batch", "count": 4, "rank": 1}
    events = tmp_path / "events.jsonl"
    ended = torchrun(data_dir, out, "--events", str(events), die=die)
    assert ended.returncode != 0
    assert torch.load(out / CHECKPOINT, weights_only=True)["epoch"] == 1
    assert not (out / WEIGHTS).exists()
    told = [json.loads(line) for line in events.read_text().splitlines()]
    assert told[0]["processes"] == 2
    assert [e["event"] for e in told].count("start") == 1  # the first process alone tells

    resumed = torchrun(data_dir, out, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    whole = tmp_path / "whole"
    ended = torchrun(data_dir, whole)
    assert ended.returncode == 0, ended.stderr
    assert history(out) == history(whole)
    ours, theirs = load_file(whole / WEIGHTS), load_file(out / WEIGHTS)
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())

    # Sums in another order round differently, and Adam divides tiny gradients by their own size:
    # after four steps within 0.1 %, and within 0.5 % at validation, which sees the last of them.
    # The gradients themselves: see below.
    close = {"train_loss": 1e-3, "train_accuracy": 1e-3, "val_loss": 5e-3}
    for row, expected in zip(history(whole), lone.trainer.history, strict=True):
        for name, tolerance in close.items():
            if row[name]:
                assert float(row[name]) == pytest.approx(expected[name], rel=tolerance)


class Pretended(World):
    """One of several processes without the others: it keeps the gradients of its own share."""

    def sums(self, values, device):
        return list(values)

    def together(self, module, device, *, synced):
        return module


def gradients(dataset, out, world):
    """Of the first step, whose batch holds five pictures; dropout and lesions take part."""
    config = tiny(**CONFIG, held=())
    trainer = prepare(dataset, config, out, device="cpu", loop=Loop(world)).trainer
    for module in trainer.network.modules():
        module.training = not isinstance(module, torch.nn.BatchNorm2d)
    torch.manual_seed(5)
    trainer.optimizer.step = lambda: None
    with closing(trainer.batches(0)) as batches:
        batch = next(batches)
        assert batch.total == 5
        assert batch.lesions.sum() >= 1
        trainer._step(batch, lambda: False)
    return {name: p.grad for name, p in trainer.network.named_parameters()}, len(batch.targets)


def test_the_mean_of_uneven_shares_gradients_is_the_whole_batchs_gradient(
    dataset, tmp_path, narrow
):
    whole, _ = gradients(dataset, tmp_path, World())
    (first, n), (second, m) = (gradients(dataset, tmp_path, Pretended(k, 2)) for k in range(2))
    assert (n, m) == (3, 2)
    for name, expected in whole.items():
        tolerance = 1e-5 * float(expected.abs().max())
        mean = (first[name] + second[name]) / 2
        torch.testing.assert_close(mean, expected, rtol=1e-4, atol=tolerance, msg=name)


def test_without_torchrun_a_process_is_alone():
    with joined("cpu") as world:
        assert world == World(rank=0, size=1, device="cpu")
        assert world.first
    assert world.sums([1.5, 2.0], torch.device("cpu")) == [1.5, 2.0]
    assert world.from_first("value") == "value"


def test_batches_too_small_to_share_are_refused(dataset, tmp_path, narrow):
    loop = Loop(World(rank=0, size=6))
    with pytest.raises(TrainingError, match="batches of 4 pictures cannot be shared by 6"):
        prepare(dataset, tiny(), tmp_path, device="cpu", loop=loop)


def test_the_end_of_another_process_is_named_and_other_failures_keep_their_words():
    gone = "another process of this training has ended"
    with pytest.raises(TrainingError, match=gone), others_named():
        raise RuntimeError("[gloo/transport/tcp/pair.cc:544] Connection closed by peer")
    with pytest.raises(RuntimeError, match="shapes"), others_named():
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")
