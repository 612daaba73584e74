"""The training worker with real processes: a snapshot in, a candidate out, and every bad turn."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import OperationalError, connection
from django.utils import timezone
from PIL import Image

from cases.access import SYSTEM
from cases.models import Job, ModelVersion, TrainingEpoch, TrainingRun, TrainingSnapshot
from cases.services.jobs import live_model as live
from cases.services.leases import jobs_sweep
from cases.services.training import training_run_cancel
from cases.states import JobState, ModelState
from cases.storage import read_bytes, uploads
from tests.factories import live_model
from tests.live import wait_for
from tests.phantoms import bmode_phantom
from tests.training import make_run
from tests.worker.training_process import database_url
from worker import training
from worker.training import TrainingRunner

# Each trains a network in a process of its own: long on a busy machine.
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(600)]

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def state(state: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where narrow networks are trained."""
    settings.BCWEB_THREADS = 1
    monkeypatch.setattr(training, "CHILD_MODULE", "tests.worker.narrow_training")
    return state


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Eight benign and seven malignant phantoms."""
    root = tmp_path / "a set"
    for label, count in (("benign", 8), ("malignant", 7)):
        (root / label).mkdir(parents=True)
        for number in range(count):
            seed = number + 50 * (label == "malignant")
            image = bmode_phantom(seed, (96, 110), label)
            Image.fromarray(image).save(root / label / f"{label} ({number}).png")
    return root


@pytest.fixture
def snapshot(state: Path, data: Path) -> TrainingSnapshot:
    return imported(data)


def imported(data: Path) -> TrainingSnapshot:
    call_command("import_dataset", str(data), "--folds", "2", stdout=io.StringIO())
    return TrainingSnapshot.objects.get()


Fault = Callable[..., None]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Fault:
    """What the training process of the test does."""

    def tell(**settings: Any) -> None:
        monkeypatch.setenv("BCWEB_TEST_TRAINING", json.dumps(settings))

    return tell


def runner(**more: Any) -> TrainingRunner:
    return TrainingRunner(name="training@test", **more)


def run_of(snapshot: TrainingSnapshot, **plan: Any) -> TrainingRun:
    return make_run(snapshot=snapshot, **{"init": "none", **plan})


def job_of(run: TrainingRun) -> Job:
    return Job.objects.get(pk=run.pk)


def curve(run: TrainingRun) -> list[dict[str, Any]]:
    """The epoch table without the clock's part."""
    rows = TrainingEpoch.objects.filter(run=run).order_by("epoch")
    return [
        {"epoch": row.epoch, **{k: v for k, v in row.values.items() if k != "seconds"}}
        for row in rows
    ]


def test_a_run_makes_a_candidate_with_its_curve_and_leaves_no_files(
    snapshot: TrainingSnapshot, data: Path, state: Path, told: Fault
) -> None:
    told(check=15)
    before = live_model()
    # What came into the folder later is not in the snapshot, and not trained on.
    (data / "normal").mkdir()
    Image.fromarray(bmode_phantom(99, (96, 110), "normal")).save(data / "normal" / "late.png")
    run = run_of(snapshot, epochs=2)
    assert runner().drain() == 1
    run.refresh_from_db()
    job = job_of(run)
    assert (job.state, job.error_code) == (JobState.SUCCEEDED, ""), run.log_tail
    model = run.model_version
    assert model is not None
    assert model.state == ModelState.CANDIDATE
    assert model.version == f"resnet50-bcweb-{run.pk.hex[:8]}"
    assert len(read_bytes(model.storage_name)) == model.size
    assert run.card is not None
    assert run.card["training"]["data"]["images"] == 15
    # What is no breast ultrasound is refused, by a check that was fitted on these pictures.
    assert run.card["refusal"]["figures"]["ultrasounds"]["n"] == 15
    assert run.card["training"]["data"]["name"] == f"snapshot-{snapshot.pk[:12]}"
    assert live() == before
    assert [row["epoch"] for row in curve(run)] == [1, 2]
    assert {"train_loss", "val_loss"} <= set(curve(run)[0])
    assert run.facts["pictures"]["train"] > 0
    assert list((state / "training").iterdir()) == []


def test_a_killed_worker_takes_its_child_along_and_the_next_ends_in_the_same_curve(
    snapshot: TrainingSnapshot, state: Path, told: Fault
) -> None:
    whole = run_of(snapshot, epochs=3)
    assert runner().drain() == 1
    whole.refresh_from_db()
    # Fifteen pictures are too few for that, and the model says so.
    assert "no refusal check: it needs 40 pictures, not 15" in whole.log_tail
    assert whole.card is not None and "refusal" not in whole.card

    run = run_of(snapshot, epochs=3)
    told(hold={"epoch": 2, "step": 1})
    worker = subprocess.Popen(
        [sys.executable, "-m", "tests.worker.training_process", str(state)],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": database_url()},
    )
    folder = state / "training" / str(run.pk)
    wait_for("the first epoch", (folder / "out" / "checkpoint.pt").exists, seconds=400)
    child = wait_for("the child", lambda: _children(worker.pid))[0]
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait()
    wait_for("the child's end", lambda: not _alive(child))
    assert job_of(run).state == JobState.RUNNING
    assert (folder / "out" / "checkpoint.pt").exists()

    Job.objects.filter(pk=run.pk).update(lease_expires_at=timezone.now() - timedelta(minutes=1))
    assert jobs_sweep(actor=SYSTEM)["requeued"] == 1
    Job.objects.filter(pk=run.pk).update(available_at=timezone.now() - timedelta(minutes=1))
    told()
    assert runner().drain() == 1
    job = job_of(run)
    assert (job.state, job.attempt) == (JobState.SUCCEEDED, 2)
    assert curve(run) == curve(whole)
    assert len(curve(run)) == 3


def _children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(word) for word in text.split()]


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state not in "ZX"


def test_a_cancelled_run_stops_between_steps_and_frees_the_line(
    snapshot: TrainingSnapshot, state: Path, told: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "HEARTBEAT_S", 0.1)
    told(pause=0.2)
    run = run_of(snapshot, epochs=50)
    cancelled = threading.Event()

    def cancel() -> None:
        try:
            training_run_cancel(actor=SYSTEM, run_id=run.pk, reason="wrong data")
        finally:
            cancelled.set()
            connection.close()

    class Watching(TrainingRunner):
        def _beat(self, claim: Any, story: Any) -> bool:
            progress = (story.take().progress or {}).get("phase")
            if progress == "training" and not cancelled.is_set():
                thread = threading.Thread(target=cancel)
                thread.start()
                thread.join()
            return super()._beat(claim, story)

    assert Watching(name="training@test").drain() == 1
    assert job_of(run).state == JobState.CANCELLED
    assert list((state / "training").iterdir()) == []
    assert not ModelVersion.objects.filter(state=ModelState.CANDIDATE).exists()


def test_a_worker_told_to_stop_gives_the_run_back_and_it_goes_on_though_connections_drop(
    snapshot: TrainingSnapshot, state: Path, told: Fault
) -> None:
    told(hold={"epoch": 2, "step": 1})
    run = run_of(snapshot, epochs=2)
    checkpoint = state / "training" / str(run.pk) / "out" / "checkpoint.pt"
    assert runner(should_stop=checkpoint.exists).drain() == 1
    job = job_of(run)
    assert (job.state, job.max_attempts) == (JobState.PENDING, 4)
    told()
    cut: list[bool] = []

    class Cut(TrainingRunner):
        def _beat(self, claim: Any, story: Any) -> bool:
            if not cut:
                cut.append(True)
                with suppress(OperationalError), connection.cursor() as cursor:
                    cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")
            return super()._beat(claim, story)

    assert Cut(name="training@test").drain() == 1
    job = job_of(run)
    # Neither is an attempt lost.
    assert (job.state, job.attempt) == (JobState.SUCCEEDED, 2)
    assert cut == [True]
    assert [row["epoch"] for row in curve(run)] == [1, 2]


@pytest.mark.parametrize(
    ("does", "code", "words"),
    [
        ({"raise": {"what": "disk", "count": 2}}, "disk_full", "Free some space"),
        ({"raise": {"what": "memory", "count": 2}}, "out_of_memory", "Out of memory"),
        ({"raise": {"what": "unexpected", "count": 2}}, "training_failed", "log has the reason"),
        ({"nan": True}, "non_finite_loss", ""),
    ],
)
def test_a_fault_ends_the_run_by_its_name_and_the_live_model_stays(
    snapshot: TrainingSnapshot, told: Fault, does: dict[str, Any], code: str, words: str
) -> None:
    told(**does)
    run, before = run_of(snapshot), live_model()
    runner().drain()
    job = job_of(run)
    assert (job.state, job.error_code) == (JobState.FAILED, code), job.error_detail
    assert words in job.error_detail
    assert live() == before
    if code == "training_failed":
        run.refresh_from_db()
        assert "KeyError" in run.log_tail


def test_a_training_that_is_killed_ends_by_name_when_no_attempt_is_left(
    snapshot: TrainingSnapshot, told: Fault
) -> None:
    told(die=1)
    run = run_of(snapshot)
    # What may pass is tried again before that: tests/cases/test_training.py.
    assert training.fault_of(None, -signal.SIGKILL, "").transient
    Job.objects.filter(pk=run.pk).update(max_attempts=1)
    runner().drain()
    job = job_of(run)
    assert (job.state, job.error_code) == (JobState.FAILED, "training_killed")


@pytest.mark.parametrize("what", ["changed", "vanished"])
def test_a_picture_that_is_not_what_the_snapshot_holds_ends_the_run_before_it_starts(
    snapshot: TrainingSnapshot, data: Path, what: str
) -> None:
    picture = data / "benign" / "benign (3).png"
    known = hashlib.sha256(picture.read_bytes()).hexdigest()
    picture.write_bytes(picture.read_bytes() + b"x") if what == "changed" else picture.unlink()
    run = run_of(snapshot)
    runner().drain()
    job = job_of(run)
    assert (job.state, job.error_code) == (JobState.FAILED, "data_changed")
    # By its hash: a file's name may be a patient's. The log, for those who train, has the name.
    run.refresh_from_db()
    told = job.error_detail + "".join(job.events.values_list("reason", flat=True))
    assert known[:12] in job.error_detail
    assert "benign (3)" not in told
    assert "benign (3).png" in run.log_tail


def test_other_data_that_cannot_be_used_is_not_told_by_the_names_of_its_files() -> None:
    error = {"code": "dataset", "message": "no readable pictures in x (DOE JANE.png: broken)"}
    fault = training.fault_of(error, 2, "")
    assert (fault.code, fault.transient) == ("data_unusable", False)
    assert "DOE" not in fault.detail


@pytest.mark.parametrize(
    ("keep", "code"),
    [({"benign": 8}, "one_class"), ({"benign": 8, "malignant": 2}, "too_few_cases")],
)
def test_too_little_data_ends_the_run_by_name(
    state: Path, data: Path, keep: dict[str, int], code: str
) -> None:
    for label in ("benign", "malignant"):
        for number, path in enumerate(sorted((data / label).iterdir())):
            if number >= keep.get(label, 0):
                path.unlink()
    run = run_of(imported(data))
    runner().drain()
    assert (job_of(run).state, job_of(run).error_code) == (JobState.FAILED, code)


def test_without_its_document_or_its_first_weights_a_run_does_not_start(
    snapshot: TrainingSnapshot, state: Path
) -> None:
    run = run_of(snapshot, init="file:gone.safetensors")
    runner().drain()
    assert job_of(run).error_code == "init_missing"
    run = run_of(snapshot)
    uploads().delete(snapshot.storage_name)
    runner().drain()
    assert job_of(run).error_code == "storage_damaged"
