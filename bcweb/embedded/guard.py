"""The guard: a tiny process between the supervisor and one service.

It holds the reading end of a pipe (its standard input) whose writing end only the supervisor has.
A byte is the number of a signal to pass on; end of file means that the supervisor is gone, kill -9
included, and the guard kills the service with every process below it. The same happens to what a
service leaves behind when it ends by itself. Orphans below the guard become its own children, so
none of them escapes, whatever session or group they are in.

Should the guard itself be killed, the kernel kills the service's first process (PDEATHSIG) and
the supervisor, who then inherits the rest, kills that.

Started as `launch.py guard NICE COMMAND…`; its exit code is the service's (128 + n for signal n).
"""

from __future__ import annotations

import os
import signal
import subprocess
import time

from . import linux
from .events import Signals

_KILL_SECONDS = 5.0


def main(arguments: list[str]) -> int:
    """Run the command until it ends, or the supervisor does; return the exit code."""
    nice, command = int(arguments[0]), arguments[1:]
    linux.adopt_orphans()
    signals = Signals([signal.SIGCHLD, signal.SIGTERM], [signal.SIGINT, signal.SIGHUP])
    if nice:
        os.nice(nice)
    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=linux.child_setup(),
    )
    passed_on = 0
    while child.poll() is None:
        linux.reap_others(child.pid)
        if signals.wait(60.0, 0):
            orders = os.read(0, 64)
            if not orders or signal.SIGKILL in orders:
                break
            for number in orders:
                child.send_signal(number)
        if signals.count(signal.SIGTERM) > passed_on:
            passed_on = signals.count(signal.SIGTERM)
            child.send_signal(signal.SIGTERM)
    ended_by_itself = child.poll()
    kill_below(os.getpid())
    code = ended_by_itself if ended_by_itself is not None else -signal.SIGKILL
    return code if code >= 0 else 128 - code


def kill_below(root: int) -> None:
    """Kill all processes below this one, again and again until none is left (or 5 s are over)."""
    deadline = time.monotonic() + _KILL_SECONDS
    while (below := linux.descendants(root)) and time.monotonic() < deadline:
        linux.kill_all(below)
        linux.reap_others()
        time.sleep(0.01)
