"""Decoder children: started on demand, kept, limited, killed and replaced. Thread-safe.

One pool per process, keyed by its id, so that a forked web worker makes its own. A child that
crashes, hangs or outgrows its memory costs the file it was given (`ImageCorrupt`), never this
process; the next file gets a fresh child. `Overloaded` means that no decoder was free in time or
none could be started, which is never the file's fault.
"""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import json
import logging
import os
import queue
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cases.errors import ERRORS, ImageCorrupt, Overloaded
from cases.intake.checked import Limits
from cases.intake.wire import HEADER

log = logging.getLogger(__name__)

DECODER = ("-m", "cases.intake.decoder")
SIZE = int(os.environ.get("BCWEB_DECODERS", "2"))
"""Children per process."""
JOBS_PER_CHILD = 2_000
BYTES_PER_CHILD = 512 * 2**20
"""A child that has served so many files, or keeps so much memory, is replaced."""
WAIT_S = 20.0
"""How long a file waits for a free child."""
START_S = 30.0
_MAX_JSON = 4 * 2**20
_ROOT = Path(__file__).resolve().parents[2]
_TOO_LONG = "The image takes too long to decode and may be damaged. Export it again."
_TOO_MUCH = "The image needs too much memory to decode and may be damaged. Export it again."


class _ChildDied(Exception):
    """The child ended, or broke the protocol."""


class _ChildHung(Exception):
    """The child did not answer in time."""


class _Child:
    """One decoder process and our end of its socket."""

    def __init__(self, command: Sequence[str]) -> None:
        ours, theirs = socket.socketpair()
        self.channel = ours
        self.jobs = 0
        self.resident = 0
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, *command, str(theirs.fileno()), str(os.getpid())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                cwd=_ROOT,
                env=_environment(),
                # Ctrl-C and signals to the group of our server end it in order, and it ends us.
                start_new_session=True,
            )
        try:
            self._answer(time.monotonic() + START_S)
        except (_ChildDied, _ChildHung):
            self.kill()
            raise

    def ask(
        self, request: dict[str, Any], wall_s: float, max_payload: int
    ) -> tuple[dict[str, Any], bytes]:
        """Send a request and wait for its answer; `_ChildDied` or `_ChildHung` without one."""
        deadline = time.monotonic() + wall_s
        text = json.dumps(request).encode()
        self.jobs += 1
        self.channel.settimeout(wall_s)
        try:
            self.channel.sendall(len(text).to_bytes(4, "big") + text)
        except OSError as error:
            raise _ChildDied from error
        answer, payload = self._answer(deadline, max_payload)
        self.resident = int(answer.get("rss") or 0)
        return answer, payload

    def kill(self) -> int:
        """End the process at once; its exit code."""
        self.channel.close()
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        return self.process.wait()

    @property
    def usable(self) -> bool:
        """Alive, and not worn out."""
        return (
            self.process.poll() is None
            and self.jobs < JOBS_PER_CHILD
            and self.resident < BYTES_PER_CHILD
        )

    def abandon(self) -> None:
        """After a fork: close our copy of the socket and leave the parent's child alone."""
        self.channel.close()
        self.process.returncode = 0

    def _answer(self, deadline: float, max_payload: int = 0) -> tuple[dict[str, Any], bytes]:
        length, extra = HEADER.unpack(self._exactly(HEADER.size, deadline))
        if length > _MAX_JSON or extra > max_payload:
            raise _ChildDied  # a child that breaks the protocol is as good as dead
        try:
            answer = json.loads(bytes(self._exactly(length, deadline)))
        except ValueError as error:
            raise _ChildDied from error
        if not isinstance(answer, dict):
            raise _ChildDied
        return answer, bytes(self._exactly(extra, deadline)) if extra else b""

    def _exactly(self, count: int, deadline: float) -> bytearray:
        data = bytearray(count)
        view, at = memoryview(data), 0
        while at < count:
            left = deadline - time.monotonic()
            if left <= 0:
                raise _ChildHung
            self.channel.settimeout(left)
            try:
                got = self.channel.recv_into(view[at:])
            except TimeoutError as error:
                raise _ChildHung from error
            except OSError as error:
                raise _ChildDied from error
            if not got:
                raise _ChildDied
            at += got
        return data


class _Starter(threading.Thread):
    """The thread that starts all children of a pool, and lives as long as the process.

    A child asks the kernel to die with its parent, and the kernel means the thread that started
    it: a request thread would take its child along when it ends.
    """

    def __init__(self, command: Sequence[str]) -> None:
        super().__init__(name="decoder-starter", daemon=True)
        self._command = tuple(command)
        self._wanted: queue.SimpleQueue[queue.SimpleQueue[_Child | BaseException]]
        self._wanted = queue.SimpleQueue()
        self.start()

    def run(self) -> None:
        while True:
            reply = self._wanted.get()
            try:
                reply.put(_Child(self._command))
            except BaseException as error:  # noqa: BLE001 - handed to the thread that asked
                reply.put(error)

    def child(self) -> _Child:
        """A started child; raises what starting it raised."""
        reply: queue.SimpleQueue[_Child | BaseException] = queue.SimpleQueue()
        self._wanted.put(reply)
        result = reply.get()
        if isinstance(result, BaseException):
            raise result
        return result


class Pool:
    """At most `size` decoder children, shared by the threads of this process."""

    def __init__(
        self, size: int = SIZE, command: Sequence[str] = DECODER, wait_s: float = WAIT_S
    ) -> None:
        self._slots = threading.BoundedSemaphore(size)
        self._lock = threading.Lock()
        self._idle: list[_Child] = []
        self._all: set[_Child] = set()
        self._wait_s = wait_s
        self._starter = _Starter(command)

    def run(
        self, operation: str, path: str | os.PathLike[str], limits: Limits, **extra: Any
    ) -> tuple[dict[str, Any], bytes]:
        """Have `operation` done on the file at `path`: its result and its bytes.

        Raises the `UserFacingError` that the child answers, `ImageCorrupt` when the file brings
        the child down, hangs it or needs too much memory, `Overloaded` when no child could be had.
        """
        request = {
            "op": operation,
            "path": os.fspath(path),
            "limits": dataclasses.asdict(limits),
            **extra,
        }
        if not self._slots.acquire(timeout=self._wait_s):
            raise Overloaded(retry_after=5)
        try:
            return self._run(request, limits)
        finally:
            self._slots.release()

    def warm(self, count: int = 1) -> None:
        """Start children ahead of the first file (starting one takes about half a second)."""
        for _ in range(count):
            child = self._start()
            self._give_back(child)

    def close(self) -> None:
        """End all children. The pool can be used again."""
        with self._lock:
            children, self._all, self._idle = self._all, set(), []
        for child in children:
            child.kill()

    def abandon(self) -> None:
        """Forget the children of the process this one was forked from."""
        for child in self._all:
            child.abandon()

    def pids(self) -> list[int]:
        """Process ids of the living children."""
        with self._lock:
            return [child.process.pid for child in self._all]

    def _run(self, request: dict[str, Any], limits: Limits) -> tuple[dict[str, Any], bytes]:
        # A frame as PNG is hardly larger than its samples; the rest is for headers.
        max_payload = limits.max_pixels * 4 + 2**20
        for last_try in (False, True):
            child = self._take()
            try:
                answer, payload = child.ask(request, limits.wall_s, max_payload)
            except _ChildHung:
                log.warning("decoder_hung op=%s pid=%d", request["op"], child.process.pid)
                self._drop(child)
                raise ImageCorrupt(_TOO_LONG) from None
            except _ChildDied:
                code = self._drop(child)
                log.warning("decoder_died op=%s exit=%d", request["op"], code)
                # Once more in a fresh child: somebody else may have killed this one.
                if last_try or _out_of_time(code):
                    raise ImageCorrupt from None
                continue
            except BaseException:
                self._drop(child)  # interrupted in the middle of an answer
                raise
            return self._judge(child, request, answer, payload)
        raise ImageCorrupt

    def _judge(
        self, child: _Child, request: dict[str, Any], answer: dict[str, Any], payload: bytes
    ) -> tuple[dict[str, Any], bytes]:
        fault, at = answer.get("fault"), str(answer.get("at"))[:80]
        if fault == "memory":
            log.warning("decoder_out_of_memory op=%s at=%s", request["op"], at)
            self._drop(child)
            raise ImageCorrupt(_TOO_MUCH)
        self._give_back(child)
        if answer.get("ok"):
            return answer["result"], payload
        if fault:
            log.error("decoder_fault op=%s error=%s at=%s", request["op"], str(fault)[:40], at)
            raise ImageCorrupt
        code = str(answer.get("code"))
        log.info("file_refused code=%s cause=%s", code[:40], str(answer.get("cause"))[:40])
        detail, errors = str(answer.get("detail"))[:300], answer.get("errors")
        raise ERRORS.get(code, ImageCorrupt)(detail, errors=errors)

    def _take(self) -> _Child:
        with self._lock:
            while self._idle:
                child = self._idle.pop()
                if child.process.poll() is None:
                    return child
                self._all.discard(child)
                child.channel.close()
        return self._start()

    def _start(self) -> _Child:
        try:
            child = self._starter.child()
        except (_ChildDied, _ChildHung, OSError) as error:
            log.error("decoder_not_started error=%s", type(error).__name__)
            raise Overloaded(retry_after=10) from error
        with self._lock:
            self._all.add(child)
        return child

    def _give_back(self, child: _Child) -> None:
        if not child.usable:
            self._drop(child)
            return
        with self._lock:
            if child in self._all:  # not closed meanwhile
                self._idle.append(child)

    def _drop(self, child: _Child) -> int:
        with self._lock:
            self._all.discard(child)
        return child.kill()


def _out_of_time(exit_code: int) -> bool:
    """Whether the kernel ended the child for its processor time: once is enough."""
    return exit_code == -24  # SIGXCPU


def _environment() -> dict[str, str]:
    """What the child may know: no secrets, one thread per library, few memory arenas."""
    kept = {k: v for k in ("PATH", "LD_LIBRARY_PATH", "LANG") if (v := os.environ.get(k))}
    single = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MALLOC_ARENA_MAX"), "1")
    return {**kept, **single, "PYTHONPATH": str(_ROOT), "PYTHONDONTWRITEBYTECODE": "1"}


_pool: tuple[int, Pool] | None = None
_pool_lock = threading.Lock()


def pool() -> Pool:
    """The pool of this process."""
    global _pool
    with _pool_lock:
        if _pool is None or _pool[0] != os.getpid():
            _pool = (os.getpid(), Pool())
        return _pool[1]


def _after_fork() -> None:
    global _pool, _pool_lock
    _pool_lock = threading.Lock()
    if _pool is not None:
        _pool[1].abandon()
        _pool = None


def _at_exit() -> None:
    if _pool is not None and _pool[0] == os.getpid():
        _pool[1].close()


def warm(count: int = 1) -> None:
    """Start decoder children of this process ahead of the first file."""
    pool().warm(count)


os.register_at_fork(after_in_child=_after_fork)
atexit.register(_at_exit)
