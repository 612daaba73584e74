"""The web server's own settings, and the faults that no signal can cause: a full disk, and files
that kill the decoder.

While STATE/chaos/spool-full is there, uploads meet a full disk on their way into the temporary
folder; while STATE/chaos/store-full is there, the storage has room for nothing. Each refusal adds
a byte to a file beside it, so that the driver knows that the fault struck.
"""

from __future__ import annotations

import errno
import functools
import os
from pathlib import Path
from typing import Any

import bcweb.gunicorn
from bcweb.gunicorn import logconfig_dict, on_starting
from cases.intake import files, sandbox

__all__ = ["logconfig_dict", "on_starting", "post_worker_init"]

FLAGS = Path(os.environ["BCWEB_STATE"]) / "chaos"


def full(name: str) -> bool:
    """Tell whether this disk is full at the moment, and note that somebody ran into it."""
    if not (FLAGS / name).exists():
        return False
    with (FLAGS / f"{name}.met").open("ab") as met:
        met.write(b".")
    return True


class _Disk:
    """A file that has no room while the flag is there."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def write(self, data: Any) -> int:
        if full("spool-full"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return int(self._file.write(data))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


class FillingSpool(files.Spool):
    """A temporary file on that disk."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.file: Any = _Disk(self.file)


def fill_storage() -> None:
    """Let the storage write everything and then say that it could not."""
    from cases.storage import PostgresStorage

    save = PostgresStorage._save

    def save_or_not(self: PostgresStorage, name: str, content: Any) -> str:
        stored = save(self, name, content)
        if full("store-full"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return stored

    PostgresStorage._save = save_or_not  # type: ignore[method-assign]


def post_worker_init(worker: Any) -> None:
    """Lay the faults over this worker, then do what the service does."""
    from cases.intake import upload

    upload.Spool = FillingSpool  # type: ignore[misc]
    sandbox.Pool = functools.partial(  # type: ignore[misc,assignment]
        sandbox.Pool, command=("-m", "bench.chaos.decoder")
    )
    fill_storage()
    bcweb.gunicorn.post_worker_init(worker)
