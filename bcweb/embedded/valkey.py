"""The embedded Valkey (or Redis): data in STATE/valkey, log in STATE/log/valkey.log."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from pathlib import Path

from . import linux, paths
from .errors import StartupError, disk_full
from .server import DOWN, READY, STARTING, Kind, last_line, open_log


class Valkey:
    """The Valkey of one state folder. `durable=False` is for tests: nothing is written to disk."""

    kind: Kind = "valkey"
    stop_signal: int = signal.SIGTERM

    def __init__(self, state: Path, *, durable: bool = True) -> None:
        self.state = state
        self.data = state / "valkey"
        self.log = state / "log" / "valkey.log"
        self.durable = durable
        self._program = paths.valkey_server()

    def prepare(self) -> None:
        """Make the data folder and clear a dead server's socket. Raises StartupError."""
        paths.make_run_folder(self.state)
        try:
            self.data.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise StartupError(f"{self.data} cannot be made ({error.strerror}).") from error

    def start(self) -> subprocess.Popen[bytes]:
        """Start the server; it may still be loading its data when this returns."""
        paths.make_run_folder(self.state)
        # The data folder is the working folder: a path with spaces never has to be quoted.
        settings = {
            "port": "0",
            "unixsocket": str(paths.valkey_socket(self.state)),
            "unixsocketperm": "700",
            "dir": ".",
            "appendonly": "yes" if self.durable else "no",
            "appendfsync": "everysec",
            "save": "",
            "maxmemory-policy": "noeviction",
            "daemonize": "no",
        }
        command = [str(self._program)]
        for name, value in settings.items():
            command += [f"--{name}", value]
        log = open_log(self.log)
        try:
            return subprocess.Popen(
                command,
                cwd=self.data,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=linux.child_setup(),
            )
        except OSError as error:
            raise StartupError(f"Valkey cannot be started ({error}).") from error
        finally:
            os.close(log)

    def probe(self) -> str:
        """Ask the server over its socket whether it takes commands."""
        return probe(paths.valkey_socket(self.state))

    def explain(self) -> str:
        """Return why it ended, from its log."""
        if last_line(self.log, "No space left on device"):
            return str(disk_full(self.state))
        line = last_line(self.log, " # ", "FATAL", "error while loading") or last_line(self.log)
        return f"Valkey ended: {line or 'it left no message'} (log: {self.log})."


def probe(path: Path, *, timeout: float = 2.0) -> str:
    """PING the Valkey behind a Unix socket: READY, STARTING (still loading) or DOWN."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(timeout)
            connection.connect(str(path))
            connection.sendall(b"PING\r\n")
            answer = connection.recv(1024)
    except OSError:
        return DOWN
    if answer.startswith(b"+PONG"):
        return READY
    return STARTING if answer else DOWN
