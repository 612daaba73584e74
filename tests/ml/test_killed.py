"""Real processes of the training command: killed, told to stop, and resumed."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ml.run import CHECKPOINT, fit, prepare
from tests.ml.narrow_train import tiny

ROOT = Path(__file__).parents[2]
MODULE = "tests.ml.narrow_train"


def command(data_dir, out, *more, **settings):
    threads = ("--threads", str(torch.get_num_threads()))
    data = ("--data", str(data_dir), "--out", str(out), "--init", "none", "--bootstraps", "5")
    return [sys.executable, "-m", MODULE, json.dumps(settings), *data, *threads, *more]


def epoch_of(out):
    return torch.load(out / CHECKPOINT, weights_only=True)["epoch"]


@pytest.fixture
def prepared(dataset, narrow):
    return lambda out: prepare(dataset, tiny(), out, device="cpu")


@pytest.fixture
def check_resumed(prepared, tmp_path):
    """Resume the run in a folder and compare its end with an uninterrupted run, bit for bit."""

    def check(out):
        resumed, whole = prepared(out), prepared(tmp_path / "whole")
        epochs = []
        fit(resumed, resume=True, on_epoch=lambda row: epochs.append(row["epoch"]))
        fit(whole)
        assert epochs == [2, 3]
        for ours, theirs in zip(resumed.trainer.history, whole.trainer.history, strict=True):
            assert {k: v for k, v in ours.items() if k != "seconds"} == {
                k: v for k, v in theirs.items() if k != "seconds"
            }
        for part in ("best", "average"):
            for name, value in getattr(whole.trainer, part).items():
                assert torch.equal(getattr(resumed.trainer, part)[name], value), name
        assert not list(out.glob(".*"))

    return check


def test_killed_in_an_epoch_and_while_writing_a_checkpoint_it_ends_as_if_nothing_was(
    data_dir, tmp_path, check_resumed
):
    out = tmp_path / "out"
    die = {"at": "batch", "count": 4}  # nine pictures make two batches: the second epoch's last
    killed = subprocess.run(command(data_dir, out, die=die), cwd=ROOT, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert epoch_of(out) == 1
    assert not (out / "model.safetensors").exists()

    die = {"at": "write", "count": 1}
    killed = subprocess.run(command(data_dir, out, "--resume", die=die), cwd=ROOT, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert epoch_of(out) == 1
    assert len(list(out.glob(f".{CHECKPOINT}.*"))) == 1  # the file it was writing
    check_resumed(out)


def test_sigterm_ends_with_one_line_and_an_event_and_the_run_can_go_on(
    data_dir, tmp_path, check_resumed
):
    out = tmp_path / "out"
    process = subprocess.Popen(
        command(data_dir, out, "--events", "-"),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    seen = []
    for line in process.stdout:
        seen.append(json.loads(line))
        if seen[-1]["event"] == "step" and seen[-1]["epoch"] == 2:
            process.send_signal(signal.SIGTERM)
            break
    rest, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    assert errors.splitlines()[-1] == "error: the training was cancelled in epoch 2 of 3"
    kinds = [event["event"] for event in seen]
    steps = seen[0]["steps"]
    assert kinds == ["start", *["step"] * steps, "epoch", "checkpoint", "step"]
    last = json.loads(rest.splitlines()[-1])
    assert (last["event"], last["code"]) == ("error", "training_cancelled")
    assert epoch_of(out) == 1
    check_resumed(out)
