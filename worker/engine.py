"""The engine from the worker's side: started, fed, watched, and killed when it must be.

Limits are enforced from outside: wall time per batch and resident memory are watched while
waiting, so a hang or a blow-up inside native code ends too.
"""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from worker import wire

log = structlog.get_logger(__name__)

# How often the wait looks at the clock and at the memory of the child.
TICK_S = 0.2
_PAGE = os.sysconf("SC_PAGE_SIZE")
CHILD_MODULE = "worker.engine_child"


class EngineFaultError(Exception):
    """The engine died, hung, grew too large, or could not load the model."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


@dataclass(frozen=True)
class EngineOptions:
    """How to start and limit the engine; times in s, memory in MiB.

    ``device``: auto, cpu or cuda[:n]; ``kind``: auto, pytorch or onnx; ``threads``: 0 for as many
    as the CPU quota allows.
    """

    device: str = "auto"
    kind: str = "auto"
    threads: int = 0
    start_s: float = 120.0
    batch_s: float = 60.0
    memory_mb: int = 0


class EngineProcess:
    """One engine child. Not thread-safe: it belongs to the worker's main thread."""

    def __init__(self, options: EngineOptions) -> None:
        self.options = options
        self.engine = ""
        self._child: subprocess.Popen[bytes] | None = None
        self._sock: socket.socket | None = None
        self._loaded: str | None = None

    @property
    def pid(self) -> int | None:
        return self._child.pid if self._child and self._child.poll() is None else None

    def load(self, sha256: str, path: Path, on_wait: Callable[[], None]) -> None:
        """Have the model with this hash ready; starts the child where there is none.

        Raises ``EngineFaultError`` (`model_unavailable`, `engine_crashed`, `engine_timeout`).
        """
        if self._loaded == sha256 and self.pid is not None:
            return
        self.start()
        request = {"do": "load", "sha256": sha256, "path": str(path)}
        reply, _ = self._ask(request, (), limit_s=self.options.start_s, on_wait=on_wait)
        if "fault" in reply:
            raise EngineFaultError("model_unavailable", str(reply.get("detail", ""))[:500])
        engine = reply.get("engine")
        if not isinstance(engine, str) or not engine.isprintable() or len(engine) > 80:
            raise self._broken()
        self.engine = engine
        if reply.get("warning"):
            log.warning("engine_fallback", engine=self.engine, reason=str(reply["warning"])[:500])
        self._loaded = sha256

    def predict(
        self, sha256: str, pictures: Sequence[bytes], on_wait: Callable[[], None]
    ) -> list[tuple[dict[str, Any], bytes | None]]:
        """Answers and heatmaps in order; none for an unreadable or refused picture.

        ``EngineFaultError`` where the batch killed the child.
        """
        reply, heatmaps = self._ask(
            {"do": "predict", "sha256": sha256},
            pictures,
            limit_s=self.options.batch_s,
            on_wait=on_wait,
        )
        answers = reply.get("answers")
        if (
            not isinstance(answers, list)
            or len(answers) != len(pictures)
            or not all(isinstance(answer, dict) for answer in answers)
        ):
            raise self._broken()
        rest = iter(heatmaps)
        # A shape announces a heatmap; `answers.answer_from` refuses one without the other.
        return [
            (answer, next(rest, None) if answer.get("heatmap_shape") else None)
            for answer in answers
        ]

    def close(self) -> None:
        """Kill the child; the next `load` starts another."""
        if self._sock is not None:
            self._sock.close()
        if self._child is not None:
            self._child.kill()
            self._child.wait()
        self._sock = self._child = self._loaded = None

    def start(self) -> None:
        """Start the child where there is none; it imports torch while others do their part."""
        if self.pid is not None:
            return
        self.close()
        ours, theirs = socket.socketpair()
        options = {
            "device": self.options.device,
            "kind": self.options.kind,
            "threads": self.options.threads,
            "parent": os.getpid(),
        }
        with theirs:
            self._child = subprocess.Popen(
                [sys.executable, "-m", CHILD_MODULE, str(theirs.fileno()), json.dumps(options)],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                cwd=Path(__file__).resolve().parent.parent,
            )
        self._sock = ours
        _first_to_go(self._child.pid)
        log.info("engine_started", engine_pid=self._child.pid)

    def _broken(self) -> EngineFaultError:
        """The fault of a child that answers nonsense, which does not live on."""
        self.close()
        return EngineFaultError("engine_crashed", "The engine broke the protocol.")

    def _ask(
        self,
        request: dict[str, Any],
        blobs: Sequence[bytes],
        *,
        limit_s: float,
        on_wait: Callable[[], None],
    ) -> tuple[dict[str, Any], list[bytes]]:
        assert self._sock is not None
        sock = self._sock
        deadline = time.monotonic() + limit_s
        try:
            # The child may hang before it has read everything: sending has a deadline too.
            wire.send(sock, request, blobs, lambda: _allow(sock, deadline))
            sock.settimeout(None)
            return wire.receive(
                sock,
                lambda: self._watch(sock, deadline, on_wait),
                max_blobs=len(blobs),
                max_blob=wire.MAX_HEATMAP,
            )
        except EngineFaultError:
            self.close()
            raise
        except TimeoutError as error:
            self.close()
            raise EngineFaultError(
                "engine_timeout", f"The engine took no work within {limit_s:g} s."
            ) from error
        except OSError as error:
            code = self._exit_code()
            self.close()
            raise EngineFaultError(
                "engine_crashed", f"The engine process ended while it worked ({code})."
            ) from error
        except BaseException:
            # Whoever waited gave up. The answer that is still to come is of this request: read
            # after the next one, it would be taken for the answer about other images.
            self.close()
            raise

    def _watch(self, sock: socket.socket, deadline: float, on_wait: Callable[[], None]) -> None:
        """Wait for data, within the limits; keep the leases alive meanwhile.

        Looks at the limits at least once: they hold also for a child that keeps sending.
        """
        while True:
            if time.monotonic() > deadline:
                raise EngineFaultError("engine_timeout", "The engine took too long and was ended.")
            used = self._resident_mb()
            if self.options.memory_mb and used > self.options.memory_mb:
                raise EngineFaultError(
                    "engine_memory", f"The engine used {used} MiB of memory and was ended."
                )
            on_wait()
            if select.select([sock], [], [], TICK_S)[0]:
                return

    def _exit_code(self) -> str:
        """How the child ended; it may still be alive and have sent nonsense."""
        assert self._child is not None
        try:
            return f"exit {self._child.wait(timeout=1)}"
        except subprocess.TimeoutExpired:
            return "it broke the protocol"

    def _resident_mb(self) -> int:
        try:
            statm = Path(f"/proc/{self.pid}/statm").read_text()
        except OSError:
            return 0
        return int(statm.split()[1]) * _PAGE // 1024**2


def _first_to_go(pid: int) -> None:
    """Where memory runs out between two looks, the kernel shall take this process and no other."""
    # It may have ended already; a kernel without the file has no such choice.
    with suppress(OSError):
        Path(f"/proc/{pid}/oom_score_adj").write_text("1000")


def _allow(sock: socket.socket, deadline: float) -> None:
    """Let the next call on ``sock`` take what is left; ``TimeoutError`` where nothing is."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    sock.settimeout(left)
