"""A look at a file before it is submitted: what is wrong with it, or what its header says.

Nothing is stored, and nothing is compared with what is stored: who looks learns only what is in
the file they sent. The same decoder child decides as when it is submitted.
"""

from __future__ import annotations

from dataclasses import dataclass

from cases.access import Actor, Capability
from cases.errors import FILE_ERROR_CODES, UserFacingError
from cases.intake import CheckedImage
from cases.services.uploads import Upload, inspect_all
from cases.vocabulary import OnBadFile


@dataclass(frozen=True)
class Look:
    """What intake says of a file: the checked image, or the reason why it would be refused."""

    name: str
    image: CheckedImage | None = None
    refusal: UserFacingError | None = None


def file_look(*, actor: Actor, upload: Upload) -> Look:
    """Check one received file as a submission would. Writes nothing.

    Raises ``PermissionDenied`` without SUBMIT, and what is not the file's fault (``Overloaded``).
    """
    actor.require(Capability.SUBMIT)
    name = upload.received.name
    try:
        (checked,) = inspect_all([upload], OnBadFile.REJECT_ALL).good
    except UserFacingError as error:
        if error.code not in FILE_ERROR_CODES:
            raise
        return Look(name, refusal=error)
    return Look(name, image=checked.image)
