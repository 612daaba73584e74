"""The training command ended early: killed, told to stop, refused; and resumed."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ml import train
from ml.cli import run_cli
from ml.config import RECIPES
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
        assert epochs == [2]
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

    die = {"at": "write", "count": 2}  # the first is the history, told again on resuming
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
        command(data_dir, out, "--events", "-", hold={"epoch": 2, "step": 1}),
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
    rest, errors = process.communicate(timeout=400)
    assert process.returncode == 1
    assert errors.splitlines()[-1] == "error: the training was cancelled in epoch 2 of 2"
    kinds = [event["event"] for event in seen]
    steps = seen[0]["steps"]
    assert kinds == ["start", *["step"] * steps, "epoch", "checkpoint", "step"]
    last = json.loads(rest.splitlines()[-1])
    assert (last["event"], last["code"]) == ("error", "training_cancelled")
    assert epoch_of(out) == 1
    check_resumed(out)


def refused(run, data_dir, monkeypatch, *more):
    """Exit code of the command, resuming a run in a folder whose checkpoint does not fit."""
    monkeypatch.setitem(RECIPES, "bcweb", run.config)
    arguments = ["--data", str(data_dir), "--out", str(run.out), "--init", "none", "--resume"]
    return run_cli(lambda: train.main([*arguments, "--device", "cpu", *more]))


def test_a_checkpoint_of_another_architecture_ends_with_one_line_and_2(
    prepared, data_dir, tmp_path, monkeypatch, capsys
):
    run = prepared(tmp_path / "out")
    run.trainer.network.conv1 = torch.nn.Conv2d(1, 64, 7)
    run.trainer.save_checkpoint(run.out / CHECKPOINT, run.checkpoint_identity)
    events = tmp_path / "events"
    assert refused(run, data_dir, monkeypatch, "--events", str(events)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: checkpoint.pt is no checkpoint of this network")
    assert [p.name for p in run.out.iterdir()] == [CHECKPOINT]  # nothing half-written
    assert json.loads(events.read_text().splitlines()[-1])["code"] == "model_file"


@pytest.mark.parametrize(
    ("more", "what"),
    [
        (("--batch-size", "4"), "config"),
        (("--layout", "v1"), "layout"),
        (("--split", "random"), "pictures"),
    ],
)
def test_a_checkpoint_of_another_run_ends_with_one_line_and_2(
    prepared, data_dir, tmp_path, monkeypatch, capsys, more, what
):
    run = prepared(tmp_path / "out")
    run.trainer.save_checkpoint(run.out / CHECKPOINT, run.checkpoint_identity)
    assert refused(run, data_dir, monkeypatch, *more) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"error: checkpoint.pt is of another run: {what} differs"


def test_a_checkpoint_that_does_not_name_its_pictures_is_resumed_with_a_note(
    prepared, tmp_path, capsys
):
    out = tmp_path / "out"
    first = prepared(out)
    first.trainer.run_epoch()
    first.trainer.save_checkpoint(out / CHECKPOINT, first.identity)
    epochs = []
    fit(prepared(out), resume=True, on_epoch=lambda row: epochs.append(row["epoch"]))
    assert epochs == [2]
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("note: checkpoint.pt does not say which pictures")


@pytest.mark.parametrize("option", [("--workers", "-1"), ("--batch-size", "0"), ("--seed", "-3")])
def test_counts_that_make_no_sense_end_with_one_line_and_2(data_dir, tmp_path, capsys, option):
    arguments = ["--data", str(data_dir), "--out", str(tmp_path / "out"), *option]
    assert run_cli(lambda: train.main(arguments)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {option[0]} must be at least")
    assert not (tmp_path / "out").exists()
