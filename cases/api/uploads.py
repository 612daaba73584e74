"""The uploaded files of a request, as the submission service takes them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.core.files.uploadedfile import UploadedFile

from cases import intake
from cases.intake.upload import HashedUploadedFile, received
from cases.services.submission import Upload


@contextmanager
def uploads_of(files: Sequence[UploadedFile[Any]]) -> Iterator[list[Upload]]:
    """``files`` as uploads; their temporary files are gone afterwards.

    A file over the size limit stays in the list: the service refuses or skips it. Raises
    ``Overloaded`` where there was no room to keep one.
    """
    try:
        yield [_upload(file) for file in files]
    finally:
        for file in files:
            file.close()


def _upload(file: UploadedFile[Any]) -> Upload:
    if isinstance(file, HashedUploadedFile) and file.too_large:
        dropped = intake.ReceivedFile(
            name=file.display_name,
            path=Path(file.temporary_file_path()),
            size=file.size or 0,
            sha256=file.sha256,
        )
        return Upload(dropped, too_large=True)
    return Upload(received(file))
