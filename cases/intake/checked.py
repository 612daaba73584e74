"""What intake hands out, and the limits it is given. Plain frozen values, no Django."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import Any

MIB = 2**20


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds for one file. All are inclusive."""

    max_bytes: int = 256 * MIB
    """Size of the file."""
    max_pixels: int = 50_000_000
    """Width x height of one frame."""
    min_side_px: int = 48
    """Shorter side of the frame."""
    max_frames: int = 2_000
    """Frames of a cine loop."""
    wall_s: float = 20.0
    """Seconds the decoder child may take for one file."""
    memory_bytes: int = 2048 * MIB
    """Address space the decoder child may use for one file, beyond its program and libraries."""


@dataclass(frozen=True, slots=True)
class DicomIdentity:
    """Who and which study, as the DICOM header says. For the patient record; nowhere else.

    Text is decoded with the file's character set, without padding or control characters; absent
    is "" (or None). A value that the standard does not allow (too long, several) refuses the
    file rather than being cut: a cut patient ID could name somebody else.
    """

    patient_id: str = ""
    patient_issuer: str = ""
    patient_name: str = ""
    """PN string: `Family^Given^Middle^Prefix^Suffix`, up to three groups joined by `=`."""
    birth_date: dt.date | None = None
    sex: str = ""
    """M, F, O or ""."""
    accession_number: str = ""
    accession_issuer: str = ""


@dataclass(frozen=True, slots=True)
class DicomFacts:
    """The identity (kept apart) and the technical facts of a DICOM file.

    Only `identity` identifies a person. All else comes from the allowlist in `privacy.py`.
    """

    identity: DicomIdentity = field(default_factory=DicomIdentity)
    modality: str = "US"
    study_instance_uid: str = ""
    series_instance_uid: str = ""
    sop_instance_uid: str = ""
    sop_class_uid: str = ""
    transfer_syntax_uid: str = ""
    photometric_interpretation: str = ""
    bits_stored: int = 8
    manufacturer: str = ""
    manufacturer_model: str = ""
    laterality: str = ""
    """L, R, B, or "" when the header does not say or contradicts itself."""
    regions: tuple[dict[str, Any], ...] = ()
    """Sequence of Ultrasound Regions (PS3.3 C.8.5.5), one dict per region: x0, y0, x1, y1
    (pixels, inclusive), inside (whether it lies within the frame), spatial_format, data_type,
    units_x, units_y (words, "" when unknown), delta_x, delta_y (as stated, per pixel, in those
    units), delta_x_mm, delta_y_mm (None unless the unit is a length)."""
    spacing_mm: tuple[float, float] | None = None
    """(row, column) distance of pixel centres, only where the header states a calibration."""
    pixel_aspect_ratio: tuple[int, int] | None = None
    """(vertical, horizontal) size of a pixel where it is stated and not 1:1. The frame itself is
    not stretched."""
    representative_frame_rule: str = "single_frame"
    """single_frame, representative_frame_number (0028,6010) or middle_frame."""
    frame_time_ms: float | None = None
    burned_in_annotation: str = ""
    """YES, NO or ""."""
    lossy: bool = False
    """The pixels were lossily compressed at some time."""
    frames_decoded: int = 1
    """How many frames were decoded in full at intake (all, up to a stated amount of work)."""


@dataclass(frozen=True, slots=True)
class CheckedImage:
    """A file that was decoded in full and may be stored and read."""

    format: str
    """JPEG, PNG, BMP, TIFF, WEBP or DICOM."""
    media_type: str
    width: int
    """Pixels as displayed, after the EXIF orientation."""
    height: int
    frames: int
    frame: int
    """0-based index of the representative frame."""
    frame_png: bytes | None
    """What the model reads, unless it reads the file itself (JPEG, PNG): the representative frame,
    lossless, in display orientation and colours, 8 bits (grey stays grey)."""
    dicom: DicomFacts | None
    facts: dict[str, Any] = field(default_factory=dict)
    """Rasters: mode (Pillow's name), bits (per sample), orientation (EXIF, 1 to 8)."""
