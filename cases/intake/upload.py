"""HTTP uploads: hashed while they stream in, and never silently dropped.

Set `FILE_UPLOAD_HANDLERS = ["cases.intake.upload.HashingUploadHandler"]`: the only handler. The
size limit is the setting `BCWEB_MAX_UPLOAD_BYTES`. In a view:

    for upload in request.FILES.getlist("file"):
        image = inspect(received(upload), limits)

Django closes the uploads at the end of the request, which removes their temporary files.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.core.files.uploadhandler import FileUploadHandler, SkipFile
from django.http import QueryDict
from django.http.multipartparser import MultiPartParser, MultiPartParserError
from django.utils.datastructures import MultiValueDict

from cases.intake.checked import Limits
from cases.intake.files import ReceivedFile, Spool, clean_name, receive, refuse

_CHUNK = 256 * 1024
__all__ = ["HashedUploadedFile", "HashingUploadHandler", "receive", "received"]


# Generic for the type checker only.
if TYPE_CHECKING:
    AnyUpload = UploadedFile[Any]
else:
    AnyUpload = UploadedFile


class HashedUploadedFile(AnyUpload):
    """An upload in a temporary file, with the hash of its bytes.

    `too_large` and `disk_full` tell that the bytes were counted but not kept; `received()` turns
    them into the right error. `close()` removes the temporary file.
    """

    def __init__(
        self,
        spool: Spool,
        name: str,
        content_type: str | None,
        charset: str | None,
        content_type_extra: dict[str, Any] | None,
    ) -> None:
        super().__init__(spool.file, name, content_type, spool.size, charset, content_type_extra)
        self._spool = spool
        self.display_name = clean_name(name)
        self.sha256 = spool.sha256
        self.too_large = spool.too_large
        self.disk_full = spool.disk_full

    def temporary_file_path(self) -> str:
        """Where the bytes are until `close()`."""
        return str(self._spool.path)

    def close(self) -> None:
        self._spool.discard()


class HashingUploadHandler(FileUploadHandler):
    """Streams each file of a request to a temporary file while hashing it (SHA-256)."""

    chunk_size = _CHUNK

    def __init__(self, request: Any = None) -> None:
        super().__init__(request)
        self._spools: list[Spool] = []
        self._spool: Spool | None = None
        self._parsing = False

    def handle_raw_input(
        self,
        input_data: Any,
        META: dict[str, Any],  # noqa: N803 - Django's name
        content_length: int,
        boundary: Any,
        encoding: str | None = None,
    ) -> tuple[QueryDict, MultiValueDict[str, AnyUpload]] | None:
        """Parse with a parser that drops nothing: no file with a hostile name, no cut request.

        Raises `MultiPartParserError` (answered with 400) when the request body ends before its
        stated length: Django would hand on what came before, as if it were all.
        """
        if self._parsing:
            return None
        self._parsing = True
        body: Any = _Counted(input_data)
        try:
            parsed = _KeepingParser(META, body, [self], encoding).parse()
            if body.read_to_end() < content_length:
                raise MultiPartParserError("The upload was cut off.")
        except BaseException:
            self.upload_interrupted()
            raise
        return parsed

    def new_file(self, *args: Any, **kwargs: Any) -> None:
        super().new_file(*args, **kwargs)
        if not _may_upload(self.request):
            # Read past, not stored: strangers must not fill the disk.
            raise SkipFile
        self._spool = Spool(settings.BCWEB_MAX_UPLOAD_BYTES, settings.FILE_UPLOAD_TEMP_DIR)
        self._spools.append(self._spool)

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        if self._spool is not None:
            self._spool.write(raw_data)

    def file_complete(self, file_size: int) -> HashedUploadedFile:
        spool = self._spool
        if spool is None:
            raise RuntimeError("file_complete without new_file")
        self._spool = None
        spool.finish()
        return HashedUploadedFile(
            spool,
            self.file_name or "",
            self.content_type,
            self.charset,
            self.content_type_extra,
        )

    def upload_interrupted(self) -> None:
        """Remove all files of this request."""
        for spool in self._spools:
            spool.discard()


class _Counted:
    """A request body that counts what was read of it."""

    def __init__(self, source: Any) -> None:
        self._source = source
        self._count = 0

    def read(self, size: int) -> bytes:
        data: bytes = self._source.read(size)
        self._count += len(data)
        return data

    def read_to_end(self) -> int:
        """Read and forget what is left; the length of the whole body."""
        while self.read(_CHUNK):
            pass
        return self._count


def _may_upload(request: Any) -> bool:
    """Whether the sender is known. Django parses a form before any view asks who sent it.

    The API asks first and parses then, so what gets here under its address is let in.
    """
    if request is None or request.path.startswith("/api/"):
        return True
    # Without the attribute there is no sign-in at all (commands, tests of this module).
    user = getattr(request, "user", None)
    return user is None or bool(user.is_authenticated)


class _KeepingParser(MultiPartParser):
    """Django's parser, except that a file named `..` or of control characters is kept.

    Django skips a part whose name is nothing after cleaning, as if it had not been sent; here it
    is taken in under the name "file". A part without any name is an empty form field: skipped.
    """

    def sanitize_file_name(self, file_name: str) -> str | None:
        return clean_name(super().sanitize_file_name(file_name) or "file")


def received(upload: AnyUpload) -> ReceivedFile:
    """The `ReceivedFile` of an upload; the upload stays the owner of the temporary file.

    Raises `FileTooLarge` or `Overloaded` (no room on the disk) for bytes that were not kept.
    Uploads of another handler (tests, other parsers) are copied to a temporary file first; their
    caller discards it.
    """
    if not isinstance(upload, HashedUploadedFile):
        limits = Limits(max_bytes=settings.BCWEB_MAX_UPLOAD_BYTES)
        upload.seek(0)
        return receive(upload.chunks(), upload.name or "", limits)
    refuse(upload._spool, upload.display_name)
    return ReceivedFile(
        name=upload.display_name,
        path=Path(os.fspath(upload.temporary_file_path())),
        size=upload.size or 0,
        sha256=upload.sha256,
    )
