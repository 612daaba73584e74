"""The two things the rest of the service asks of intake: check a file, draw a frame."""

from __future__ import annotations

import os

from cases.errors import FileEmpty, ImageCorrupt, UserFacingError
from cases.intake import sandbox
from cases.intake.answers import checked_image, is_png
from cases.intake.checked import CheckedImage, Limits
from cases.intake.files import ReceivedFile, too_large


def inspect(file: ReceivedFile, limits: Limits | None = None) -> CheckedImage:
    """Decode `file` once, in full, in a child process, and say what it is.

    Raises a `UserFacingError` with `file` set: one of the contract's file codes when the file is
    at fault, `Overloaded` when no decoder was free in time or none could be started.
    """
    limits = limits or Limits()
    try:
        if file.size == 0:
            raise FileEmpty
        if file.size > limits.max_bytes:
            raise too_large(file.name, limits.max_bytes)
        result, payload = sandbox.pool().run("inspect", file.path, limits)
        return checked_image(result, payload)
    except UserFacingError as error:
        error.file = file.name
        raise


def render_frame(
    path: str | os.PathLike[str], frame: int = 0, limits: Limits | None = None
) -> bytes:
    """Frame `frame` (0-based) of the stored file as a lossless 8-bit PNG, as displayed.

    Raster files have frame 0 only. Raises `FieldInvalid` (field `frame`) when there is no such
    frame, else as `inspect`.
    """
    return render_preview(path, frame, limits)


def render_preview(
    path: str | os.PathLike[str],
    frame: int = 0,
    limits: Limits | None = None,
    max_side: int | None = None,
) -> bytes:
    """As `render_frame`, made smaller so that the longer side is at most `max_side` pixels."""
    _, png = sandbox.pool().run("render", path, limits or Limits(), frame=frame, max_side=max_side)
    if not is_png(png):
        raise ImageCorrupt
    return png
