"""Uploaded bytes in an S3-compatible bucket (docs/adr/0009): for sites that outgrow Postgres.

Here row and bytes live in two systems, so the order of things matters:

- an object is written before the row that needs it, in the transaction of that row, under a shared
  lock on its name that ends with the transaction: who finds an object without a row and cannot have
  the lock alone sees a delivery under way;
- an object is removed only by who has that lock alone, after the transaction that let go of it was
  committed, and only where no row needs it;
- what a rolled-back transaction has written is removed at the end of the request, where that can be
  done; else `verify_storage` finds it.

Every object is one PUT of at most 5 GiB: it is there whole or not at all.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from time import monotonic
from typing import Any

import structlog
from botocore.exceptions import BotoCoreError, ClientError
from django.core.files.base import File
from django.db import DatabaseError, connection, transaction
from django.utils.deconstruct import deconstructible
from storages.backends.s3 import S3Storage

from cases.services.locks import advisory_lock
from cases.services.stored import references_to
from cases.storage import StorageUnavailable, Stored, UploadStorage, bytes_lock

log = structlog.get_logger(__name__)

_PIECE = 256 * 1024
# Bytes a second; a body that comes more slowly is given up.
_SLOWEST = 256 * 1024
_RIGHTS = ("AccessDenied", "403", "Forbidden")
# So many names stand in one line of the log.
_NAMES_A_LINE = 100
_mine = threading.local()


def _unsettled() -> set[str]:
    """Names that this thread has written in transactions that were not committed, so far."""
    if not hasattr(_mine, "names"):
        _mine.names = set()
    names: set[str] = _mine.names
    return names


@contextmanager
def _asking() -> Iterator[None]:
    """Whatever the bucket answers but "no such object" means that it is not to be had now."""
    try:
        yield
    except ClientError as error:
        told = error.response.get("Error", {}).get("Code", "")
        # Not for want of a network, and nothing mends it by itself: the key may not do this.
        why = "rights" if told in _RIGHTS else "refused"
        log.warning("storage_refused", code=told, why=why)
        raise StorageUnavailable() from error
    except BotoCoreError as error:
        log.warning("storage_away", error=type(error).__name__)
        raise StorageUnavailable() from error


def _is_absent(error: ClientError) -> bool:
    # The answer to HEAD has no body, so no better code than its status.
    return error.response.get("Error", {}).get("Code") in ("NoSuchKey", "404", "NotFound")


@deconstructible
class S3Uploads(UploadStorage, S3Storage):  # type: ignore[misc]
    """Names are keys below the prefix; writing a name twice raises ``FileExistsError``.

    ``open`` raises ``FileNotFoundError``; everything may raise ``StorageUnavailable``. Writing
    needs a transaction.
    """

    @property
    def place(self) -> str:  # type: ignore[override]
        return f"s3://{self.bucket_name}/{self.location}".rstrip("/")

    @property
    def _client(self) -> Any:
        return self.connection.meta.client

    def _at(self, name: str) -> dict[str, str]:
        return {"Bucket": self.bucket_name, "Key": f"{self._prefix}{name}"}

    @property
    def _prefix(self) -> str:
        return f"{self.location}/" if self.location else ""

    def _save(self, name: str, content: File[Any]) -> str:
        self._hold(name)
        if self.exists(name):
            raise FileExistsError(name)
        _unsettled().add(name)
        transaction.on_commit(lambda: _unsettled().discard(name))
        content.seek(0)
        try:
            with _asking():
                # Where the server knows the condition it holds whatever we believe.
                self._client.put_object(
                    **self._at(name),
                    Body=content.file,
                    ContentType="application/octet-stream",
                    IfNoneMatch="*",
                )
        except StorageUnavailable as error:
            cause = error.__cause__
            if isinstance(cause, ClientError) and _status(cause) == 412:
                raise FileExistsError(name) from error
            raise
        return name

    def pieces(self, name: str) -> Generator[bytes]:
        with _asking():
            try:
                answer = self._client.get_object(**self._at(name))
            except ClientError as error:
                if _is_absent(error):
                    raise FileNotFoundError(name) from error
                raise
            # One that trickles is no better than one that hangs.
            seconds = self.client_config.read_timeout + answer["ContentLength"] / _SLOWEST
            until = monotonic() + seconds
            with closing(answer["Body"]) as body:
                # Raises where it ends before its length.
                for piece in body.iter_chunks(_PIECE):
                    yield piece
                    if monotonic() > until:
                        log.warning("storage_slow", name=name, seconds=round(seconds))
                        raise StorageUnavailable()

    def find(self, name: str) -> Stored | None:
        with _asking():
            try:
                head = self._client.head_object(**self._at(name))
            except ClientError as error:
                if _is_absent(error):
                    return None
                raise
        return Stored(name, head["ContentLength"], head["LastModified"])

    def exists(self, name: str) -> bool:
        return self.find(name) is not None

    def size(self, name: str) -> int:
        found = self.find(name)
        if found is None:
            raise FileNotFoundError(name)
        return found.size

    def stored(self, *, after: str = "", limit: int = 500) -> list[Stored]:
        start = {"StartAfter": f"{self._prefix}{after}"} if after else {}
        with _asking():
            page = self._client.list_objects_v2(
                Bucket=self.bucket_name, Prefix=self._prefix, MaxKeys=limit, **start
            )
        return [
            Stored(found["Key"].removeprefix(self._prefix), found["Size"], found["LastModified"])
            for found in page.get("Contents", [])
        ]

    def half_written(self, names: Sequence[str]) -> dict[str, str]:
        # One PUT is whole or nothing.
        return {}

    def strays(self) -> Iterator[str]:
        return iter(())

    def present(self, names: Sequence[str]) -> set[str]:
        return {name for name in names if self.exists(name)}

    def claim(self, name: str) -> bool:
        self._hold(name)
        return self.exists(name)

    def ping(self) -> None:
        with _asking():
            # Asks for no right that the rest does not need.
            self._client.list_objects_v2(Bucket=self.bucket_name, Prefix=self._prefix, MaxKeys=1)

    def remove(self, name: str) -> None:
        with _asking():
            self._client.delete_object(**self._at(name))

    def delete(self, name: str) -> None:
        self.delete_all([name])

    def delete_all(self, names: Sequence[str]) -> None:
        """Remove the objects once the caller's transaction is committed, those that no row needs
        then. Until it is, the rows that it lets go of may come back.

        Their names are logged before: whoever cuts this off finds there what was to go.
        """
        if going := list(names):
            transaction.on_commit(lambda: self._clear_all(going))

    def tidy(self) -> None:
        names = _unsettled()
        while names:
            name = names.pop()
            if not self._clear(name, wait=False):
                log.error("stored_bytes_left", first=name, remaining=1)

    def _hold(self, name: str) -> None:
        if not connection.in_atomic_block:
            raise transaction.TransactionManagementError("bytes are written in a transaction")
        advisory_lock(*bytes_lock(name), wait=True, shared=True)

    def _clear_all(self, names: Sequence[str]) -> None:
        for at in range(0, len(names), _NAMES_A_LINE):
            log.info("stored_bytes_going", names=names[at : at + _NAMES_A_LINE])
        for done, name in enumerate(names):
            if not self._clear(name, wait=True):
                # Not asked for each of them, for as long as that takes: somebody waits.
                log.error("stored_bytes_left", first=name, remaining=len(names) - done)
                return

    def _clear(self, name: str, *, wait: bool) -> bool:
        """Remove what no row needs. Never raises, but is False where it could not be done: the
        caller's work is done, and what stays is an orphan that `verify_storage` finds."""
        try:
            with transaction.atomic():
                if not advisory_lock(*bytes_lock(name), wait=wait):
                    return True
                if not references_to([name]).get(name):
                    self.remove(name)
        except (StorageUnavailable, DatabaseError) as error:
            log.error("stored_bytes_not_removed", name=name, error=type(error).__name__)
            return False
        return True


def _status(error: ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
