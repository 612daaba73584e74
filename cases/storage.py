"""Uploaded bytes in Postgres behind Django's storage API (docs/adr/0001).

One transaction holds a row and its bytes: neither can exist without the other, a worker on
another machine needs no shared folder, and a backup is one dump.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import IO, Any

from django.core.files.base import File
from django.core.files.storage import Storage, storages
from django.db import transaction
from django.utils.deconstruct import deconstructible

from cases.models import Blob, BlobChunk

CHUNK_BYTES = 1024 * 1024
# Larger objects spill to a temporary file when read.
SPOOL_BYTES = 32 * 1024 * 1024


def blob_name(sha256: str) -> str:
    """Storage name of the bytes with this SHA-256 (content-addressed, so equal bytes share)."""
    return f"blobs/{sha256}"


def uploads() -> Storage:
    """The configured storage of uploaded bytes."""
    return storages["uploads"]


def _pieces(content: IO[bytes]) -> Iterator[bytes]:
    content.seek(0)
    while piece := content.read(CHUNK_BYTES):
        yield piece


@deconstructible
class PostgresStorage(Storage):
    """Names are primary keys; writing a name twice raises ``FileExistsError``.

    ``open`` raises ``FileNotFoundError`` for a name that is not there and ``OSError`` where
    chunks are missing.
    """

    def get_available_name(self, name: str, max_length: int | None = None) -> str:
        # Names are content hashes: another name for a taken one would break their meaning.
        return name

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

    def _open(self, name: str, mode: str = "rb") -> File[Any]:
        if mode != "rb":
            raise ValueError("stored bytes are read-only")
        blob = Blob.objects.filter(pk=name).first()
        if blob is None:
            raise FileNotFoundError(name)
        target = tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES)  # noqa: SIM115
        total = (blob.size + CHUNK_BYTES - 1) // CHUNK_BYTES
        for index in range(total):
            data = (
                BlobChunk.objects.filter(blob_id=name, index=index)
                .values_list("data", flat=True)
                .first()
            )
            if data is None:
                target.close()
                raise OSError(f"{name}: chunk {index} of {total} is missing")
            target.write(bytes(data))
        if target.tell() != blob.size:
            found = target.tell()
            target.close()
            raise OSError(f"{name}: {found} bytes instead of {blob.size}")
        target.seek(0)
        return File(target, name=name)

    def delete(self, name: str) -> None:
        Blob.objects.filter(pk=name).delete()

    def exists(self, name: str) -> bool:
        return Blob.objects.filter(pk=name).exists()

    def size(self, name: str) -> int:
        size = Blob.objects.filter(pk=name).values_list("size", flat=True).first()
        if size is None:
            raise FileNotFoundError(name)
        return size


def store_once(name: str, content: File[Any]) -> None:
    """Store ``content`` under a name made from its hash, unless it is there already.

    Two writers of the same bytes at once both succeed: the second waits for the first to commit
    and finds the name taken. Writers of several names take them in sorted order (deadlocks).
    """
    if uploads().exists(name):
        return
    with suppress(FileExistsError):
        uploads().save(name, content)


def read_bytes(name: str) -> bytes:
    """All bytes of a stored object. Raises ``FileNotFoundError`` or ``OSError``."""
    with uploads().open(name, "rb") as file:
        return bytes(file.read())


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
