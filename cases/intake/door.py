"""The two things the rest of the service asks of intake: check a file, draw a frame."""

from __future__ import annotations

import os

from cases.intake.checked import CheckedImage, Limits
from cases.intake.files import ReceivedFile


def inspect(file: ReceivedFile, limits: Limits | None = None) -> CheckedImage:
    """Decode `file` once, in full, in a child process, and say what it is.

    Raises a `UserFacingError` with `file` set: one of the contract's file codes when the file is
    at fault, `Overloaded` when no decoder was free in time or none could be started.
    """
    raise NotImplementedError


def render_frame(
    path: str | os.PathLike[str], frame: int = 0, limits: Limits | None = None
) -> bytes:
    """Frame `frame` (0-based) of the stored file as a lossless 8-bit PNG, as displayed.

    JPEG and PNG have frame 0 only. Raises `FieldInvalid` (field `frame`) when there is no such
    frame, else as `inspect`.
    """
    raise NotImplementedError


def render_preview(
    path: str | os.PathLike[str],
    frame: int = 0,
    limits: Limits | None = None,
    max_side: int | None = None,
) -> bytes:
    """As `render_frame`, made smaller so that the longer side is at most `max_side` pixels."""
    raise NotImplementedError
