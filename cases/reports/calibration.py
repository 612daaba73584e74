"""Where an image may be measured in millimetres, and why not elsewhere. Pure functions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext
from django.utils.translation import gettext_noop as _

from cases.models import Image

# Region Spatial Format and Region Data Type (PS3.3 C.8.5.5.1): two dimensions, tissue.
_2D, _TISSUE = 1, 1

NO_HEADER = _("No lengths: a {format} file does not say how large a pixel is; a DICOM image does.")
NOT_STATED = _("No lengths: the DICOM header states no calibration. Measure on the device.")
OUTSIDE = _(
    "No lengths: the calibration in the DICOM header is of a larger image; this one was cut or "
    "resized afterwards."
)


@dataclass(frozen=True)
class Area:
    """A calibrated part of the frame: its corners in pixels, and millimetres per pixel."""

    x0: float
    y0: float
    x1: float
    y1: float
    column_mm: float
    row_mm: float


@dataclass(frozen=True)
class Calibration:
    """The parts in which lengths mean something; ``why_not`` in a sentence where there are none."""

    areas: tuple[Area, ...]
    why_not: str


def calibration_of(image: Image) -> Calibration:
    """What the header lets one measure. A length is good within one area, never across two.

    Calibrated two-dimensional tissue regions (PS3.3 C.8.5.5), the smallest first, so that a picture
    within another one counts by its own; without any stated region, Pixel Spacing of the whole
    frame. Regions that reach beyond the frame, or that are no tissue, leave nothing to measure.
    """
    areas = _regions(image)
    if areas:
        return Calibration(areas, "")
    if not _stated(image) and image.spacing_row_mm and image.spacing_col_mm:
        whole = Area(0, 0, image.width, image.height, image.spacing_col_mm, image.spacing_row_mm)
        return Calibration((whole,), "")
    if image.format != "DICOM":
        return Calibration((), gettext(NO_HEADER).format(format=image.format))
    outside = any(not r.get("inside") and r.get("delta_x_mm") for r in _stated(image))
    return Calibration((), gettext(OUTSIDE if outside else NOT_STATED))


def _stated(image: Image) -> list[dict[str, Any]]:
    regions = (image.facts or {}).get("regions") or ()
    return [region for region in regions if isinstance(region, dict)]


def _regions(image: Image) -> tuple[Area, ...]:
    areas = [
        Area(
            x0=max(0, region["x0"]),
            y0=max(0, region["y0"]),
            # The corners are pixels that belong to the region; its edge lies behind the last one.
            x1=min(image.width, region["x1"] + 1),
            y1=min(image.height, region["y1"] + 1),
            column_mm=region["delta_x_mm"],
            row_mm=region["delta_y_mm"],
        )
        for region in _stated(image)
        if region.get("inside")
        and region.get("delta_x_mm")
        and region.get("delta_y_mm")
        and region.get("spatial_format") == _2D
        and region.get("data_type") == _TISSUE
    ]
    return tuple(sorted(areas, key=lambda a: (a.x1 - a.x0) * (a.y1 - a.y0)))
