"""Files on their way into a submission: received, then decoded in the sandbox, then good or not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cases import intake
from cases.errors import FILE_ERROR_CODES, FileTooLarge, UserFacingError
from cases.intake.files import too_large
from cases.intake.upload import HashedUploadedFile, received
from cases.services.limits import limits
from cases.vocabulary import OnBadFile

# Pictures of frames wait in memory until they are stored: this much per submission.
MAX_FRAME_BYTES = 256 * 1024 * 1024


@dataclass(frozen=True)
class Upload:
    """A file as it came in: hashed while streaming, not yet looked at."""

    received: intake.ReceivedFile
    too_large: bool = False


@dataclass(frozen=True)
class Checked:
    """A file that was decoded in full."""

    upload: Upload
    image: intake.CheckedImage

    @property
    def name(self) -> str:
        return self.upload.received.name


@dataclass
class SortedFiles:
    """The good files in the sender's order, and what was skipped and why."""

    good: list[Checked] = field(default_factory=list)
    skipped: list[dict[str, str]] = field(default_factory=list)


def upload_of(file: HashedUploadedFile) -> Upload:
    """An HTTP upload (an item of request.FILES) as this service takes it; the caller closes it.

    A file over the size limit stays in the list: it is refused, or skipped, like any bad file.
    Raises ``Overloaded`` where the disk had no room for the bytes.
    """
    if isinstance(file, HashedUploadedFile) and file.too_large:
        counted = intake.ReceivedFile(
            name=file.display_name,
            path=Path(file.temporary_file_path()),
            size=file.size or 0,
            sha256=file.sha256,
        )
        return Upload(counted, too_large=True)
    return Upload(received(file))


def inspect_all(uploads: Sequence[Upload], on_bad_file: OnBadFile) -> SortedFiles:
    """Decode every file in the sandbox; a bad one refuses all, or is skipped and reported.

    Raises the file's error, naming it, for the first bad file with `reject_all`, and where no
    file is good.
    """
    files = SortedFiles()
    first_error: UserFacingError | None = None
    waiting = 0
    for upload in uploads:
        try:
            checked = Checked(upload, _inspect(upload))
            waiting += len(checked.image.frame_png or b"")
            if waiting > MAX_FRAME_BYTES:
                raise FileTooLarge(
                    "The images of this submission are too large together. Send fewer at once."
                )
            files.good.append(checked)
        except UserFacingError as error:
            error.file = upload.received.name
            if error.code not in FILE_ERROR_CODES or on_bad_file is OnBadFile.REJECT_ALL:
                raise
            first_error = first_error or error
            files.skipped.append(
                {"file": upload.received.name, "code": error.code, "detail": error.detail}
            )
    if not files.good and first_error is not None:
        raise first_error
    return files


def _inspect(upload: Upload) -> intake.CheckedImage:
    if upload.too_large:
        raise too_large(upload.received.name, limits().max_bytes)
    return intake.inspect(upload.received, limits())
