"""What a worker or beat process sets up once: its pulse, and for inference its engine."""

from __future__ import annotations

import os
import socket
from typing import Any
from uuid import UUID

import structlog
from celery.signals import (
    beat_init,
    celeryd_init,
    worker_ready,
    worker_shutdown,
    worker_shutting_down,
)
from celery.worker import state as worker_state
from django.db import InterfaceError, OperationalError, close_old_connections

from cases import queue
from cases.errors import Overloaded
from cases.services.jobs import live_model
from cases.vocabulary import JobKind
from worker.engine import EngineFaultError
from worker.freezing import FreezeRunner
from worker.pulse import Pulse
from worker.runner import Runner, WorkerStoppingError
from worker.sweeping import own_sweep_seconds, sweep_unasked
from worker.training import TrainingRunner
from worker.webhooks import Deliverer

log = structlog.get_logger(__name__)

_runner: Runner | None = None
_pulse: Pulse | None = None


def stopping() -> bool:
    """Whether this worker was told to end (`should_stop` becomes the exit code, which may be 0)."""
    told = (worker_state.should_stop, worker_state.should_terminate)
    return any(value is not None and value is not False for value in told)


def runner() -> Runner:
    """The runner of this process, made at first use."""
    global _runner
    if _runner is None:
        name = f"inference@{socket.gethostname()}:{os.getpid()}"
        _runner = Runner(name=name, should_stop=stopping)
    return _runner


def _start_pulse(kind: str, *, ready: bool) -> Pulse:
    global _pulse
    _pulse = Pulse(name=f"{kind}@{socket.gethostname()}:{os.getpid()}", kind=kind, ready=ready)
    _pulse.start()
    return _pulse


@celeryd_init.connect
def start_engine_early(options: dict[str, Any], **_: Any) -> None:
    """Let the engine import torch while Celery connects."""
    queues = options.get("queues") or ()
    names = queues.split(",") if isinstance(queues, str) else queues
    if "inference" in names:
        runner().engine.start()


# How long the event loop waits at most before it looks whether the worker was told to end: a
# signal alone does not end its wait (PEP 475), and an idle worker would be killed instead.
LOOK_S = 1.0
# How often an inference worker looks for work that nobody rang for: where its clock is ahead it
# takes every ring for a stale one.
LOOK_FOR_WORK_S = 10.0


def _look() -> None:
    """Nothing to do: that the timer fires ends the wait."""


@worker_ready.connect
def announce_worker(sender: Any, **_: Any) -> None:
    """A worker on the inference queue is ready once its engine has loaded the live model."""
    sender.timer.call_repeatedly(LOOK_S, _look)
    sender.timer.call_repeatedly(own_sweep_seconds(), sweep_unasked)
    queues = set(sender.app.amqp.queues.consume_from)
    if "inference" not in queues:
        kind = next((name for name in ("webhooks", "training") if name in queues), "maintenance")
        _start_pulse(kind, ready=True)
        return
    _start_pulse("inference", ready=False)
    ensure_ready()
    sender.timer.call_repeatedly(LOOK_FOR_WORK_S, look_for_work)


def look_for_work() -> None:
    """Take what waits, rung for or not. Between tasks: Celery does not mind the connection then."""
    close_old_connections()
    try:
        work()
    except (OperationalError, InterfaceError) as error:
        # Perhaps restarting; the next look finds it.
        log.warning("look_failed", error=type(error.__cause__ or error).__name__)
    finally:
        close_old_connections()


def work() -> int:
    """Take what waits. A worker whose model does not load takes nothing and is not ready."""
    queue.bell_answer("inference")
    try:
        taken = runner().drain()
        if runner().more_waits:
            # Behind the messages that are there by now.
            queue.ring(kind=JobKind.INFERENCE, job_ids=[UUID(int=0)], sure=True)
    except WorkerStoppingError:
        return 0
    except (Overloaded, EngineFaultError) as error:
        log.error("engine_not_ready", error=str(error))
        if _pulse is not None:
            _pulse.mark(ready=False)
        return 0
    if _pulse is not None:
        _tell_model(_pulse)
    return taken


def _tell_model(pulse: Pulse) -> None:
    """Tell at once that the worker is ready again, or reads with another model than before."""
    reading = runner().reading
    told = {} if reading is None else {"model": reading.version, "sha256": reading.sha256}
    if not pulse.ready or any(pulse.details.get(name) != value for name, value in told.items()):
        pulse.mark(ready=True, **told)


def train() -> int:
    """Do the trainings that wait, in this worker."""
    name = f"training@{socket.gethostname()}:{os.getpid()}"
    return TrainingRunner(name=name, should_stop=stopping).drain()


def freeze() -> int:
    """Make the snapshots of accepted images that wait, in this worker."""
    name = f"training@{socket.gethostname()}:{os.getpid()}"
    return FreezeRunner(name=name, should_stop=stopping).drain()


def deliver() -> int:
    """Send what is due to webhooks, in this worker, for a while."""
    queue.bell_answer(queue.DELIVER_QUEUE)
    name = f"webhooks@{socket.gethostname()}:{os.getpid()}"
    deliverer = Deliverer(name=name, should_stop=stopping)
    made = deliverer.drain()
    if deliverer.more_waits:
        # Behind the messages that are there by now.
        queue.ring_deliverer(sure=True)
    return made


def ensure_ready() -> None:
    """Load the live model where this is an inference worker that could not do so before."""
    pulse = _pulse
    if pulse is None or pulse.kind != "inference" or pulse.ready:
        return
    try:
        model = live_model()
        engine = runner().warm_up(model)
    except WorkerStoppingError:
        return
    except (Overloaded, EngineFaultError) as error:
        # The worker stays: it serves as soon as a model that loads is live.
        log.error("engine_not_ready", error=str(error))
        return
    pulse.mark(ready=True, engine=engine, model=model.version, sha256=model.sha256)
    log.info("inference_ready", engine=engine, model=model.version)


@beat_init.connect
def announce_beat(**_: Any) -> None:
    _start_pulse("beat", ready=True)


@worker_shutting_down.connect
def note_shutdown(sig: str, how: str, **_: Any) -> None:
    log.info("worker_stopping", signal=sig, how=how)


@worker_shutdown.connect
def farewell(**_: Any) -> None:
    if _pulse is not None:
        _pulse.stop()
    if _runner is not None:
        _runner.engine.close()
