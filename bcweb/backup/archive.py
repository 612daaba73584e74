"""The file of a backup: a tar archive whose last two members say what it holds, and prove it.

database.dump          pg_dump --format=custom
state/<path>           files of the state folder
manifest.json          what this is, and of each member its size, SHA-256 and mode
manifest.sha256        of manifest.json: a file that is cut off has none
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import secrets
import stat
import tarfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import IO, Any

FORMAT = 1
DUMP = "database.dump"
STATE_PREFIX = "state/"
MANIFEST = "manifest.json"
SEAL = "manifest.sha256"
_PIECE = 1024 * 1024
_MAX_MANIFEST = 256 * _PIECE


class BackupError(Exception):
    """One sentence that says what is wrong; shown without a traceback."""


class Writer:
    """Writes a backup to a draft beside `path`, mode 0600, which gets its name only when whole."""

    def __init__(self, path: Path) -> None:
        """Raises ``BackupError`` where something is there already or nothing can be written."""
        self.path = path
        self._draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        if path.is_symlink() or path.exists():
            raise BackupError(f"{path} is there already: name a new file.")
        try:
            handle = os.open(self._draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError as error:
            raise BackupError(f"{path} cannot be written ({error.strerror}).") from error
        self._file = os.fdopen(handle, "w+b")
        try:
            self._check_links()
        except BackupError:
            self.close()
            raise
        self.members: dict[str, dict[str, Any]] = {}

    def add(self, name: str, stream: IO[bytes], *, mode: int = 0o600) -> None:
        """Add what `stream` gives to its end; how much that is need not be known before."""
        start = self._file.tell()
        self._file.write(_header(name, 0, mode))
        digest, size = hashlib.sha256(), 0
        while piece := stream.read(_PIECE):
            digest.update(piece)
            size += len(piece)
            self._file.write(piece)
        self._file.write(b"\0" * (-size % tarfile.BLOCKSIZE))
        end = self._file.tell()
        self._file.seek(start)
        self._file.write(_header(name, size, mode))
        self._file.seek(end)
        self.members[name] = {"size": size, "sha256": digest.hexdigest(), "mode": mode}

    def add_file(self, name: str, path: Path) -> None:
        """Add a regular file with its mode, never through a link."""
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        with os.fdopen(handle, "rb") as file:
            told = os.fstat(handle)
            if not stat.S_ISREG(told.st_mode):
                raise BackupError(f"{path} is not a file.")
            self.add(name, file, mode=stat.S_IMODE(told.st_mode) & 0o700)

    def finish(self, facts: dict[str, Any]) -> int:
        """Write the manifest and give the file its name; its size in bytes."""
        manifest = {"format": FORMAT, **facts, "members": self.members}
        content = (json.dumps(manifest, indent=1) + "\n").encode()
        self.add(MANIFEST, io.BytesIO(content))
        self.add(SEAL, io.BytesIO(f"{hashlib.sha256(content).hexdigest()}\n".encode()))
        self._file.write(b"\0" * (2 * tarfile.BLOCKSIZE))
        size = self._file.tell()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        try:
            # Unlike a rename, a link never takes the place of another file.
            os.link(self._draft, self.path)
        except FileExistsError as error:
            raise BackupError(f"{self.path} is there already: name a new file.") from error
        _sync_folder(self.path.parent)
        return size

    def close(self) -> None:
        """Remove the draft, whatever came of it: also on a full disk, where closing fails."""
        try:
            self._file.close()
        finally:
            with suppress(FileNotFoundError):
                self._draft.unlink()

    def _check_links(self) -> None:
        """`finish` needs a hard link, hours later: some disks have none."""
        probe = self._draft.with_name(f"{self._draft.name}.link")
        try:
            os.link(self._draft, probe)
        except OSError as error:
            raise BackupError(
                f"{self.path.parent} takes no hard links ({error.strerror}), which the file needs "
                "to appear whole or not at all: write it on another disk, and copy it."
            ) from error
        probe.unlink()


def _header(name: str, size: int, mode: int) -> bytes:
    """One tar block. GNU's form writes large sizes too; long names get blocks of their own."""
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, mode
    return info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def members(file: IO[bytes]) -> Iterator[tuple[tarfile.TarInfo, IO[bytes]]]:
    """Every member in order, with its content. Raises ``BackupError`` for what no backup holds."""
    file.seek(0)
    try:
        with tarfile.open(fileobj=file, mode="r:") as archive:
            for info in archive:
                content = archive.extractfile(info) if info.isreg() else None
                if content is None:
                    raise BackupError("The file is no backup of bcweb.")
                yield info, content
    except (tarfile.TarError, EOFError) as error:
        raise BackupError("The file is damaged or no backup of bcweb.") from error


def read_manifest(file: IO[bytes]) -> dict[str, Any]:
    """Read the whole file, compare every member with the manifest, and return the manifest.

    Raises ``BackupError`` for whatever is not a whole and unaltered backup of a known format.
    """
    try:
        manifest, seen = _read(file)
    except tarfile.TarError as error:
        raise BackupError("The backup is cut off or damaged.") from error
    if manifest.get("format") != FORMAT:
        raise BackupError(
            f"The backup has format {manifest.get('format')}, and this version of bcweb reads "
            f"format {FORMAT}: restore it with the version that made it."
        )
    _compare(manifest["members"], seen)
    return manifest


def _read(file: IO[bytes]) -> tuple[dict[str, Any], dict[str, Any]]:
    """(the manifest, what the members other than it are)."""
    seen: dict[str, dict[str, Any]] = {}
    content, seal = b"", b""
    for info, stream in members(file):
        if info.name in seen or not _is_safe(info.name):
            raise BackupError("The file is no backup of bcweb.")
        digest, size = hashlib.sha256(), 0
        while piece := stream.read(_PIECE):
            digest.update(piece)
            size += len(piece)
            if info.name == MANIFEST and len(content) < _MAX_MANIFEST:
                content += piece
            elif info.name == SEAL:
                seal = (seal + piece)[:100]
        if size != info.size:
            raise BackupError("The backup is cut off.")
        seen[info.name] = {"size": size, "sha256": digest.hexdigest(), "mode": info.mode}
    if not content or not seal:
        raise BackupError("The backup is cut off or no backup of bcweb: it has no manifest.")
    if seal.decode("ascii", "replace").strip() != hashlib.sha256(content).hexdigest():
        raise BackupError("The backup is altered: its manifest is not the one that was written.")
    return json.loads(content), {k: v for k, v in seen.items() if k not in (MANIFEST, SEAL)}


def _compare(told: dict[str, Any], seen: dict[str, Any]) -> None:
    for name in sorted(told.keys() | seen.keys()):
        if told.get(name) != seen.get(name):
            raise BackupError(f"The backup is altered: {name} is not as it was written.")
    if DUMP not in told:
        raise BackupError("The backup holds no database.")


def _is_safe(name: str) -> bool:
    """Whether a member may be written below a folder by its own name."""
    path = PurePosixPath(name)
    return (
        not path.is_absolute() and ".." not in path.parts and str(path) == name and "\0" not in name
    )
