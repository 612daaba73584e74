"""How a DICOM header describes its pixels, checked before any of them is touched.

PS3.3 C.7.6.3 (Image Pixel module) and C.7.6.6 (Multi-frame). Decoder child only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from cases.errors import DicomFrameMismatch, DicomInvalid

Array = np.ndarray[Any, Any]

PHOTOMETRIC = {
    "MONOCHROME1": 1,
    "MONOCHROME2": 1,
    "PALETTE COLOR": 1,
    "RGB": 3,
    "YBR_FULL": 3,
    "YBR_FULL_422": 3,
    "YBR_PARTIAL_422": 3,
    "YBR_RCT": 3,
    "YBR_ICT": 3,
}
"""Colour models read here, with their samples per pixel."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The Image Pixel module (PS3.3 C.7.6.3), checked."""

    rows: int
    columns: int
    samples: int
    photometric: str
    planar: int
    allocated: int
    stored: int
    high_bit: int
    signed: bool
    frames: int

    @property
    def pixels(self) -> int:
        return self.rows * self.columns


def read_layout(header: Dataset) -> Layout:
    """The layout stated by the header; `DicomInvalid` when it is incomplete or impossible."""
    photometric = str(header.get("PhotometricInterpretation") or "").strip()
    if photometric not in PHOTOMETRIC:
        named = f" ({photometric[:16]})" if photometric.replace(" ", "").isalnum() else ""
        raise DicomInvalid(f"The colour model of the DICOM image{named} is not one we can read.")
    allocated = _number(header, "BitsAllocated")
    stored = _number(header, "BitsStored", allocated)
    layout = Layout(
        rows=_number(header, "Rows"),
        columns=_number(header, "Columns"),
        samples=_number(header, "SamplesPerPixel", PHOTOMETRIC[photometric]),
        photometric=photometric,
        planar=_number(header, "PlanarConfiguration", 0),
        allocated=allocated,
        stored=stored,
        high_bit=_number(header, "HighBit", stored - 1),
        # Colours have no sign, whatever some writers say (PS3.3 C.7.6.3.1.2).
        signed=_number(header, "PixelRepresentation", 0) == 1 and PHOTOMETRIC[photometric] == 1,
        frames=_frames(header),
    )
    sound = (
        layout.rows > 0
        and layout.columns > 0
        and layout.samples == PHOTOMETRIC[photometric]
        and layout.planar in (0, 1)
        and layout.allocated in (8, 16)
        and 0 < layout.stored <= layout.allocated
        and layout.stored - 1 <= layout.high_bit < layout.allocated
    )
    if not sound:
        raise DicomInvalid("The DICOM header describes its pixels in a way that cannot be right.")
    return layout


def _number(header: Dataset, keyword: str, default: int | None = None) -> int:
    value = header.get(keyword)
    if value is None or value == "":
        if default is None:
            raise DicomInvalid(f"The DICOM header does not state {keyword}.")
        return default
    try:
        return int(value)
    except (TypeError, ValueError):
        raise DicomInvalid(f"The DICOM header states {keyword} in a wrong way.") from None


def _frames(header: Dataset) -> int:
    frames = _number(header, "NumberOfFrames", 1)
    if frames < 1:
        raise DicomFrameMismatch(f"The DICOM header announces {frames} frames.")
    return frames
