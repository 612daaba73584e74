"""The uploaded files of a request, as the submission service takes them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

from django.core.files.uploadedfile import UploadedFile

from cases.intake.upload import HashedUploadedFile
from cases.services.uploads import Upload, upload_of


@contextmanager
def uploads_of(files: Sequence[UploadedFile[Any]]) -> Iterator[list[Upload]]:
    """``files`` as uploads; their temporary files are gone afterwards.

    A file over the size limit stays in the list: the service refuses or skips it. Raises
    ``Overloaded`` where there was no room to keep one.
    """
    try:
        yield [upload_of(cast(HashedUploadedFile, file)) for file in files]
    finally:
        for file in files:
            file.close()
