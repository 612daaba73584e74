"""Ctrl-C under make: make must not see it, or it reports an error after the best of stops.

A terminal sends Ctrl-C to all processes of its foreground group, make included, and make then
always ends by that signal, whatever its recipe returns. So, where make stands between terminal and
supervisor, a small process makes itself the terminal's foreground group and passes the keys on to
the supervisor alone. Signals sent to make's group in other ways still reach the supervisor, which
stays in that group. The terminal is handed back at the end, also when the supervisor was killed.

Started as `launch.py terminal TTY_FD`, with a pipe from the supervisor as standard input.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

from . import linux
from .events import Signals


class Terminal:
    """The terminal while the supervisor has it; `give_back` ends that."""

    def __init__(self, helper: subprocess.Popen[bytes]) -> None:
        self._helper = helper

    @property
    def helper_id(self) -> int:
        """The process id of the small process in the foreground."""
        return self._helper.pid

    def give_back(self) -> None:
        """Restore the terminal's foreground group; return when that is done."""
        if self._helper.stdin is not None:
            self._helper.stdin.close()
        self._helper.wait()


def take() -> Terminal | None:
    """Take the keys of the controlling terminal; None where there is none in the foreground."""
    try:
        tty = os.open("/dev/tty", os.O_RDWR | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError:
        return None
    try:
        if os.tcgetpgrp(tty) != os.getpgrp():
            return None
        helper = subprocess.Popen(
            [
                *(sys.executable, "-S", "-E", str(Path(__file__).with_name("launch.py"))),
                *("terminal", str(tty)),
            ],
            stdin=subprocess.PIPE,
            pass_fds=(tty,),
        )
    except OSError:
        return None
    finally:
        os.close(tty)
    return Terminal(helper)


def main(arguments: list[str]) -> int:
    """Hold the foreground until standard input ends; pass Ctrl-C, Ctrl-\\ and hang-up on."""
    tty = int(arguments[0])
    supervisor = os.getppid()
    passed = {signal.SIGINT: 0, signal.SIGQUIT: 0, signal.SIGHUP: 0}
    # Ctrl-Z is ignored: a stopped foreground that make does not know of would hang the shell.
    signals = Signals(list(passed), [signal.SIGTSTP, signal.SIGTTOU, signal.SIGTTIN])
    before = os.tcgetpgrp(tty)
    os.setpgid(0, 0)
    os.tcsetpgrp(tty, os.getpgrp())
    while not signals.wait(60.0, 0) and linux.is_alive(supervisor):
        for number, count in passed.items():
            if signals.count(number) > count:
                passed[number] = signals.count(number)
                os.kill(supervisor, signal.SIGINT if number == signal.SIGQUIT else number)
    # The terminal may be gone.
    with contextlib.suppress(OSError):
        os.tcsetpgrp(tty, before)
    return 0
