"""Bytes on their way in: counted and hashed into a temporary file, never parsed here."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import tempfile
import time
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO
from uuid import uuid4

from cases.errors import FileTooLarge, Overloaded
from cases.intake.checked import MIB, Limits

PREFIX = "bcweb-upload-"
MAX_NAME = 255
_CHUNK = 256 * 1024
# Full stops and spaces at the ends mean nothing to people and much to some file systems.
_EDGES = " .\t"
_SEPARATORS = re.compile(r"[/\\]")


def clean_name(name: str) -> str:
    """The display name of an uploaded file: never a path, no control or direction characters.

    Any name is accepted. Path parts go, and characters of the Unicode classes "other" (control,
    format such as U+202E, surrogate, unassigned) and line or paragraph separators; what is left
    is normalised (NFC) and cut to 255 characters, keeping a short extension. A name of which
    nothing is left becomes "file".
    """
    last = _SEPARATORS.split(name.replace("\x00", ""))[-1]
    kept = "".join(c for c in last if unicodedata.category(c)[0] != "C" and c not in "\u2028\u2029")
    text = unicodedata.normalize("NFC", " ".join(kept.split())).strip(_EDGES)
    if len(text) > MAX_NAME:
        stem, suffix = os.path.splitext(text)
        suffix = suffix if len(suffix) <= 10 else ""
        text = (stem[: MAX_NAME - len(suffix)] + suffix) if suffix else text[:MAX_NAME]
    return text or "file"


@dataclass(frozen=True, slots=True)
class ReceivedFile:
    """Bytes in a temporary file. As a context manager it removes the file at the end."""

    name: str
    """Cleaned display name; never used as a path."""
    path: Path
    size: int
    sha256: str
    """Lower-case hexadecimal SHA-256 of the bytes."""

    def discard(self) -> None:
        """Remove the temporary file. Removing it twice is fine."""
        self.path.unlink(missing_ok=True)

    def __enter__(self) -> ReceivedFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.discard()


class Spool:
    """A temporary file that counts and hashes what is written to it.

    Past `max_bytes`, or when the disk is full, it drops what it holds and swallows the rest, so
    that the sender can finish and be told which file was wrong.
    """

    def __init__(self, max_bytes: int, directory: str | None = None) -> None:
        self.max_bytes = max_bytes
        self.size = 0
        self.too_large = False
        self.disk_full = False
        self._hash = hashlib.sha256()
        try:
            handle, path = tempfile.mkstemp(prefix=PREFIX, dir=directory)
        except OSError as error:
            if not is_full(error):
                raise
            # Not even a name fits: what comes is swallowed as after any full disk.
            self.disk_full = True
            handle, path = os.open(os.devnull, os.O_RDWR), f"{PREFIX}none-{uuid4()}"
        self.path = Path(path)
        # Unbuffered: what is dropped or cannot be written must not linger in a buffer.
        self.file = os.fdopen(handle, "w+b", buffering=0)

    @property
    def sha256(self) -> str:
        """Hash of all bytes, or "" when the file was given up."""
        return "" if self.too_large or self.disk_full else self._hash.hexdigest()

    def write(self, chunk: bytes) -> None:
        """Count, hash and store `chunk`, unless the file is already given up."""
        self.size += len(chunk)
        if self.too_large or self.disk_full:
            return
        if self.size > self.max_bytes:
            self.too_large = True
            self._drop()
            return
        self._hash.update(chunk)
        try:
            rest = memoryview(chunk)
            while rest:
                rest = rest[self.file.write(rest) :]
        except OSError as error:
            if not is_full(error):
                raise
            self.disk_full = True
            self._drop()

    def finish(self) -> None:
        """Go back to the beginning, for reading."""
        self.file.seek(0)

    def discard(self) -> None:
        """Close and remove the temporary file. Twice is fine."""
        self.file.close()
        self.path.unlink(missing_ok=True)

    def _drop(self) -> None:
        os.truncate(self.path, 0)


_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def is_full(error: OSError) -> bool:
    """Whether a disk (or a quota) had no room left."""
    return error.errno in _FULL


def no_room() -> Overloaded:
    """What a sender is told when there is no room for files."""
    return Overloaded(
        "There is no room to take in files at the moment. Nothing was taken in. Try again later.",
        retry_after=60,
    )


def receive(
    source: BinaryIO | Iterable[bytes],
    name: str,
    limits: Limits | None = None,
    *,
    directory: str | None = None,
) -> ReceivedFile:
    """Stream `source` (a binary file or chunks) into a temporary file.

    Returns the `ReceivedFile`; the caller removes it (`with`, or `discard()`). Raises
    `FileTooLarge` past `limits.max_bytes` and `Overloaded` when the disk is full; nothing stays
    behind then.
    """
    limits = limits or Limits()
    display = clean_name(name)
    spool = Spool(limits.max_bytes, directory)
    try:
        for chunk in _chunks(source):
            spool.write(chunk)
            refuse(spool, display)
        spool.finish()
        refuse(spool, display)
        spool.file.close()
    except BaseException:
        spool.discard()
        raise
    return ReceivedFile(name=display, path=spool.path, size=spool.size, sha256=spool.sha256)


def refuse(spool: Spool, name: str) -> None:
    """Raise what the sender must be told when `spool` was given up."""
    if spool.too_large:
        raise too_large(name, spool.max_bytes)
    if spool.disk_full:
        raise no_room()


def too_large(name: str, max_bytes: int) -> FileTooLarge:
    """The refusal of a file over `max_bytes`, with the limit in words."""
    return FileTooLarge(
        f"The file is larger than {_size(max_bytes)}, the most this service accepts.", file=name
    )


def remove_stale_files(directory: str | None = None, *, older_than_s: float = 3600.0) -> int:
    """Remove temporary uploads that a killed process left behind; returns how many."""
    removed = 0
    limit = time.time() - older_than_s
    for path in Path(directory or tempfile.gettempdir()).glob(PREFIX + "*"):
        try:
            if path.stat().st_mtime < limit:
                path.unlink()
                removed += 1
        except FileNotFoundError:
            continue  # another sweeper was faster
    return removed


def _size(count: int) -> str:
    return f"{count / MIB:.0f} MB" if count >= MIB else f"{count:,} bytes"


def _chunks(source: BinaryIO | Iterable[bytes]) -> Iterable[bytes]:
    read = getattr(source, "read", None)
    if read is None:
        return source
    return iter(lambda: read(_CHUNK), b"")
