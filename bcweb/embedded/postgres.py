"""The embedded Postgres: making its data, starting it, asking whether it is ready.

Only programs from the wheel (or the system) are used. Data is in STATE/postgres, the log in
STATE/log/postgres.log, the socket in the run folder; nobody else may enter that folder, so
connections over it are trusted.
"""

from __future__ import annotations

import functools
import os
import pwd
import shutil
import signal
import socket
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

from . import linux, paths
from .errors import StartupError, disk_full
from .server import DOWN, READY, STARTING, Kind, last_line, open_log

_NOBODY = 65534

# Logs carry no patient data: no statements, and no "Key (patient_id)=(…)" details.
_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "max_wal_size": "1GB",
    "random_page_cost": "1.1",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "log_timezone": "UTC",
    "timezone": "UTC",
}
_DURABLE = {"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on"}
_VOLATILE = dict.fromkeys(_DURABLE, "off")


class Postgres:
    """The Postgres of one state folder. `durable=False` is for tests: a crash may lose data."""

    kind: Kind = "postgres"
    # "Fast": open transactions are rolled back and the data is left clean.
    stop_signal: int = signal.SIGINT

    def __init__(self, state: Path, *, durable: bool = True) -> None:
        self.state = state
        self.data = state / "postgres"
        self.log = state / "log" / "postgres.log"
        self.durable = durable
        self._bin = paths.postgres_bin()
        self._identity = _identity()

    def prepare(self) -> None:
        """Run initdb and create the database when there is no data yet. Raises StartupError.

        It happens in a draft folder that is renamed at the end: a start that was cut off leaves
        nothing half made.
        """
        paths.make_run_folder(self.state)
        if self.data.exists():
            self._check_version()
            self._own(self.data)
            return
        paths.check_free_space(self.state)
        draft = self.state / "postgres.draft"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        self._own(draft)
        self._initdb(draft)
        create = f"CREATE DATABASE {paths.DATABASE_NAME};\n".encode()
        self._run("postgres", ["--single", "-D", str(draft), "postgres"], create)
        draft.rename(self.data)

    def start(self) -> subprocess.Popen[bytes]:
        """Start the server; it may still be recovering when this returns."""
        paths.make_run_folder(self.state)
        self._clear_socket()
        settings = _SETTINGS | (_DURABLE if self.durable else _VOLATILE)
        command = [*self._identity.prefix, str(self._bin / "postgres"), "-D", str(self.data)]
        command += ["-k", str(paths.run_folder(self.state))]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        log = open_log(self.log)
        try:
            return subprocess.Popen(
                command,
                cwd=self.state,
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=linux.child_setup(*self._identity.steps),
            )
        except OSError as error:
            raise StartupError(f"Postgres cannot be started ({error}).") from error
        finally:
            os.close(log)

    def probe(self) -> str:
        """Ask the server over its socket whether it takes connections to the database."""
        return probe(paths.postgres_socket(self.state))

    def explain(self) -> str:
        """Return why it ended, from its log."""
        line = last_line(self.log, "FATAL:", "PANIC:", "error while loading")
        if "No space left on device" in line:
            return str(disk_full(self.state))
        return f"Postgres ended: {line or 'it left no message'} (log: {self.log})."

    def _initdb(self, draft: Path) -> None:
        version = paths.postgres_version(self._bin)
        if version >= 17:
            # Postgres' own locale: the same sorting on every machine, whatever libc it has.
            locale = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
        else:
            locale = ["--locale=C.UTF-8"]
        options = ["-D", str(draft), "-U", paths.DATABASE_USER, "-A", "trust", "-E", "UTF8"]
        if not self.durable:
            options.append("--no-sync")
        self._run("initdb", [*options, *locale], b"")

    def _run(self, program: str, options: list[str], text: bytes) -> None:
        """Run one of Postgres' programs to its end, its output going to the log."""
        log = open_log(self.log)
        try:
            done = subprocess.run(
                [*self._identity.prefix, str(self._bin / program), *options],
                cwd=self.state,
                env=_environment(),
                input=text,
                stdout=log,
                stderr=log,
                preexec_fn=linux.child_setup(*self._identity.steps),
                check=False,
            )
        except OSError as error:
            raise StartupError(f"{program} cannot be run ({error}).") from error
        finally:
            os.close(log)
        if done.returncode:
            if last_line(self.log, "No space left on device"):
                raise disk_full(self.state)
            line = last_line(self.log, "error:", "FATAL:", "PANIC:", f"{program}:")
            raise StartupError(f"{program} failed: {line} (log: {self.log}).")

    def _check_version(self) -> None:
        made_by = (self.data / "PG_VERSION").read_text().strip()
        have = paths.postgres_version(self._bin)
        if made_by != str(have):
            raise StartupError(
                f"The data in {self.data} was made by Postgres {made_by}, but {self._bin} is "
                f"version {have or 'unknown'}: set BCWEB_POSTGRES_BIN to the bin folder of "
                f"Postgres {made_by}, or dump and restore."
            )

    def _clear_socket(self) -> None:
        """Remove a dead server's socket and its lock, which may belong to another identity.

        Two servers on one data folder are kept apart by postmaster.pid, not by these.
        """
        path = paths.postgres_socket(self.state)
        if probe(path) == DOWN:
            for left in (path, path.with_name(f"{path.name}.lock")):
                left.unlink(missing_ok=True)

    def _own(self, folder: Path) -> None:
        """As root, hand the data to the user Postgres will run as (see `_identity`)."""
        owner = self._identity.owner
        if os.geteuid() != 0 or folder.stat().st_uid == owner:
            return
        for path in [folder, *folder.rglob("*")]:
            os.chown(path, owner, owner, follow_symlinks=False)


class _Identity:
    """How to run Postgres as a user that it accepts: a command prefix or steps before exec."""

    def __init__(self, owner: int, prefix: list[str], steps: list[Callable[[], None]]) -> None:
        self.owner = owner
        self.prefix = prefix
        self.steps = steps


def _identity() -> _Identity:
    """Choose how to run Postgres.

    An ordinary user runs it as themselves. Root, whom Postgres refuses, and a user without an
    entry in the password file (a container's `--user 4711`), whom initdb refuses, run it in a user
    namespace, as somebody who has an entry; that works with data under a 0700 home. Where
    namespaces are blocked (Docker's default, hardened kernels), root runs it as `nobody` with
    leave to enter root's folders, where even that is not granted, as plain `nobody`. Env
    BCWEB_POSTGRES_AS=namespace|nobody insists on one of them.
    """
    user = os.geteuid()
    if user != 0 and _is_known(user):
        return _Identity(user, [], [])
    wanted = os.environ.get("BCWEB_POSTGRES_AS", "")
    enter = functools.partial(linux.enter_user_namespace, _somebody())
    if wanted != "nobody" and _works([], [enter]):
        return _Identity(user, [], [enter])
    if user == 0 and wanted != "namespace" and shutil.which("setpriv"):
        plain = ["setpriv", f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups"]
        # The kernel forgets PDEATHSIG when the user changes: setpriv sets it again after that.
        plain.append("--pdeathsig=KILL")
        for extra in (["--inh-caps=+dac_override", "--ambient-caps=+dac_override"], []):
            if _works([*plain, *extra], []):
                return _Identity(_NOBODY, [*plain, *extra], [])
    raise StartupError(
        f"Postgres refuses to run as user {user}, and this machine allows neither user namespaces "
        "(unshare) nor setpriv: run as an ordinary user, or set DATABASE_URL."
    )


def _is_known(user: int) -> bool:
    try:
        pwd.getpwuid(user)
    except KeyError:
        return False
    return True


def _somebody() -> int:
    """Return the id of a user who is not root and has an entry in the password file."""
    if _is_known(_NOBODY):
        return _NOBODY
    return next((entry.pw_uid for entry in pwd.getpwall() if entry.pw_uid != 0), _NOBODY)


def _works(prefix: list[str], steps: list[Callable[[], None]]) -> bool:
    try:
        done = subprocess.run(
            [*prefix, "true"],
            preexec_fn=linux.child_setup(*steps),
            capture_output=True,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return done.returncode == 0


def _environment() -> dict[str, str]:
    """Return a small environment: the caller's PG* variables must not steer the server."""
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    return {**kept, "LC_ALL": "C", "TZ": "UTC"}


def probe(path: Path, *, timeout: float = 2.0) -> str:
    """Say hello to the Postgres behind a Unix socket: READY, STARTING or DOWN.

    Speaks the first message of the frontend protocol (version 3.0), so it needs neither a client
    program nor a driver. "Starting up" and "shutting down" (SQLSTATE 57P0x) count as STARTING.
    """
    pairs = f"user\0{paths.DATABASE_USER}\0database\0{paths.DATABASE_NAME}\0\0".encode()
    hello = struct.pack("!II", 8 + len(pairs), 3 << 16) + pairs
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(timeout)
            connection.connect(str(path))
            connection.sendall(hello)
            answer = connection.recv(1024)
            if answer[:1] == b"R":
                connection.sendall(b"X\0\0\0\4")
                return READY
    except OSError:
        return DOWN
    return STARTING if answer else DOWN
