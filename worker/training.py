"""The loop of a training worker: claim a run, have a child process train, keep its lease, finish.

The child is `python -m ml.train` (worker.training_child), and after it, where the run has a plan,
`ml.gate` (worker.gate_child); this process loads no torch. What the child tells is stored with each
heartbeat. A worker that dies takes its child with it; the next attempt goes on from the checkpoint
in the run's folder.
"""

from __future__ import annotations

import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from uuid import UUID

import structlog
from django.conf import settings
from django.db import InterfaceError, OperationalError, connection
from structlog.contextvars import bound_contextvars

from cases.access import Actor, ActorKind
from cases.selectors.training import training_run_work, training_runs_ended
from cases.services.taken_back import PicturesTakenBackError
from cases.services.training_work import (
    TrainingClaim,
    training_claim,
    training_fail,
    training_heartbeat,
    training_release,
    training_succeed,
)
from cases.states import JobState
from cases.storage import StorageUnavailable, read_bytes
from worker import judging
from worker import training_faults as faults
from worker.model_store import local_model
from worker.training_faults import CannotGoOnError, Fault, fault_of
from worker.training_story import Story, Timer, history_rows

if TYPE_CHECKING:
    from cases.models import TrainingRun

log = structlog.get_logger(__name__)

CHILD_MODULE = "worker.training_child"
# Below everything that somebody waits for.
NICE = 15
TICK_S = 0.1
HEARTBEAT_S = 2.0
# A step takes seconds at most; then it is ended the hard way. A stopping worker has less time.
STOP_S = 20.0
STOP_NOW_S = 2.0


def training_folder() -> Path:
    return Path(settings.STATE_DIR) / "training"


class Child:
    """The training process, and what it says: events in order, log lines beside them."""

    def __init__(self, command: list[str], threads: int) -> None:
        names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
            cwd=Path(__file__).resolve().parent.parent,
            env={**os.environ, **dict.fromkeys(names, str(threads))},
        )
        self._said: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()
        assert self.process.stdout is not None and self.process.stderr is not None
        self._readers = [
            threading.Thread(target=self._read, args=pair, daemon=True)
            for pair in (("event", self.process.stdout), ("log", self.process.stderr))
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, kind: str, stream: IO[str]) -> None:
        with stream:
            for line in stream:
                self._said.put((kind, line))

    @property
    def is_over(self) -> bool:
        """Whether it has ended and everything it said was read."""
        return self.process.poll() is not None and not any(r.is_alive() for r in self._readers)

    def tell(self, story: Story) -> None:
        """Pass on what was said since."""
        with suppress(queue.Empty):
            while True:
                kind, line = self._said.get_nowait()
                event = _event(line) if kind == "event" else None
                if event is not None:
                    story.hear(event)
                else:
                    story.log(line)

    def stop(self, seconds: float) -> None:
        """Ask it to end between two steps, and end it when it does not."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def _event(line: str) -> dict[str, Any] | None:
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and "event" in event else None


class TrainingRunner:
    """One per worker process. ``should_stop`` is asked all the while."""

    def __init__(self, *, name: str, should_stop: Callable[[], bool] = lambda: False) -> None:
        self.actor = Actor(kind=ActorKind.WORKER, label=name)
        self.should_stop = should_stop

    def drain(self) -> int:
        """Train until nothing waits or the worker must stop. Returns how many runs were taken."""
        taken = 0
        while not self.should_stop():
            tidy()
            claim = training_claim(actor=self.actor)
            if claim is None:
                # Claiming may have called off one that left a checkpoint.
                tidy()
                break
            taken += 1
            with bound_contextvars(request_id=claim.request_id, job_id=str(claim.job_id)):
                self.process(claim)
        return taken

    def process(self, claim: TrainingClaim) -> None:
        """Do one attempt to its end, whatever that is."""
        run = training_run_work(run_id=claim.job_id)
        folder = training_folder() / str(claim.job_id)
        story = Story(Timer(_sides(run)))
        log.info("training_attempt_started", attempt=claim.attempt)
        try:
            if self._train(claim, run, folder, story):
                self._succeed(claim, run, folder, story)
        except CannotGoOnError as error:
            self._fail(claim, error.fault, story, folder)
        except StorageUnavailable:
            # What was trained stays in the run's folder: the next attempt goes on from there.
            self._fail(claim, faults.STORAGE_AWAY, story, folder)
        except OSError as error:
            if not faults.no_space(str(error)):
                raise
            self._fail(claim, faults.DISK_FULL, story, folder)

    def _train(self, claim: TrainingClaim, run: TrainingRun, folder: Path, story: Story) -> bool:
        """Train, and judge what came of it where the run has a plan; False where there is no more
        to do. Raises ``CannotGoOnError`` and ``OSError``."""
        judging.check_plan(run)
        command = _command(run, folder)
        if run.plan is None:
            return self._have_done(claim, run, command, story, fault_of)
        # What would keep the gate from judging is told now, not after hours of training.
        check = judging.judge_command(run, folder, nice=NICE, judges=False)
        if not self._have_done(claim, run, check, story, faults.gate_fault_of):
            return False
        story.begin("preparing")
        if not self._have_done(claim, run, command, story, fault_of):
            return False
        story.begin("judging")
        judge = judging.judge_command(run, folder, nice=NICE, judges=True)
        return self._have_done(claim, run, judge, story, faults.gate_fault_of)

    def _have_done(
        self,
        claim: TrainingClaim,
        run: TrainingRun,
        command: list[str],
        story: Story,
        fault: Callable[[dict[str, Any] | None, int, str], Fault],
    ) -> bool:
        """Have a child process do something to its end; False where there is no more to do.

        Raises ``CannotGoOnError`` with the ``fault`` by which it ended.
        """
        child = Child(command, _threads())
        try:
            if not self._follow(claim, run, child, story):
                return False
        finally:
            child.stop(0)
        code = child.process.returncode
        if story.error is None and story.is_done and code == 0:
            return True
        raise CannotGoOnError(fault(story.error, code, story.log_tail))

    def _follow(self, claim: TrainingClaim, run: TrainingRun, child: Child, story: Story) -> bool:
        """Keep the lease until the child has ended by itself; False where there is no more to do:
        the run was cancelled, taken away or given back."""
        beat_at = 0.0
        while not child.is_over:
            if self.should_stop():
                child.stop(STOP_NOW_S)
                training_release(actor=self.actor, claim=claim, reason="the worker is stopping")
                log.info("training_released", attempt=claim.attempt)
                return False
            child.tell(story)
            if story.data_is_other(whole=run.limit_images is None):
                child.stop(STOP_S)
                story.error = {"code": "data_changed", "message": faults.OTHER_PICTURES}
                break
            if time.monotonic() >= beat_at:
                beat_at = time.monotonic() + min(HEARTBEAT_S, settings.BCWEB_LEASE_SECONDS / 3)
                if not self._beat(claim, story):
                    child.stop(STOP_S)
                    log.info("training_fenced_out", attempt=claim.attempt)
                    tidy()
                    return False
            time.sleep(TICK_S)
        child.tell(story)
        return True

    def _beat(self, claim: TrainingClaim, story: Story) -> bool:
        """Extend the lease and store the news; they wait while the database restarts.

        Raises ``CannotGoOnError`` where a picture was taken back.
        """
        try:
            held = training_heartbeat(claim=claim, news=story.take())
        except PicturesTakenBackError as error:
            raise CannotGoOnError(Fault(error.code, error.detail)) from error
        except (OperationalError, InterfaceError) as error:
            # If the lease runs out meanwhile, the next beat finds that the run is not held.
            log.warning("training_heartbeat_failed", error=type(error).__name__)
            connection.close_if_unusable_or_obsolete()
            return True
        story.took()
        return held

    def _succeed(self, claim: TrainingClaim, run: TrainingRun, folder: Path, story: Story) -> None:
        from ml import registry
        from ml.errors import ModelFileError

        path = folder / "out" / "model.safetensors"
        try:
            card = registry.verify_file(path)[0]
            weights = path.read_bytes()
            report = judging.read_report(folder) if run.plan is not None else None
        except (ModelFileError, OSError) as error:
            log.error("training_output_invalid", error=str(error))
            self._fail(claim, faults.OUTPUT_INVALID, story, folder)
            return
        if not self._beat(claim, story):
            tidy()
            return
        news = story.take()
        news.epochs = history_rows(folder / "out" / "history.csv")
        news.log_tail = story.log_tail
        try:
            model = training_succeed(
                actor=self.actor, claim=claim, weights=weights, card=card, news=news, report=report
            )
        except PicturesTakenBackError as error:
            raise CannotGoOnError(Fault(error.code, error.detail)) from error
        log.info(
            "training_succeeded" if model else "training_fenced_out",
            attempt=claim.attempt,
            model=model.version if model else None,
        )
        tidy()

    def _fail(self, claim: TrainingClaim, fault: Fault, story: Story, folder: Path) -> None:
        news = story.take()
        with suppress(OSError, ValueError, KeyError):
            # A file cut off by a full disk adds nothing to what the events have told.
            news.epochs = [*history_rows(folder / "out" / "history.csv"), *news.epochs]
        news.log_tail = story.log_tail
        state = training_fail(
            actor=self.actor,
            claim=claim,
            code=fault.code,
            detail=fault.detail,
            transient=fault.transient,
            news=news,
        )
        log.warning("training_attempt_failed", code=fault.code, attempt=claim.attempt, state=state)
        if state != JobState.PENDING:
            tidy()


def tidy() -> None:
    """Remove the folders of runs that have ended: their checkpoints are large."""
    folders: dict[UUID, Path] = {}
    with suppress(FileNotFoundError):
        for folder in training_folder().iterdir():
            with suppress(ValueError):
                folders[UUID(folder.name)] = folder
    for run_id in training_runs_ended(run_ids=folders):
        shutil.rmtree(folders[run_id], ignore_errors=True)


def _threads() -> int:
    return settings.BCWEB_THREADS or max(1, len(os.sched_getaffinity(0)) // 2)


def _sides(run: TrainingRun) -> list[int]:
    """Input side of each epoch of the run."""
    from ml.config import RECIPES

    config = RECIPES[run.recipe].changed(epochs=run.epochs, size=run.size)  # type: ignore[index]
    return [config.size_at(epoch) for epoch in range(config.epochs)]


def _command(run: TrainingRun, folder: Path) -> list[str]:
    """The child's command; writes the snapshot's document into the run's folder.

    Raises ``CannotGoOnError`` and ``OSError``.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    document, data = folder / "snapshot.json", folder / f"snapshot-{run.snapshot_id[:12]}"
    try:
        content = read_bytes(run.snapshot.storage_name)
    except OSError as error:
        raise CannotGoOnError(faults.STORAGE_DAMAGED) from error
    document.write_bytes(content)
    options = {
        "parent": os.getpid(),
        "nice": NICE,
        "recipe": run.recipe,
        "document": str(document),
        "root": run.snapshot.data_root,
        "data": str(data),
        "weights": str(folder / "out" / "model.safetensors"),
        "limit_images": run.limit_images,
        "seed": run.seed,
    }
    given = {
        "--data": data,
        "--out": folder / "out",
        "--recipe": run.recipe,
        "--init": _initial(run),
        "--seed": run.seed,
        "--epochs": run.epochs,
        "--size": run.size,
        "--limit-images": run.limit_images,
        "--threads": _threads(),
        "--version": f"resnet50-{run.recipe}-{run.pk.hex[:8]}",
        "--events": "-",
    }
    words = [str(w) for name, v in given.items() if v is not None for w in (name, v)]
    return [sys.executable, "-m", CHILD_MODULE, json.dumps(options), *words, "--resume"]


def _initial(run: TrainingRun) -> str:
    """What `ml.train --init` takes."""
    if run.init_model is not None:
        try:
            return str(local_model(run.init_model))
        except OSError as error:
            raise CannotGoOnError(faults.START_UNUSABLE) from error
    if run.init.startswith("file:"):
        path = Path(settings.STATE_DIR) / "initial" / run.init.removeprefix("file:")
        if not path.is_file():
            raise CannotGoOnError(faults.START_MISSING)
        return str(path)
    return run.init
