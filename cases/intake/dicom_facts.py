"""The header of an ultrasound DICOM file in our own words: identity apart, technical facts.

Decoder child only. Attributes come from the allowlist in `privacy.py`; the results are plain
values that travel to the parent as JSON.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable
from typing import Any

from pydicom.dataset import Dataset

from cases.errors import DicomInvalid
from cases.intake.dicom_layout import Layout
from cases.intake.privacy import MAX_TEXT, plain_text

_UID = re.compile(r"[0-9.]{1,64}\Z")
# PS3.3 table C.8-18: units of a region's axes.
_UNITS = {
    0: "none", 1: "percent", 2: "dB", 3: "cm", 4: "s", 5: "Hz", 6: "dB/s", 7: "cm/s",
    8: "cm2", 9: "cm2/s", 10: "cm3", 11: "cm3/s", 12: "degrees",
}  # fmt: skip
_MM = {"cm": 10.0}
_2D, _TISSUE = 1, 1  # C.8.5.5.1.1 Region Spatial Format, C.8.5.5.1.2 Region Data Type
# Sides as modifiers of an anatomic region (CID 244), and breasts coded with their side (CID 4031),
# in SNOMED CT and in the SRT codes of older files.
_SIDE_CODES = {
    "7771000": "L", "G-A101": "L", "80248007": "L", "T-04030": "L",
    "24028007": "R", "G-A100": "R", "73056007": "R", "T-04020": "R",
    "51440002": "B", "G-A102": "B", "63762007": "B", "T-04080": "B",
}  # fmt: skip


def identity(header: Dataset) -> dict[str, Any]:
    """The fields of `DicomIdentity`; `DicomInvalid` for values the standard does not allow."""
    return {
        "patient_id": _strict(header, "PatientID", 64),
        "patient_issuer": _strict(header, "IssuerOfPatientID", 64)
        or _issuer(header.get("IssuerOfPatientIDQualifiersSequence")),
        "patient_name": _strict(header, "PatientName", 64 * 3 + 2),
        "birth_date": _date(header.get("PatientBirthDate")),
        "sex": _one_of(header.get("PatientSex"), ("M", "F", "O")),
        "accession_number": _strict(header, "AccessionNumber", 16),
        "accession_issuer": _issuer(header.get("IssuerOfAccessionNumberSequence")),
    }


def technical(header: Dataset, layout: Layout, transfer_syntax: str) -> dict[str, Any]:
    """The other fields of `DicomFacts`, except those that decoding adds."""
    regions = _regions(header, layout)
    return {
        "modality": _text(header, "Modality"),
        "study_instance_uid": _uid(header, "StudyInstanceUID"),
        "series_instance_uid": _uid(header, "SeriesInstanceUID"),
        "sop_instance_uid": _uid(header, "SOPInstanceUID"),
        "sop_class_uid": _uid(header, "SOPClassUID"),
        "transfer_syntax_uid": transfer_syntax,
        "photometric_interpretation": layout.photometric,
        "bits_stored": layout.stored,
        "manufacturer": _text(header, "Manufacturer"),
        "manufacturer_model": _text(header, "ManufacturerModelName"),
        "laterality": _laterality(header),
        "regions": regions,
        "spacing_mm": _spacing(header, regions),
        "pixel_aspect_ratio": _aspect(header),
        "frame_time_ms": _frame_time(header) if layout.frames > 1 else None,
        "burned_in_annotation": _one_of(header.get("BurnedInAnnotation"), ("YES", "NO")),
        "lossy": _text(header, "LossyImageCompression") == "01",
    }


# Text


def _strict(header: Dataset, keyword: str, longest: int) -> str:
    """Identifying text: never cut, never one of several (a part could name somebody else)."""
    value = header.get(keyword)
    text = plain_text(value)
    several = isinstance(value, Iterable) and not isinstance(value, str) and _is_list(value)
    if several or "\\" in text or len(text) > longest:
        raise DicomInvalid(f"The DICOM header holds a {keyword} that the standard does not allow.")
    return text


def _is_list(value: Any) -> bool:
    return hasattr(value, "append")


def _text(header: Dataset, keyword: str) -> str:
    value = header.get(keyword)
    first = value[0] if _is_list(value) and len(value) else value
    return plain_text("" if _is_list(first) else first)[:MAX_TEXT]


def _uid(header: Dataset, keyword: str) -> str:
    text = _text(header, keyword)
    if text and not _UID.match(text):
        raise DicomInvalid(f"The DICOM header holds a {keyword} that the standard does not allow.")
    return text


def _one_of(value: Any, allowed: tuple[str, ...]) -> str:
    text = plain_text(value).upper()
    return text if text in allowed else ""


def _issuer(sequence: Any) -> str:
    """The name of an assigning authority (PS3.3 table 10-17, HL7v2 hierarchic designator)."""
    if not sequence:
        return ""
    item = sequence[0]
    names = ("LocalNamespaceEntityID", "UniversalEntityID")
    return next((text for name in names if (text := _strict(item, name, 64))), "")


def _date(value: Any) -> str | None:
    """A date (DA, also with the full stops of ACR-NEMA) in ISO form; None when it is none."""
    digits = plain_text(value).replace(".", "")
    try:
        return dt.datetime.strptime(digits, "%Y%m%d").date().isoformat()  # noqa: DTZ007
    except ValueError:
        return None


# Side


def _laterality(header: Dataset) -> str:
    """The side all attributes agree on; "" when none says or they contradict each other.

    Image Laterality, Laterality, Frame Laterality of the shared functional groups, and the codes
    of the anatomic region with its modifiers.
    """
    said = {
        _one_of(header.get("ImageLaterality"), ("L", "R", "B")),
        _one_of(header.get("Laterality"), ("L", "R")),
        _frame_laterality(header),
        _coded_side(header.get("AnatomicRegionSequence"), "AnatomicRegionModifierSequence"),
        _coded_side(
            header.get("PrimaryAnatomicStructureSequence"),
            "PrimaryAnatomicStructureModifierSequence",
        ),
    } - {""}
    return said.pop() if len(said) == 1 else ""


def _frame_laterality(header: Dataset) -> str:
    groups = header.get("SharedFunctionalGroupsSequence")
    anatomy = groups[0].get("FrameAnatomySequence") if groups else None
    if not anatomy:
        return ""
    stated = _one_of(anatomy[0].get("FrameLaterality"), ("L", "R", "B"))
    return stated or _coded_side(
        anatomy[0].get("AnatomicRegionSequence"), "AnatomicRegionModifierSequence"
    )


def _coded_side(sequence: Any, modifiers: str) -> str:
    sides = set()
    for item in sequence or ():
        for coded in (item, *(item.get(modifiers) or ())):
            sides.add(_SIDE_CODES.get(plain_text(coded.get("CodeValue")), ""))
    sides.discard("")
    if sides == {"L", "R"}:
        return "B"
    return sides.pop() if len(sides) == 1 else ""


# Calibration


def _regions(header: Dataset, layout: Layout) -> list[dict[str, Any]]:
    items = list(header.get("SequenceOfUltrasoundRegions") or ())[:_MOST_REGIONS]
    return [region for item in items if (region := _region(item, layout)) is not None]


def _region(item: Dataset, layout: Layout) -> dict[str, Any] | None:
    x0, y0, x1, y1 = (_int(item.get(f"RegionLocation{corner}")) for corner in _CORNERS)
    if x0 is None or y0 is None or x1 is None or y1 is None:
        return None
    region: dict[str, Any] = {"x0": x0, "y0": y0, "x1": x1, "y1": y1}
    # Some devices count the far edge as outside.
    region["inside"] = x1 <= layout.columns and y1 <= layout.rows
    region["spatial_format"] = _int(item.get("RegionSpatialFormat"))
    region["data_type"] = _int(item.get("RegionDataType"))
    for axis, name in (("X", "x"), ("Y", "y")):
        code = _int(item.get(f"PhysicalUnits{axis}Direction"))
        unit = "" if code is None else _UNITS.get(code, "")
        delta = _float(item.get(f"PhysicalDelta{axis}"))
        region[f"units_{name}"] = unit
        region[f"delta_{name}"] = delta
        region[f"delta_{name}_mm"] = abs(delta) * _MM[unit] if delta and unit in _MM else None
    return region


_MOST_REGIONS = 64
_CORNERS = ("MinX0", "MinY0", "MaxX1", "MaxY1")


def _spacing(header: Dataset, regions: list[dict[str, Any]]) -> list[float] | None:
    """(row, column) mm: of the largest calibrated 2-D tissue region, else Pixel Spacing.

    A region that reaches beyond the frame belongs to the picture before somebody resized or cropped
    it: its calibration says nothing of these pixels.
    """
    calibrated = [
        r
        for r in regions
        if r["inside"]
        and r["delta_x_mm"]
        and r["delta_y_mm"]
        and r["spatial_format"] == _2D
        and r["data_type"] == _TISSUE
    ]
    if calibrated:
        region = max(calibrated, key=lambda r: (r["x1"] - r["x0"]) * (r["y1"] - r["y0"]))
        return [region["delta_y_mm"], region["delta_x_mm"]]
    stated = header.get("PixelSpacing")
    if not _is_list(stated) or len(stated) != 2:
        return None
    pair = [_float(v) for v in stated]
    return [v for v in pair if v] if all(v and 0 < v < 100 for v in pair) else None


def _aspect(header: Dataset) -> list[int] | None:
    stated = header.get("PixelAspectRatio")
    if not _is_list(stated) or len(stated) != 2:
        return None
    vertical, horizontal = (_int(v) or 0 for v in stated)
    if vertical <= 0 or horizontal <= 0 or vertical == horizontal:
        return None
    return [vertical, horizontal]


def _frame_time(header: Dataset) -> float | None:
    stated = _float(header.get("FrameTime"))
    if stated and stated > 0:
        return stated
    vector = header.get("FrameTimeVector")
    if _is_list(vector) and len(vector) > 1:
        steps = sorted(step for v in vector[1:] if (step := _float(v)) is not None)
        if steps and steps[len(steps) // 2] > 0:
            return steps[len(steps) // 2]
    for keyword in ("CineRate", "RecommendedDisplayFrameRate"):
        rate = _float(header.get(keyword))
        if rate and rate > 0:
            return 1000 / rate
    return None


def _int(value: Any) -> int | None:
    try:
        return None if value is None or value == "" else int(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _float(value: Any) -> float | None:
    try:
        number = None if value is None or value == "" else float(value)
    except (TypeError, ValueError):
        return None
    return number if number is not None and abs(number) < 1e12 else None
