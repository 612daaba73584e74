"""Where the processes of one web server count requests together (bcweb.http_metrics).

In shared memory where there is any: the files are mapped, and a process that counts into a mapped
file on a full disk is killed.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

_SHARED = Path("/dev/shm")  # noqa: S108 - names carry the user's and the server's id, mode 0700


def of_server(pid: int) -> Path:
    """The folder of the server with this process id. Nothing is made."""
    usable = _SHARED.is_dir() and os.access(_SHARED, os.W_OK | os.X_OK)
    root = _SHARED if usable else Path(tempfile.gettempdir())
    return root / f"{_prefix()}{pid}"


def make(folder: Path) -> None:
    """Make the folder empty, and remove those of servers of this user that were killed."""
    for old in folder.parent.glob(f"{_prefix()}*"):
        pid = old.name.removeprefix(_prefix())
        if old == folder or (pid.isdigit() and not Path(f"/proc/{pid}").exists()):
            remove(old)
    folder.mkdir(mode=0o700)


def remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)


def _prefix() -> str:
    return f"bcweb-counts-{os.geteuid()}-"
