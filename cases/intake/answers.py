"""Answers of the decoder child turned into values. The child is not trusted: all is checked."""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import Any

from cases.errors import ImageCorrupt
from cases.intake.checked import CheckedImage, DicomFacts, DicomIdentity
from cases.intake.formats import AS_SENT, MEDIA_TYPES, PNG_START
from cases.intake.privacy import plain_text

_LONGEST = 256


def checked_image(result: dict[str, Any], payload: bytes) -> CheckedImage:
    """The `CheckedImage` of an `inspect` answer; `ImageCorrupt` when it makes no sense."""
    try:
        return _checked_image(result, payload)
    except (KeyError, TypeError, ValueError) as error:
        raise ImageCorrupt from error


def is_png(data: bytes, size: tuple[int, int] | None = None) -> bool:
    """Whether `data` begins as a PNG, of `size` (width, height) if given."""
    if not data.startswith(PNG_START) or len(data) < 33:
        return False
    found = (int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big"))
    return size is None or found == size


def _checked_image(result: dict[str, Any], payload: bytes) -> CheckedImage:
    kind = result["format"]
    width, height, frames, frame = (
        _whole(result[name]) for name in ("width", "height", "frames", "frame")
    )
    facts = result["dicom"]
    is_dicom, drawn = kind == "DICOM", kind not in AS_SENT
    if not 0 <= frame < frames or is_dicom != (facts is not None):
        raise ValueError("contradictory answer")
    if drawn and not is_png(payload, (width, height)):
        raise ValueError("no picture of the frame")
    return CheckedImage(
        format=kind,
        media_type=MEDIA_TYPES[kind],
        width=width,
        height=height,
        frames=frames,
        frame=frame,
        frame_png=payload if drawn else None,
        dicom=_facts(facts) if is_dicom else None,
        facts={str(k): _simple(v) for k, v in result["facts"].items()},
    )


def _facts(values: dict[str, Any]) -> DicomFacts:
    given = dict(values)
    identity = _identity(given.pop("identity"))
    spacing, aspect = given.pop("spacing_mm"), given.pop("pixel_aspect_ratio")
    regions = tuple(
        {str(k): _simple(v) for k, v in region.items()} for region in given.pop("regions")
    )
    known = {field.name for field in dataclasses.fields(DicomFacts)}
    return DicomFacts(
        identity=identity,
        regions=regions,
        spacing_mm=None if spacing is None else (float(spacing[0]), float(spacing[1])),
        pixel_aspect_ratio=None if aspect is None else (_whole(aspect[0]), _whole(aspect[1])),
        **{name: _simple(value) for name, value in given.items() if name in known},
    )


def _identity(values: dict[str, Any]) -> DicomIdentity:
    given = dict(values)
    born = given.pop("birth_date")
    known = {field.name for field in dataclasses.fields(DicomIdentity)}
    texts = {name: plain_text(value)[:_LONGEST] for name, value in given.items() if name in known}
    return DicomIdentity(
        birth_date=None if born is None else dt.date.fromisoformat(born),
        **texts,
    )


def _whole(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError("not a whole number")
    return value


def _simple(value: Any) -> Any:
    """A number, a flag, None or a short line of text; nothing else comes through."""
    if value is None or isinstance(value, bool | int | float):
        return value
    return plain_text(value)[:_LONGEST]
