"""Uploaded bytes in Postgres behind Django's storage API (docs/adr/0001).

One transaction holds a row and its bytes: neither can exist without the other, a worker on
another machine needs no shared folder, and a backup is one dump.
"""

from __future__ import annotations

import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import IO, Any, cast

from django.core.files.base import File
from django.core.files.storage import Storage, storages
from django.db import transaction
from django.db.models import BigIntegerField, Count, Exists, F, Func, Max, OuterRef, Sum
from django.utils.deconstruct import deconstructible

from cases.errors import Overloaded
from cases.models import Blob, BlobChunk
from cases.services.locks import advisory_lock

CHUNK_BYTES = 1024 * 1024
# Larger objects spill to a temporary file when read.
SPOOL_BYTES = 32 * 1024 * 1024


def blob_name(sha256: str) -> str:
    """Storage name of the bytes with this SHA-256 (content-addressed, so equal bytes share)."""
    return f"blobs/{sha256}"


class StorageUnavailable(Overloaded):
    """The storage does not answer, or refuses: what is stored is as good as it was."""

    default_detail = "The storage of images does not answer. Try again in a moment."


@dataclass(frozen=True)
class Stored:
    """An object as the storage lists it."""

    name: str
    size: int
    at: datetime


class UploadStorage(ABC, Storage):
    """Django's storage API and what the service asks beyond it. Names are those of `blob_name` and
    the like: never made of a file's own name, and written once."""

    # Where the bytes are, for people: "postgres", or a bucket.
    place: str

    def get_available_name(self, name: str, max_length: int | None = None) -> str:
        # Names are content hashes: another name for a taken one would break their meaning.
        return name

    def _open(self, name: str, mode: str = "rb") -> File[Any]:
        if mode != "rb":
            raise ValueError("stored bytes are read-only")
        target = tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES)  # noqa: SIM115
        try:
            for piece in self.pieces(name):
                target.write(piece)
        except BaseException:
            target.close()
            raise
        target.seek(0)
        return File(target, name=name)

    @abstractmethod
    def pieces(self, name: str) -> Generator[bytes]:
        """The bytes of an object, a piece at a time. Raises ``FileNotFoundError``, another
        ``OSError`` where the object is not whole, and ``StorageUnavailable``."""

    @abstractmethod
    def stored(self, *, after: str = "", limit: int = 500) -> list[Stored]:
        """The next objects in the order of their names; an empty list at the end."""

    @abstractmethod
    def find(self, name: str) -> Stored | None:
        """The object of this name."""

    @abstractmethod
    def half_written(self, names: Sequence[str]) -> dict[str, str]:
        """Of the objects with these names those that are not whole, and what is wrong."""

    @abstractmethod
    def strays(self) -> Iterator[str]:
        """Names of pieces that belong to no object."""

    @abstractmethod
    def present(self, names: Sequence[str]) -> set[str]:
        """Which of these names are stored."""

    @abstractmethod
    def claim(self, name: str) -> bool:
        """Whether the name is stored; if so it stays until the transaction ends."""

    @abstractmethod
    def remove(self, name: str) -> None:
        """Remove an object that no row needs, at once; the caller holds its `bytes_lock`."""

    def delete_all(self, names: Sequence[str]) -> None:
        """`delete` each of these."""
        for name in names:
            self.delete(name)

    def ping(self) -> None:
        """Raise ``StorageUnavailable`` where it does not answer."""
        self.exists("ping")

    def tidy(self) -> None:
        """Remove what this thread wrote in transactions that came to nothing, if it can be done."""


def uploads() -> UploadStorage:
    """The configured storage of uploaded bytes."""
    return cast(UploadStorage, storages["uploads"])


def bytes_lock(name: str) -> tuple[str, str]:
    """The parts of the advisory lock on a stored object.

    Who stores it or relies on it has it shared until the transaction of their row ends; who removes
    what no row needs has it alone, and waits for nothing else meanwhile. Deliveries and erasures
    keep out of each other's way by another lock (on the SHA-256), which comes before any row's.
    """
    return ("stored", name)


def _pieces(content: IO[bytes]) -> Iterator[bytes]:
    content.seek(0)
    while piece := content.read(CHUNK_BYTES):
        yield piece


@deconstructible
class PostgresStorage(UploadStorage):
    """Names are primary keys; writing a name twice raises ``FileExistsError``.

    ``open`` raises ``FileNotFoundError`` for a name that is not there and ``OSError`` where
    chunks are missing.
    """

    place = "postgres"

    def _save(self, name: str, content: File[Any]) -> str:
        with transaction.atomic():
            blob, created = Blob.objects.get_or_create(
                name=name, defaults={"size": content.size or 0}
            )
            if not created:
                raise FileExistsError(name)
            size = 0
            for index, piece in enumerate(_pieces(content)):
                BlobChunk.objects.create(blob=blob, index=index, data=piece)
                size += len(piece)
            if size != blob.size:
                blob.size = size
                blob.save(update_fields=["size"])
        return name

    def pieces(self, name: str) -> Generator[bytes]:
        blob = Blob.objects.filter(pk=name).first()
        if blob is None:
            raise FileNotFoundError(name)
        total, found = (blob.size + CHUNK_BYTES - 1) // CHUNK_BYTES, 0
        for index in range(total):
            data = (
                BlobChunk.objects.filter(blob_id=name, index=index)
                .values_list("data", flat=True)
                .first()
            )
            if data is None:
                raise OSError(f"{name}: chunk {index} of {total} is missing")
            found += len(data)
            yield bytes(data)
        if found != blob.size:
            raise OSError(f"{name}: {found} bytes instead of {blob.size}")

    def delete(self, name: str) -> None:
        Blob.objects.filter(pk=name).delete()

    def remove(self, name: str) -> None:
        self.delete(name)

    def exists(self, name: str) -> bool:
        return Blob.objects.filter(pk=name).exists()

    def size(self, name: str) -> int:
        size = Blob.objects.filter(pk=name).values_list("size", flat=True).first()
        if size is None:
            raise FileNotFoundError(name)
        return size

    def stored(self, *, after: str = "", limit: int = 500) -> list[Stored]:
        rows = Blob.objects.filter(name__gt=after).order_by("name")[:limit]
        return [Stored(blob.name, blob.size, blob.created_at) for blob in rows]

    def find(self, name: str) -> Stored | None:
        blob = Blob.objects.filter(pk=name).first()
        return Stored(blob.name, blob.size, blob.created_at) if blob else None

    def half_written(self, names: Sequence[str]) -> dict[str, str]:
        length = Func(
            F("chunks__data"), function="octet_length", output_field=BigIntegerField(null=True)
        )
        counted = (
            Blob.objects.filter(name__in=names)
            .annotate(pieces=Count("chunks"), last=Max("chunks__index"), found=Sum(length))
            .values_list("name", "size", "pieces", "last", "found")
        )
        faults = {}
        for name, size, pieces, last, found in counted:
            wanted = (size + CHUNK_BYTES - 1) // CHUNK_BYTES
            if pieces != wanted or (last or 0) != max(wanted - 1, 0):
                faults[name] = f"{pieces} chunks instead of {wanted}"
            elif (found or 0) != size:
                faults[name] = f"{found} bytes instead of {size}"
        return faults

    def strays(self) -> Iterator[str]:
        # The foreign key forbids them; a restore or a repair by hand may have passed it over.
        alone = BlobChunk.objects.filter(~Exists(Blob.objects.filter(pk=OuterRef("blob_id"))))
        return alone.order_by().values_list("blob_id", flat=True).distinct().iterator()

    def present(self, names: Sequence[str]) -> set[str]:
        return set(Blob.objects.filter(name__in=names).values_list("name", flat=True))

    def claim(self, name: str) -> bool:
        if not self.exists(name):
            # Of two writers the second waits at the primary key.
            return False
        advisory_lock(*bytes_lock(name), wait=True, shared=True)
        return self.exists(name)


def store_once(name: str, content: File[Any]) -> None:
    """Store ``content`` under a name made from its hash, unless it is there already.

    Two writers of the same bytes at once both succeed: the second waits for the first to commit
    and finds the name taken. Writers of several names take them in sorted order (deadlocks).
    What is there already is held until the transaction ends: nobody clears it away as an orphan
    before the caller's row refers to it.
    """
    if uploads().claim(name):
        return
    with suppress(FileExistsError):
        uploads().save(name, content)


def read_bytes(name: str, beside: Callable[[], None] = lambda: None) -> bytes:
    """All bytes of a stored object; ``beside`` is called after each piece of them. Raises
    ``FileNotFoundError`` or ``OSError`` where they are missing or damaged, ``StorageUnavailable``
    where the storage does not answer."""
    found = []
    with closing(uploads().pieces(name)) as pieces:
        for piece in pieces:
            found.append(piece)
            beside()
    return b"".join(found)


def read_small(names: Sequence[str]) -> dict[str, bytes]:
    """Of these objects those that are one whole piece in the database, in one query.

    A batch of pictures would cost two queries each. What is not among them, for whatever reason,
    is `read_bytes`' to fetch or to complain of.
    """
    if not isinstance(uploads(), PostgresStorage):
        return {}
    pieces = BlobChunk.objects.filter(blob_id__in=names, index=0, blob__size__lte=CHUNK_BYTES)
    rows = pieces.order_by().values_list("blob_id", "blob__size", "data")
    return {name: bytes(data) for name, size, data in rows if len(data) == size}
