"""Whether every stored byte is there, as it was, and needed; and clearing away what is not."""

from __future__ import annotations

import hashlib
import io
import json
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import IO

from django.db import transaction

from cases.access import Actor
from cases.services.audit import audit_record
from cases.services.clock import clock_read
from cases.services.locks import advisory_lock
from cases.services.stored import Reference, references_all, references_to, still_needed
from cases.storage import Stored, bytes_lock, uploads

_PIECE = 1024 * 1024
_PNG = b"\x89PNG\r\n\x1a\n"


class FaultKind(StrEnum):
    # A row needs an object that is not stored.
    MISSING = "missing"
    # Its bytes are not those that its row tells.
    ALTERED = "altered"
    # It was written in part: pieces are missing, or too many.
    CUT = "cut"
    # Stored, and no row needs it.
    ORPHAN = "orphan"


@dataclass(frozen=True)
class StorageFault:
    """``object``: the row, as kind:id; "-" where there is none."""

    kind: FaultKind
    object: str
    name: str
    detail: str = ""

    @property
    def line(self) -> str:
        return f"{self.kind.value} {self.object} {self.name}"


@dataclass
class Looked:
    """How far a verification is."""

    objects: int = 0
    rows: int = 0
    # Whose bytes were read again.
    read: int = 0
    read_bytes: int = 0
    # Without a row, but somebody is about to write it.
    in_progress: int = 0


Chosen = Callable[[Looked], bool]


def storage_faults(*, looked: Looked, chosen: Chosen) -> Iterator[StorageFault]:
    """Every fault of the storage, while the service goes on working.

    Compares names and sizes of all objects and rows, and re-reads the bytes of those for which
    ``chosen`` says so. ``looked`` counts along. Holds one batch at a time. What looks like a fault
    is looked at again before it is one: rows and bytes come and go meanwhile, always together.
    """
    yield from _from_storage(looked, chosen)
    yield from _from_rows(looked)
    for name in uploads().strays():
        yield StorageFault(FaultKind.CUT, "-", name, "chunks without their object")


def _from_storage(looked: Looked, chosen: Chosen) -> Iterator[StorageFault]:
    after = ""
    while batch := uploads().stored(after=after):
        after = batch[-1].name
        names = [stored.name for stored in batch]
        owners = references_to(names)
        broken = uploads().half_written(names)
        for stored in batch:
            looked.objects += 1
            if not owners.get(stored.name):
                yield from _orphan(stored, looked)
            elif stored.name in broken:
                yield from _of_all(FaultKind.CUT, owners[stored.name], broken[stored.name])
            else:
                yield from _altered(stored, owners[stored.name], looked, chosen)


def _from_rows(looked: Looked) -> Iterator[StorageFault]:
    for batch in references_all():
        looked.rows += len(batch)
        there = uploads().present([reference.name for reference in batch])
        gone = [reference for reference in batch if reference.name not in there]
        yield from _of_all(FaultKind.MISSING, gone, "not stored")


def _of_all(
    kind: FaultKind, references: Sequence[Reference], detail: str
) -> Iterator[StorageFault]:
    """For each row that still needs the object: an erasure may have taken both meanwhile."""
    for reference in references:
        if still_needed(reference):
            yield StorageFault(kind, reference.object, reference.name, detail)


def _orphan(stored: Stored, looked: Looked) -> Iterator[StorageFault]:
    with transaction.atomic():
        if not advisory_lock(*bytes_lock(stored.name), wait=False):
            # Somebody stores it, or relies on it: the row is to come. Or it is being removed.
            looked.in_progress += 1
            return
        needed = references_to([stored.name]).get(stored.name)
        if needed or not uploads().present([stored.name]):
            return
    size = f"{stored.size} bytes since {stored.at.isoformat(timespec='seconds')}"
    yield StorageFault(FaultKind.ORPHAN, "-", stored.name, size)


def _altered(
    stored: Stored, owners: Sequence[Reference], looked: Looked, chosen: Chosen
) -> Iterator[StorageFault]:
    wrong_size = [owner for owner in owners if owner.size not in (None, stored.size)]
    yield from _of_all(FaultKind.ALTERED, wrong_size, f"{stored.size} bytes")
    rest = [owner for owner in owners if owner not in wrong_size]
    if not rest or not chosen(looked):
        return
    try:
        digest, content = _read(stored.name, keep=any(not owner.sha256 for owner in rest))
    except FileNotFoundError:
        # Gone since it was listed; if that is a fault, its row will tell.
        return
    except OSError as error:
        yield from _of_all(FaultKind.CUT, rest, str(error))
        return
    looked.read += 1
    looked.read_bytes += stored.size
    bad = [owner for owner in rest if not _is_as_told(owner, digest, content)]
    yield from _of_all(FaultKind.ALTERED, bad, f"SHA-256 {digest}")


def _read(name: str, *, keep: bool) -> tuple[str, io.BytesIO]:
    """(SHA-256, the content where ``keep``: of pictures and documents, which are not large)."""
    digest, content = hashlib.sha256(), io.BytesIO()
    for piece in uploads().pieces(name):
        digest.update(piece)
        if keep:
            content.write(piece)
    return digest.hexdigest(), content


def _is_as_told(owner: Reference, digest: str, content: io.BytesIO) -> bool:
    """By the row's hash; what has none in its row is checked by its own form."""
    if owner.sha256:
        return digest == owner.sha256
    content.seek(0)
    if owner.kind == "preview":
        return png_is_whole(content)
    document = None
    with suppress(ValueError):
        document = json.loads(content.getvalue())
    return isinstance(document, dict) and document.get("id") == owner.id


def png_is_whole(file: IO[bytes]) -> bool:
    """Whether a PNG is one from signature to IEND and all its checksums are right (PNG 3, 5.3)."""
    if file.read(8) != _PNG:
        return False
    while len(head := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        check = zlib.crc32(kind)
        while length:
            piece = file.read(min(length, _PIECE))
            if not piece:
                return False
            check, length = zlib.crc32(piece, check), length - len(piece)
        if file.read(4) != struct.pack(">I", check):
            return False
        if kind == b"IEND":
            return not file.read(1)
    return False


@transaction.atomic
def orphan_delete(*, actor: Actor, name: str, older_than: timedelta) -> bool:
    """Remove an object that no row needs, with an audit event. False where it is not to be.

    That is where it is younger than ``older_than``, is gone, is needed by now, or where somebody is
    about to rely on it.
    """
    if not advisory_lock(*bytes_lock(name), wait=False):
        return False
    found = uploads().find(name)
    if found is None or clock_read() - found.at < older_than:
        return False
    if references_to([name]).get(name):
        return False
    audit_record(
        actor=actor,
        action="storage.orphan_deleted",
        object_type="bytes",
        detail={"name": name, "size": found.size, "since": found.at.isoformat()},
        every_site=True,
    )
    uploads().remove(name)
    return True
