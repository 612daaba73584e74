"""Replay by the worker's loop and by the command, with an engine that is there or is not."""

from __future__ import annotations

import io
import json
import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from cases.access import SYSTEM
from cases.models import Job, Replay, Result
from cases.services.jobs import job_cancel
from cases.services.replays import replay_request
from cases.states import JobState
from cases.storage import read_bytes, uploads
from cases.vocabulary import JobKind
from tests.factories import frame_result, newer_model, submit
from tests.tampering import tamper
from tests.worker.test_runner import drain_to_the_end, poison
from worker import engine
from worker import runner as runner_module
from worker.engine_child import MAX_MODELS
from worker.runner import Runner

pytestmark = pytest.mark.django_db


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(engine, "CHILD_MODULE", "tests.worker.fake_engine")
    runner = Runner(name="test-worker")
    yield runner
    runner.engine.close()


@pytest.fixture
def result(runner: Runner) -> Result:
    job = submit().jobs.get()
    runner.drain()
    return Result.objects.get(job=job)


def command(result_id: object, **options: Any) -> str:
    out = io.StringIO()
    call_command("replay", str(result_id), stdout=out, **options)
    return out.getvalue()


def test_a_worker_takes_replays_with_its_other_work(runner: Runner, result: Result) -> None:
    job = replay_request(actor=SYSTEM, result_id=result.pk)
    fresh = submit().jobs.get()
    assert runner.drain() == 2
    job.refresh_from_db()
    assert (job.state, job.replay.equal, job.replay.differences) == (JobState.SUCCEEDED, True, [])
    assert job.replay.engine == "fake"
    assert Result.objects.filter(job=fresh).exists()
    assert Result.objects.count() == 2


def test_the_results_own_model_is_loaded_again(
    runner: Runner, result: Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_frame = frame_result()
    newer_model("second", b"another network")
    asked: list[tuple[str, list[bytes]]] = []
    real = runner.engine.predict

    def predict(sha256: str, pictures: list[bytes], on_wait: Any) -> Any:
        asked.append((sha256, pictures))
        return real(sha256, pictures, on_wait)

    monkeypatch.setattr(runner.engine, "predict", predict)
    for told in (result, of_frame):
        replay_request(actor=SYSTEM, result_id=told.pk)
    assert runner.drain() == 2
    picture = of_frame.image.frame_rows.get(index=of_frame.frame).storage_name
    own = result.model_version.sha256
    assert asked == [
        (own, [read_bytes(result.image.storage_name)]),
        (own, [read_bytes(picture)]),
    ]


def test_replays_of_old_models_do_not_drive_out_the_live_one(
    runner: Runner, result: Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer_model("second", b"another network")
    submit()
    runner.drain()
    second = Result.objects.exclude(pk=result.pk).get()
    live = newer_model("third", b"a third network")
    # What the engine holds: `Engine.load` keeps the two used last.
    held: list[str] = []
    real = runner.engine.load

    def load(sha256: str, *args: Any) -> None:
        real(sha256, *args)
        if sha256 in held:
            held.remove(sha256)
        held.append(sha256)
        del held[:-MAX_MODELS]

    monkeypatch.setattr(runner.engine, "load", load)
    after: list[bool] = []
    process = runner.process
    monkeypatch.setattr(
        runner, "process", lambda claims: (process(claims), after.append(live.sha256 in held))
    )
    for told in (result, second, result):
        replay_request(actor=SYSTEM, result_id=told.pk)
        runner.drain()
    for told in (result, second):
        replay_request(actor=SYSTEM, result_id=told.pk)
    runner.drain()
    assert after == [True] * 5


def test_a_replay_whose_model_is_gone_fails_soon_and_does_not_say_run_it_again(
    runner: Runner, result: Result, settings, tmp_path: Path
) -> None:
    newer_model("second", b"another network")
    settings.STATE_DIR = tmp_path
    uploads().delete(result.model_version.storage_name)
    job = replay_request(actor=SYSTEM, result_id=result.pk)
    drain_to_the_end(runner)
    job.refresh_from_db()
    assert (job.state, job.error_code, job.attempt) == (JobState.FAILED, "model_unavailable", 3)
    assert "Run it again" not in job.error_detail
    assert "The stored answer stands" in job.error_detail


def test_a_replay_that_kills_the_engine_fails_after_its_attempts(
    runner: Runner, result: Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison(monkeypatch, result.job, "crash")
    runner.engine.close()
    job = replay_request(actor=SYSTEM, result_id=result.pk)
    drain_to_the_end(runner)
    job.refresh_from_db()
    assert (job.state, job.error_code) == (JobState.FAILED, "engine_crashed")
    assert not Replay.objects.exists()


def test_a_replay_cancelled_while_the_engine_works_keeps_nothing(
    runner: Runner, result: Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = replay_request(actor=SYSTEM, result_id=result.pk)
    real = runner.engine.predict

    def cancelled_meanwhile(*args: Any, **kwargs: Any) -> Any:
        job_cancel(actor=SYSTEM, job_id=job.pk)
        return real(*args, **kwargs)

    monkeypatch.setattr(runner.engine, "predict", cancelled_meanwhile)
    runner.drain()
    assert not Replay.objects.exists()


def test_lost_bytes_are_told(runner: Runner, result: Result) -> None:
    uploads().delete(result.image.storage_name)
    job = replay_request(actor=SYSTEM, result_id=result.pk)
    runner.drain()
    job.refresh_from_db()
    assert (job.state, job.error_code) == (JobState.FAILED, "storage_damaged")


# The command


def test_the_command_says_equal(result: Result) -> None:
    assert command(result.pk) == "equal: by fake, scores within 1e-05\n"
    assert Replay.objects.get().equal


def test_the_command_names_what_differs_and_fails(result: Result) -> None:
    tamper(result, score_malignant=0.9)
    out = io.StringIO()
    with pytest.raises(CommandError, match="different: computed again by fake") as caught:
        call_command("replay", str(result.pk), stdout=out)
    assert caught.value.returncode == 1
    assert out.getvalue() == "score_malignant: stored 0.9, now 0.1 (tolerance 1e-05)\n"
    result.refresh_from_db()
    assert result.score_malignant == 0.9


@pytest.mark.parametrize("told", ["nonsense", str(uuid.UUID(int=5))])
def test_the_command_knows_no_such_result(told: str) -> None:
    with pytest.raises(CommandError) as caught:
        command(told)
    assert caught.value.returncode == 2
    assert not Job.objects.exists()


def test_the_command_tells_why_it_was_not_possible(result: Result) -> None:
    uploads().delete(result.image.storage_name)
    with pytest.raises(CommandError, match="The stored image is missing") as caught:
        command(result.pk)
    assert caught.value.returncode == 1


def test_the_command_repeats_an_attempt_that_failed(
    result: Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison(monkeypatch, result.job, "crash")
    monkeypatch.setattr("cases.services.leases.RETRY_PAUSE", timedelta(0))
    with pytest.raises(CommandError, match="process ended while it read"):
        command(result.pk)
    job = Job.objects.get(kind=JobKind.REPLAY)
    assert (job.state, job.attempt) == (JobState.FAILED, job.max_attempts)


def test_the_command_waits_for_a_worker_that_was_faster(
    runner: Runner, result: Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    def faster(**_: Any) -> list[Any]:
        runner.drain()
        return []

    monkeypatch.setattr("worker.management.commands.replay.replay_job_claim", faster)
    assert command(result.pk).startswith("equal")


def test_the_command_does_not_wait_for_ever(
    result: Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.management.commands.replay.replay_job_claim", lambda **_: [])
    with pytest.raises(CommandError, match="still PENDING after 0 s") as caught:
        command(result.pk, seconds=0)
    assert caught.value.returncode == 1


# With a network


@pytest.fixture
def model_file(tmp_path, settings):
    """A model file of a small random network, which refuses nothing and abstains below 0.34."""
    import torch

    from ml import registry
    from ml.calibrate import Calibration
    from ml.cards import make_card
    from ml.model import build_network
    from ml.preprocessing import Preprocessing

    torch.manual_seed(7)
    settings.STATE_DIR = tmp_path / "state"
    card = make_card(
        version="tests-only",
        layout="v1-layer3",
        preprocessing=Preprocessing(size=64),
        calibration=Calibration(1.5, 0.35, 0.95, 0.34, 0.1, 1.0),
    )
    path = tmp_path / "tiny.safetensors"
    registry.save_model(path, build_network("v1-layer3").state_dict(), card)
    return path


def test_a_real_result_is_equal_by_its_own_and_by_another_engine(
    model_file, settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cases.services.learning import shipped_model_install

    card = json.loads(model_file.with_suffix(".json").read_text())
    shipped_model_install(actor=SYSTEM, weights=model_file.read_bytes(), card=card)
    monkeypatch.setattr("tests.factories.live_model", lambda: None)
    settings.BCWEB_ENGINE_START_SECONDS = 200
    settings.BCWEB_BATCH_SECONDS = 100
    jobs = [submit().jobs.get() for _ in range(3)]
    replays = {}
    for kind in ("onnx", "pytorch"):
        settings.BCWEB_ENGINE = kind
        worker = Runner(name=f"test-{kind}")
        try:
            worker.drain()
            result = Result.objects.get(job=jobs[0])
            replay_request(actor=SYSTEM, result_id=result.pk)
            worker.drain()
        finally:
            worker.engine.close()
        replays[kind] = Replay.objects.order_by("-created_at")[0]
    assert result.engine.startswith("onnxruntime-")
    assert (result.temperature, result.minimum_score) == (1.5, 0.34)
    assert result.transform["size"] == 64
    assert result.transform["picture"] == [result.image.width, result.image.height]
    assert replays["onnx"].engine == result.engine
    assert replays["pytorch"].engine.startswith("pytorch-")
    assert [replay.differences for replay in replays.values()] == [[], []]
    assert replays["onnx"].tolerance < replays["pytorch"].tolerance
    # Each found as one of three in a batch, and again alone.
    assert Job.objects.filter(kind=JobKind.REPLAY, state=JobState.SUCCEEDED).count() == 2


def test_the_options_name_the_engine(settings) -> None:
    settings.BCWEB_ENGINE = "pytorch"
    assert runner_module.engine_options().kind == "pytorch"
