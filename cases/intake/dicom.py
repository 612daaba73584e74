"""DICOM ultrasound: accepted or refused, every frame decoded, one frame drawn.

Decoder child only. Checks in this order, so that the answer names what matters most to the
sender: a readable header, no encapsulated document, an ultrasound image, pixels, a transfer syntax
we read, sizes, the number of frames, whole frames.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

from PIL import Image
from pydicom.uid import UID

from cases.errors import (
    DicomEncapsulatedDocument,
    DicomInvalid,
    DicomModality,
    DicomNoPixels,
    DicomTransferSyntax,
    FieldInvalid,
    ImageTooManyPixels,
    UserFacingError,
)
from cases.intake.checked import Limits
from cases.intake.dicom_colour import displayed
from cases.intake.dicom_facts import identity, technical
from cases.intake.dicom_file import UNDEFINED, DicomFile, open_dicom
from cases.intake.dicom_layout import Layout, read_layout
from cases.intake.dicom_pixels import READABLE, Frames, unreadable
from cases.intake.formats import MEDIA_TYPES
from cases.intake.privacy import plain_text
from cases.intake.raster import png_bytes
from cases.intake.raster_headers import check_size

T = TypeVar("T")
_STORAGE = "1.2.840.10008.5.1.4.1.1."
# Ultrasound Multi-frame Image and Ultrasound Image, each with its retired forerunner.
ULTRASOUND_CLASSES = frozenset(_STORAGE + tail for tail in ("3", "3.1", "6", "6.1"))
SOP_CLASSES = ULTRASOUND_CLASSES | frozenset(
    _STORAGE + tail
    for tail in (
        "7",  # Secondary Capture Image
        "7.2",  # Multi-frame Grayscale Byte Secondary Capture
        "7.3",  # Multi-frame Grayscale Word Secondary Capture
        "7.4",  # Multi-frame True Color Secondary Capture
    )
)
_DOCUMENTS = _STORAGE + "104."
WORK_SAMPLES = 300_000_000
"""Compressed samples decoded at intake, some seconds' worth. Beyond it, an even choice of frames is
decoded, the first, the last and the representative one among them; of the others the place is
checked, and they are decoded when somebody asks for them."""
SLOW_WORK_SAMPLES = 40_000_000
"""The same for the JPEG 2000 family, which takes several times as long."""


def inspect_dicom(path: Path, limits: Limits) -> tuple[dict[str, Any], bytes]:
    """Check and decode a DICOM file: the fields of a `CheckedImage`, and the frame as PNG."""
    file = open_dicom(path)
    with closing(file.stream):
        frames = _check(file, limits)
        layout = frames.layout
        chosen, rule = _guarded(lambda: representative_frame(file, layout))
        decoded = _decode_all(frames, chosen)
        image = _draw(frames, chosen)
        facts = _guarded(lambda: technical(file.header, layout, file.transfer_syntax))
        facts |= {
            "identity": _guarded(lambda: identity(file.header)),
            "representative_frame_rule": rule,
            "frames_decoded": decoded,
        }
    result = {
        "format": "DICOM",
        "media_type": MEDIA_TYPES["DICOM"],
        "width": image.width,
        "height": image.height,
        "frames": layout.frames,
        "frame": chosen,
        "dicom": facts,
        "facts": {},
    }
    return result, png_bytes(image)


def draw_dicom(path: Path, frame: int, limits: Limits) -> Image.Image:
    """Frame `frame` (0-based) as seen; `FieldInvalid` when there is none."""
    file = open_dicom(path)
    with closing(file.stream):
        frames = _check(file, limits)
        if not 0 <= frame < len(frames):
            raise FieldInvalid(errors={"frame": [f"This image has frames 0 to {len(frames) - 1}."]})
        return _draw(frames, frame)


def representative_frame(file: DicomFile, layout: Layout) -> tuple[int, str]:
    """The 0-based frame that stands for the loop, and the rule that chose it.

    Representative Frame Number (0028,6010), counted from 1, where the header states a valid one;
    else the middle frame, rounded down: sweeps begin and end beside the finding.
    """
    if layout.frames == 1:
        return 0, "single_frame"
    stated = file.header.get("RepresentativeFrameNumber")
    if isinstance(stated, int) and 1 <= stated <= layout.frames:
        return stated - 1, "representative_frame_number"
    return (layout.frames - 1) // 2, "middle_frame"


def _check(file: DicomFile, limits: Limits) -> Frames:
    _guarded(lambda: _check_kind(file))
    if file.pixels is None or (file.pixels.length == 0):
        raise DicomNoPixels
    if file.pixels.kind != "integer":
        raise DicomInvalid("The DICOM file holds floating-point pixels, which no ultrasound has.")
    if file.transfer_syntax not in READABLE:
        raise DicomTransferSyntax(unreadable(file.transfer_syntax))
    layout = _guarded(lambda: read_layout(file.header))
    check_size(layout.columns, layout.rows, limits)
    if layout.frames > limits.max_frames and file.pixels.length == UNDEFINED:
        raise too_many_frames(layout.frames, limits)
    frames = Frames(file, layout)
    if len(frames) > limits.max_frames:
        raise too_many_frames(len(frames), limits)
    return frames


def too_many_frames(frames: int, limits: Limits) -> ImageTooManyPixels:
    """The refusal of a loop longer than `limits.max_frames`."""
    return ImageTooManyPixels(
        f"The DICOM loop has {frames:,} frames. This service accepts up to {limits.max_frames:,}."
    )


def _check_kind(file: DicomFile) -> None:
    """Refuse documents, other modalities and objects that are no plain ultrasound image."""
    header = file.header
    sop_class = plain_text(header.get("SOPClassUID"))
    if not sop_class:
        raise DicomInvalid("The DICOM header does not state what kind of object it is.")
    if sop_class.startswith(_DOCUMENTS) or "MIMETypeOfEncapsulatedDocument" in header:
        raise DicomEncapsulatedDocument
    modality = plain_text(header.get("Modality")).upper()
    # Only ultrasound devices write the ultrasound classes: there, an empty modality is no doubt.
    if modality != "US" and (modality or sop_class not in ULTRASOUND_CLASSES):
        named = modality[:16] if modality.isalnum() else "none stated"
        raise DicomModality(
            f"The DICOM file is not an ultrasound image (its modality: {named}). "
            "This service reads breast ultrasound only."
        )
    if sop_class not in SOP_CLASSES:
        if file.pixels is None:
            raise DicomNoPixels
        uid = UID(sop_class)
        named = uid.name if uid.type == "SOP Class" else "a kind outside the standard"
        raise DicomModality(
            f"The DICOM file is not a plain ultrasound image but {named}. "
            "Send the two-dimensional image or loop."
        )


def _decode_all(frames: Frames, chosen: int) -> int:
    """Decode every frame, one at a time, up to `WORK_SAMPLES`; how many were decoded."""
    count = len(frames)
    if not frames.compressed:
        return count
    slow = frames.syntax.startswith("1.2.840.10008.1.2.4.9") or ".4.20" in frames.syntax
    budget = SLOW_WORK_SAMPLES if slow else WORK_SAMPLES
    affordable = max(3, budget // (frames.layout.pixels * frames.layout.samples))
    indices = list(range(count))
    if affordable < count:
        step = (count - 1) / (affordable - 1)
        indices = sorted({round(i * step) for i in range(affordable)})
    for index in indices:
        if index != chosen:
            frames.decode(index)
    return len({*indices, chosen})


def _draw(frames: Frames, index: int) -> Image.Image:
    values, photometric = frames.decode(index)
    file = frames.file
    return _guarded(
        lambda: displayed(
            values, photometric, frames.layout, file.header, little_endian=file.little_endian
        )
    )


def _guarded(read: Callable[[], T]) -> T:
    """Run `read`; an attribute that breaks the parser makes the file invalid, not us."""
    try:
        return read()
    except (UserFacingError, MemoryError):
        raise
    except Exception as error:
        raise DicomInvalid from error
