"""The faults: each strikes a running service and returns in a few words what it hit.

`Missed` where there was nothing to strike in time, `Impossible` where this machine does not allow
it: both are told at the end, and a kind that never struck makes the run fail, unless impossible.
`Unanswered` where the service did not do what must follow: that makes the run fail too.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
from redis.exceptions import RedisError

from bcweb.embedded import linux
from bench.chaos.client import Books
from bench.chaos.pictures import picture
from bench.chaos.queues import messages, rewrite
from bench.chaos.rig import STOP_S, Rig, RigError, kill
from bench.chaos.service import WORKERS

# How long a fault looks for something to strike, and waits for what it struck to follow.
LOOK_S = 60.0
FOLLOW_S = 120.0
# A worker that is told to stop has so long beyond what its batch may still take; a whole service
# has what it promises (`bcweb.embedded.supervisor`).
WORKER_STOP_S = STOP_S + 5.0
SERVICE_STOP_S = 10.0
# Bytes; the pictures of clients are far smaller.
LARGE = 200_000
# What a worker logs of an answer that came too late.
FENCED_OUT = "job_fenced_out"
LATE_S = 10.0
FREEZES = 6


class Missed(Exception):
    """There was nothing to strike."""


class Unanswered(Exception):
    """It struck, and what had to follow did not, in a long time."""


class Impossible(Exception):
    """This machine does not allow it."""


class Striker:
    """Strikes one fault after the other. `books` gets the uploads it cuts off."""

    def __init__(self, rig: Rig, books: Books) -> None:
        self.rig = rig
        self.books = books
        # Patients of uploads that were cut off: nothing of them may be there.
        self.cut_off: list[str] = []

    def strike(self, kind: str, seed: int) -> str:
        """Do it, with choices of its own from `seed`. Raises `Missed`, `Unanswered` or
        `Impossible`.

        What it strikes may still be down from the fault before: it is tried again for a while.
        """
        deadline = time.monotonic() + self.rig.limit(LOOK_S)
        while True:
            try:
                return FAULTS[kind](self, random.Random(seed))
            except RigError as error:
                raise Missed(str(error)) from error
            except (subprocess.TimeoutExpired, psycopg.Error) as error:
                # What is asked has long been tried again: it does not come back.
                raise Unanswered(f"{type(error).__name__}: {error}".strip()) from error
            except (OSError, RedisError) as error:
                if time.monotonic() > deadline:
                    raise Missed(f"{type(error).__name__}: {error}") from error
                time.sleep(0.2)

    def _follow(self, what: str, probe: Callable[[], bool]) -> None:
        """Wait for what must follow. Raises `Unanswered`."""
        try:
            self.rig.wait(probe, seconds=FOLLOW_S, what=what)
        except RigError as error:
            raise Unanswered(str(error)) from error

    # Workers and engines

    def _busy(self) -> int:
        return self.rig.wait(self.rig.busy_worker, seconds=LOOK_S, what="a worker with a batch")

    def worker_killed(self, _: random.Random) -> str:
        """kill -9 of an inference worker in the middle of a batch."""
        worker = self._busy()
        if not kill([worker]):
            raise Missed("the worker was gone already")
        return f"worker {worker}"

    def engine_killed(self, _: random.Random) -> str:
        """kill -9 of the model's process while its worker has a batch."""

        def engines() -> list[int]:
            worker = self.rig.busy_worker()
            return self.rig.engines(worker) if worker else []

        struck = kill(self.rig.wait(engines, seconds=LOOK_S, what="an engine at work"))
        if not struck:
            raise Missed("the engine was gone already")
        return f"{struck} engine"

    def _in_a_slow_batch(self) -> int:
        """A worker that has just begun a batch which takes long."""
        with self.rig.slowed_down():
            return self.rig.wait(
                self.rig.slow_worker, seconds=LOOK_S, what="a worker with a slow batch"
            )

    def worker_frozen(self, rng: random.Random) -> str:
        """SIGSTOP past the lease; woken when others have taken over. Its answer comes too late.

        Where taking over takes so long that it has given up on its engine, no answer comes: then
        once more.
        """
        told = ""
        for _ in range(FREEZES):
            told, late = self._freeze()
            if late:
                return f"{told}, {late} late results fenced out"
        raise Missed(f"{told}, and no late result came in {FREEZES} times")

    def _freeze(self) -> tuple[str, int]:
        """Freeze a worker once; how many results of its came late."""
        worker = self._in_a_slow_batch()
        with self.rig.held_still([worker]):
            before = self.rig.logged(FENCED_OUT)
            held = self.rig.held_by(worker)
            self.rig.wait(
                lambda: not self.rig.held_by(worker),
                seconds=FOLLOW_S,
                what="leases to be taken back",
            )
        with suppress(RigError):
            self.rig.wait(
                lambda: self.rig.logged(FENCED_OUT) > before, seconds=LATE_S, what="a late result"
            )
        late = self.rig.logged(FENCED_OUT) - before
        return f"worker {worker}, {len(held)} jobs taken over", late

    def worker_told_to_stop(self, _: random.Random) -> str:
        """SIGTERM in the middle of a batch that takes longer than it may go on, as in a rolling
        deploy; it must end by itself and in time."""
        worker = self._in_a_slow_batch()
        began = time.monotonic()
        with suppress(ProcessLookupError):
            os.kill(worker, signal.SIGTERM)
        self._follow("a worker to stop", lambda: not linux.is_alive(worker))
        took, most = time.monotonic() - began, self.rig.limit(WORKER_STOP_S)
        told = f"worker {worker}, gone after {took:.1f} s"
        if took > most:
            raise Unanswered(f"{told}, not within {most:g} s")
        return told

    # Web server, beat, supervisor

    def web_killed_in_upload(self, rng: random.Random) -> str:
        """kill -9 of the web server, or of the processes that answer, while an upload streams."""
        patient = f"CUT-OFF-{rng.randrange(10**9)}"
        with socket.create_connection(("127.0.0.1", self.rig.port), self.rig.limit(5)) as upload:
            before = set(self.rig.uploads.iterdir())
            upload.sendall(half_an_upload(patient, self.rig.token()))
            self.cut_off.append(patient)
            self.rig.wait(
                lambda: self._large_upload(before), seconds=LOOK_S, what="the upload to stream in"
            )
            if rng.random() < 0.5:
                victims, what = self.rig.web_workers(), "its workers"
            else:
                victims, what = [self.rig.web_master() or 0], "its first process"
            if not kill([pid for pid in victims if pid]):
                raise Missed("the web server was gone already")
        return what

    def _large_upload(self, before: set[Path]) -> bool:
        """Whether a file larger than any client sends is on its way in."""
        for path in set(self.rig.uploads.iterdir()) - before:
            with suppress(FileNotFoundError):
                if path.stat().st_size > LARGE:
                    return True
        return False

    def beat_killed(self, _: random.Random) -> str:
        """kill -9 of the scheduler."""
        victims = self.rig.wait(
            lambda: self.rig.processes("beat"), seconds=LOOK_S, what="the scheduler"
        )
        if not kill(victims):
            raise Missed("it was gone already")
        return f"scheduler {victims[0]}"

    def supervisor_killed(self, _: random.Random) -> str:
        """kill -9 of the supervisor; a service manager starts it again."""
        code = self.rig.restart(signal.SIGKILL)
        return f"exit code {code}, started again"

    def deploy(self, _: random.Random) -> str:
        """SIGTERM to everything in the middle of a slow batch, then a start anew. All must end in
        order, in time, and by itself."""
        with suppress(RigError):
            self._in_a_slow_batch()
        began = time.monotonic()
        code = self.rig.end_supervisor(signal.SIGTERM)
        took, most = time.monotonic() - began, self.rig.limit(SERVICE_STOP_S)
        killed = self.rig.says("did not stop in time: killed")
        self.rig.restarts += 1
        self.rig.start()
        told = f"stopped in {took:.1f} s with exit code {code}"
        if killed:
            raise Unanswered(f"{told}, and something had to be killed")
        if code or took > most:
            raise Unanswered(f"{told}: it must be 0, within {most:g} s")
        return told

    # Valkey and Postgres

    def valkey_flushed(self, _: random.Random) -> str:
        """FLUSHALL: every message and every binding of a queue is gone."""
        with self._broker() as broker:
            keys = broker.dbsize()
            broker.flushall()
        return f"{keys} keys"

    def valkey_stopped(self, rng: random.Random) -> str:
        """Valkey is down for some seconds: killed whenever it comes up."""
        until = time.monotonic() + rng.uniform(1.5, 3) * min(2.0, self.rig.pace)
        killed = 0
        while time.monotonic() < until:
            killed += kill([pid for pid in [self.rig.valkey()] if pid])
            time.sleep(0.05)
        if not killed:
            raise Missed("it did not run")
        return f"killed {killed} times"

    def valkey_hung(self, rng: random.Random) -> str:
        """Valkey takes connections and does not answer."""
        pid = self.rig.wait(self.rig.valkey, seconds=LOOK_S, what="Valkey")
        seconds = rng.uniform(3, 6)
        with self.rig.held_still([pid]):
            time.sleep(seconds)
        return f"{seconds:.1f} s"

    def valkey_emptied(self, _: random.Random) -> str:
        """Valkey ends and comes back without its data."""
        pid = self.rig.wait(self.rig.valkey, seconds=LOOK_S, what="Valkey")
        shutil.rmtree(self.rig.state / "valkey" / "appendonlydir", ignore_errors=True)
        if not kill([pid]):
            raise Missed("it was gone already")
        return "restarted empty"

    def postgres_restarted(self, _: random.Random) -> str:
        """An immediate shutdown: every connection breaks, and the log is replayed."""
        pid = self.rig.wait(self.rig.postgres, seconds=LOOK_S, what="Postgres")
        os.kill(pid, signal.SIGQUIT)
        self._follow("Postgres to stop", lambda: not linux.is_alive(pid))
        self.rig.sql("SELECT 1")
        return f"server {pid}"

    # Messages

    def _broker(self) -> Any:
        return self.rig.redis()

    def _tamper(self, change: Callable[[list[bytes]], list[bytes]], least: int) -> str:
        """Let messages pile up before still workers, and change them."""

        def piled_up() -> bool:
            with suppress(RedisError):
                return sum(map(len, messages(self._broker()).values())) >= least
            return False

        with self.rig.held_still(self.rig.workers()):
            self.rig.wait(piled_up, seconds=LOOK_S, what="messages")
            before = after = 0
            broker = self._broker()
            for key, waiting in messages(broker).items():
                changed = change(waiting)
                rewrite(broker, key, changed)
                before, after = before + len(waiting), after + len(changed)
        return f"{before} messages, {after} afterwards"

    def messages_repeated(self, rng: random.Random) -> str:
        """Each message three times."""
        return self._tamper(lambda waiting: [m for m in waiting for _ in range(3)], 1)

    def messages_shuffled(self, rng: random.Random) -> str:
        """In another order."""
        return self._tamper(lambda waiting: rng.sample(waiting, len(waiting)), 2)

    def messages_dropped(self, rng: random.Random) -> str:
        """All gone."""
        return self._tamper(lambda waiting: [], 1)

    # Disks and clocks

    def disk_full(self, _: random.Random) -> str:
        """No room for uploads on their way in, until somebody ran into it."""
        return self._full("spool-full")

    def storage_full(self, _: random.Random) -> str:
        """No room where uploaded bytes are kept."""
        return self._full("store-full")

    def _full(self, name: str) -> str:
        flag, met = self.rig.flags / name, self.rig.flags / f"{name}.met"
        met.unlink(missing_ok=True)
        flag.touch()
        try:
            self.rig.wait(
                lambda: met.exists() and met.stat().st_size >= 2, seconds=LOOK_S, what="an upload"
            )
        finally:
            flag.unlink()
        return f"{met.stat().st_size} writes refused"

    def clock_of_web_stepped(self, rng: random.Random) -> str:
        """What the web server takes for now is hours off: its messages bear wrong times."""
        return self._step("web", rng.choice((-3, 3)))

    def clock_of_beat_stepped(self, rng: random.Random) -> str:
        """Beat sees a time that comes only in hours, and is set right."""
        return self._step("beat", 3)

    def clock_of_worker_stepped(self, rng: random.Random) -> str:
        """A worker takes fresh messages for stale ones, or the other way round."""
        return self._step(rng.choice(WORKERS), rng.choice((-3, 3)))

    def _step(self, service: str, hours: int) -> str:
        """A process' wall clock jumps by hours and comes back after some seconds."""
        if self.rig.clocks_fault:
            raise Impossible(self.rig.clocks_fault)
        self.rig.step_clock(service, hours * 3600)
        time.sleep(2.5 * min(2.0, self.rig.pace))
        self.rig.step_clock(service, 0)
        return f"{service} by {hours:+d} h"


def half_an_upload(patient: str, token: str) -> bytes:
    """A request that announces twice the bytes it holds: its second half never comes."""
    boundary = "chaos"
    data = picture(patient)
    # More than the 256 KiB in which bodies are read.
    data *= 4 * LARGE // len(data) + 1
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="patient_id"\r\n\r\n{patient}\r\n'
        f"--{boundary}\r\nContent-Disposition: form-data; name=file; filename=a.jpg\r\n"
        "Content-Type: image/jpeg\r\n\r\n"
    ).encode()
    lines = (
        "POST /api/v1/submissions/ HTTP/1.1",
        "Host: localhost",
        f"Authorization: Bearer {token}",
        f"Idempotency-Key: {patient}",
        f"Content-Type: multipart/form-data; boundary={boundary}",
        f"Content-Length: {2 * (len(head) + len(data))}",
    )
    return "\r\n".join((*lines, "", "")).encode() + head + data


FAULTS: dict[str, Callable[[Striker, random.Random], str]] = {
    "worker killed": Striker.worker_killed,
    "engine killed": Striker.engine_killed,
    "worker frozen past its lease": Striker.worker_frozen,
    "worker told to stop": Striker.worker_told_to_stop,
    "web killed in an upload": Striker.web_killed_in_upload,
    "beat killed": Striker.beat_killed,
    "supervisor killed": Striker.supervisor_killed,
    "deploy": Striker.deploy,
    "valkey flushed": Striker.valkey_flushed,
    "valkey stopped": Striker.valkey_stopped,
    "valkey hung": Striker.valkey_hung,
    "valkey restarted empty": Striker.valkey_emptied,
    "postgres restarted": Striker.postgres_restarted,
    "messages repeated": Striker.messages_repeated,
    "messages shuffled": Striker.messages_shuffled,
    "messages dropped": Striker.messages_dropped,
    "disk full": Striker.disk_full,
    "storage full": Striker.storage_full,
    "clock of web stepped": Striker.clock_of_web_stepped,
    "clock of beat stepped": Striker.clock_of_beat_stepped,
    "clock of a worker stepped": Striker.clock_of_worker_stepped,
}
