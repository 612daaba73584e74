"""The files of a request as the submission service takes them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from django.core.files.uploadedfile import UploadedFile

from cases import intake
from cases.intake.upload import HashedUploadedFile, received
from cases.services.submission import Upload


def uploads_of(files: Iterable[UploadedFile]) -> list[Upload]:
    """Each uploaded file, in the order sent. The request stays the owner of the bytes.

    A file over the limit is handed on as such, so that `on_bad_file` applies to it. Raises
    ``Overloaded`` where the disk is full.
    """
    return [_upload(file) for file in files]


def _upload(file: UploadedFile) -> Upload:
    if isinstance(file, HashedUploadedFile) and file.too_large:
        placeholder = intake.ReceivedFile(
            name=file.display_name,
            path=Path(file.temporary_file_path()),
            size=file.size or 0,
            sha256=file.sha256,
        )
        return Upload(received=placeholder, too_large=True)
    return Upload(received=received(file))
