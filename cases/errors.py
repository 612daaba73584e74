"""Errors a user may read: one class per code of the published contract.

A `UserFacingError` carries a sentence for people, a `code` for programs and an HTTP status. All
other exceptions become one fixed sentence with a reference, and a logged traceback. Sentences
never hold identity values; `file` is the sender's own file name and belongs in the answer to the
sender only, never in a log.

No Django here: the decoder child and the commands import this module too.
"""

from __future__ import annotations


class UserFacingError(Exception):
    """A refusal that may be shown as it is. `detail` defaults to the class's own sentence."""

    code = "error"
    status = 400
    title = "The request was refused"
    default_detail = "The request was refused."

    def __init__(
        self,
        detail: str | None = None,
        *,
        file: str | None = None,
        errors: dict[str, list[str]] | None = None,
        retry_after: int | None = None,
    ) -> None:
        self.detail = self.default_detail if detail is None else detail
        self.file = file
        self.errors = errors
        self.retry_after = retry_after
        super().__init__(self.detail)


# Files: size 413, format 415, content 422.


class FileEmpty(UserFacingError):
    code = "file_empty"
    status = 422
    title = "The file is empty"
    default_detail = "The file holds no data. Export the image again and send it once more."


class FileTooLarge(UserFacingError):
    code = "file_too_large"
    status = 413
    title = "The file is too large"
    default_detail = "The file is larger than this service accepts."


class ImageUnsupported(UserFacingError):
    code = "image_unsupported"
    status = 415
    title = "The format is not supported"
    default_detail = (
        "The file is not an image this service reads. Send JPEG, PNG, BMP, TIFF, WebP or DICOM."
    )


class ImageCorrupt(UserFacingError):
    code = "image_corrupt"
    status = 422
    title = "The image is damaged"
    default_detail = (
        "The image is damaged or cut off and cannot be read whole. Export it again from the device."
    )


class ImageTooManyPixels(UserFacingError):
    code = "image_too_many_pixels"
    status = 422
    title = "The image has too many pixels"
    default_detail = "The image has more pixels than this service accepts."


class ImageTooSmall(UserFacingError):
    code = "image_too_small"
    status = 422
    title = "The image is too small"
    default_detail = "The image is too small to be read. Send it at its original size."


class ImageAnimated(UserFacingError):
    code = "image_animated"
    status = 422
    title = "The image is animated"
    default_detail = (
        "The file is an animation. Send a single still image, or the cine loop as DICOM."
    )


class DicomInvalid(UserFacingError):
    code = "dicom_invalid"
    status = 422
    title = "The DICOM file is not valid"
    default_detail = (
        "The DICOM file is damaged or does not follow the standard and cannot be read. "
        "Export it again from the device or the archive."
    )


class DicomNoPixels(UserFacingError):
    code = "dicom_no_pixels"
    status = 422
    title = "The DICOM file holds no image"
    default_detail = "The DICOM file holds no image, only text or measurements."


class DicomModality(UserFacingError):
    code = "dicom_modality"
    status = 422
    title = "Not an ultrasound image"
    default_detail = (
        "The DICOM file is not an ultrasound image. This service reads breast ultrasound only."
    )


class DicomTransferSyntax(UserFacingError):
    code = "dicom_transfer_syntax"
    status = 415
    title = "The DICOM compression is not supported"
    default_detail = (
        "The DICOM file is compressed in a way this service does not read. "
        "Export it uncompressed, or as JPEG, JPEG 2000 or RLE."
    )


class DicomEncapsulatedDocument(UserFacingError):
    code = "dicom_encapsulated_document"
    status = 422
    title = "The DICOM file holds a document"
    default_detail = "The DICOM file holds a document such as a PDF report, not an image."


class DicomFrameMismatch(UserFacingError):
    code = "dicom_frame_mismatch"
    status = 422
    title = "The number of frames does not match"
    default_detail = "The DICOM file announces another number of frames than it holds."


# The request and its fields.


class FieldInvalid(UserFacingError):
    code = "field_invalid"
    status = 422
    title = "Some fields are not valid"
    default_detail = "Some fields are missing or not valid."


class IdentityMismatch(UserFacingError):
    code = "identity_mismatch"
    status = 422
    title = "The form and the DICOM header name different patients or studies"
    default_detail = (
        "The DICOM header and the form disagree about the patient or the study. "
        "Check that the file belongs to this patient."
    )


class AccessionConflict(UserFacingError):
    code = "accession_conflict"
    status = 409
    title = "The accession number belongs to another patient"
    default_detail = "This accession number is already in use for another patient."


class DuplicateOfOtherPatient(UserFacingError):
    code = "duplicate_of_other_patient"
    status = 409
    title = "The same image was sent before under another patient"
    default_detail = (
        "Exactly this image was sent before under another patient. "
        "Check that the file belongs to this patient."
    )


class IdempotencyConflict(UserFacingError):
    code = "idempotency_conflict"
    status = 422
    title = "The Idempotency-Key was used for another request"
    default_detail = "This Idempotency-Key was used before with other fields or files."


class StateConflict(UserFacingError):
    code = "state_conflict"
    status = 409
    title = "Not possible in the present state"
    default_detail = "This is not possible in the present state. Load the page again."


# Access and load.


class NotFound(UserFacingError):
    code = "not_found"
    status = 404
    title = "Not found"
    default_detail = "There is nothing here, or you have no access to it."


class Erased(UserFacingError):
    code = "erased"
    status = 410
    title = "Erased"
    default_detail = "The data of this patient was erased. What is left is that it was."


class NotAuthenticated(UserFacingError):
    code = "not_authenticated"
    status = 401
    title = "Not signed in"
    default_detail = "Sign in, or send a valid access token."


class PermissionDenied(UserFacingError):
    code = "permission_denied"
    status = 403
    title = "Not allowed"
    default_detail = "Your role or token does not allow this."


class Throttled(UserFacingError):
    code = "throttled"
    status = 429
    title = "Too many requests"
    default_detail = "Too many requests in a short time. Wait a moment and try again."


class Overloaded(UserFacingError):
    code = "overloaded"
    status = 503
    title = "The service is busy"
    default_detail = "The service is busy and took nothing in. Try again in a moment."


_CLASSES: tuple[type[UserFacingError], ...] = (
    FileEmpty,
    FileTooLarge,
    ImageUnsupported,
    ImageCorrupt,
    ImageTooManyPixels,
    ImageTooSmall,
    ImageAnimated,
    DicomInvalid,
    DicomNoPixels,
    DicomModality,
    DicomTransferSyntax,
    DicomEncapsulatedDocument,
    DicomFrameMismatch,
    FieldInvalid,
    IdentityMismatch,
    AccessionConflict,
    DuplicateOfOtherPatient,
    IdempotencyConflict,
    StateConflict,
    NotFound,
    Erased,
    NotAuthenticated,
    PermissionDenied,
    Throttled,
    Overloaded,
)
ERRORS: dict[str, type[UserFacingError]] = {cls.code: cls for cls in _CLASSES}
FILE_ERROR_CODES: frozenset[str] = frozenset(cls.code for cls in _CLASSES[:13])
"""Codes that blame one file: a submission with `on_bad_file=skip` passes over exactly these."""
