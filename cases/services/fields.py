"""The fields of a submission: one parser for the portal's form, the API and the commands."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Any, TypeVar

from django.utils import timezone

from cases.errors import FieldInvalid
from cases.vocabulary import (
    Indication,
    Laterality,
    OnBadFile,
    Priority,
    Quadrant,
    Sex,
    clock_allows_quadrant,
)

T = TypeVar("T")
E = TypeVar("E", bound=StrEnum)

# PS3.5 6.2: backslash separates values and control characters are not text.
_FORBIDDEN = re.compile(
    r"[\\\x00-\x1f\x7f-\x9f\ud800-\udfff\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff]"
)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")

FIELD_NAMES = (
    "patient_id",
    "patient_issuer",
    "accession_number",
    "accession_issuer",
    "patient_name",
    "birth_date",
    "sex",
    "laterality",
    "clock_position",
    "quadrant",
    "nipple_distance_mm",
    "indication",
    "priority",
    "on_bad_file",
)


@dataclass(frozen=True)
class SubmissionFields:
    """Checked fields. Empty strings and None: not given (a DICOM header may still tell)."""

    patient_id: str = ""
    patient_issuer: str = ""
    accession_number: str = ""
    accession_issuer: str = ""
    patient_name: str = ""
    birth_date: date | None = None
    sex: str = ""
    laterality: Laterality = Laterality.UNKNOWN
    clock_position: int | None = None
    quadrant: Quadrant | None = None
    nipple_distance_mm: Decimal | None = None
    indication: Indication | None = None
    priority: Priority = Priority.ROUTINE
    on_bad_file: OnBadFile = OnBadFile.REJECT_ALL

    @property
    def has_location(self) -> bool:
        """Whether the fields speak of a place within the breast."""
        return (
            self.clock_position is not None
            or self.quadrant is not None
            or self.nipple_distance_mm is not None
        )

    def given(self) -> list[str]:
        """Names of the fields that say more than nothing said."""
        nothing = SubmissionFields()
        return sorted(
            name for name, value in asdict(self).items() if value != getattr(nothing, name)
        )

    def canonical(self) -> dict[str, str]:
        """The fields as text, for comparing two requests under one Idempotency-Key."""
        return {name: "" if v is None else str(v) for name, v in sorted(asdict(self).items())}


def reason_check(reason: str) -> str:
    """A free-text reason, trimmed. Raises ``FieldInvalid`` over 500 characters or for controls."""
    text = reason.strip()
    if len(text) > 500 or _CONTROL.search(text):
        raise FieldInvalid(errors={"override_reason": ["At most 500 characters of plain text."]})
    return text


def submission_fields_parse(raw: Mapping[str, Any]) -> SubmissionFields:
    """Check the raw fields of a form or request.

    Unknown names are ignored (a form carries more than these). Raises ``FieldInvalid`` with
    ``errors`` by field name, all of them at once.
    """
    reader = _Reader(raw)
    fields = SubmissionFields(
        patient_id=reader.text("patient_id", 64),
        patient_issuer=reader.text("patient_issuer", 64),
        accession_number=reader.text("accession_number", 16),
        accession_issuer=reader.text("accession_issuer", 64),
        patient_name=reader.parsed("patient_name", _person_name, ""),
        birth_date=reader.parsed("birth_date", _birth_date, None),
        sex=str(reader.choice("sex", Sex, None) or ""),
        laterality=reader.choice("laterality", Laterality, None) or Laterality.UNKNOWN,
        clock_position=reader.parsed("clock_position", _clock, None),
        quadrant=reader.choice("quadrant", Quadrant, None),
        nipple_distance_mm=reader.parsed("nipple_distance_mm", _distance, None),
        indication=reader.choice("indication", Indication, None),
        priority=reader.choice("priority", Priority, None) or Priority.ROUTINE,
        on_bad_file=reader.choice("on_bad_file", OnBadFile, None) or OnBadFile.REJECT_ALL,
    )
    if not reader.errors:
        _refuse_contradictions(fields, reader)
    if reader.errors:
        raise FieldInvalid(errors=reader.errors)
    return fields


class _Reader:
    """Reads one mapping and gathers what is wrong with it."""

    def __init__(self, raw: Mapping[str, Any]) -> None:
        self.raw = raw
        self.errors: dict[str, list[str]] = {}

    def add(self, name: str, sentence: str) -> None:
        self.errors.setdefault(name, []).append(sentence)

    def value(self, name: str) -> str:
        value = self.raw.get(name)
        if value is None:
            return ""
        if isinstance(value, bool | list | dict):
            self.add(name, "Send plain text.")
            return ""
        # Leading and trailing spaces are padding in DICOM and typing slips in a form.
        return str(value).strip()

    def text(self, name: str, limit: int) -> str:
        value = self.value(name)
        if _FORBIDDEN.search(value):
            self.add(name, "Backslashes and control characters are not allowed.")
        elif len(value) > limit:
            self.add(name, f"At most {limit} characters.")
        return value

    def parsed(self, name: str, parse: Callable[[str], T], default: T) -> T:
        value = self.value(name)
        if not value:
            return default
        try:
            return parse(value)
        except ValueError as error:
            self.add(name, str(error))
            return default

    def choice(self, name: str, choices: type[E], default: E | None) -> E | None:
        value = self.value(name)
        if not value:
            return default
        try:
            return choices(value)
        except ValueError:
            self.add(name, "Choose one of: " + ", ".join(c.value for c in choices) + ".")
            return default


def _person_name(value: str) -> str:
    """PN (PS3.5 6.2.1): up to three groups by `=`, up to five components by `^`."""
    groups = value.split("=")
    if _FORBIDDEN.search(value):
        raise ValueError("Backslashes and control characters are not allowed.")
    if len(groups) > 3 or any(g.count("^") > 4 or len(g) > 64 for g in groups):
        raise ValueError("Write the name as Family^Given, at most 64 characters.")
    return value


def _birth_date(value: str) -> date:
    try:
        if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", value):
            raise ValueError
        day = date.fromisoformat(value)
    except ValueError:
        raise ValueError("Write the date as YYYY-MM-DD, for example 1968-04-30.") from None
    if day > timezone.localdate():
        raise ValueError("The date of birth lies in the future.")
    if day.year < 1880:
        raise ValueError("The date of birth lies too far in the past.")
    return day


def _clock(value: str) -> int:
    if not re.fullmatch(r"0?[1-9]|1[0-2]", value):
        raise ValueError("A whole number from 1 to 12.")
    return int(value)


def _distance(value: str) -> Decimal:
    try:
        distance = Decimal(value)
    except InvalidOperation:
        raise ValueError("A number of millimetres, for example 25.") from None
    if not distance.is_finite() or not 0 <= distance <= 300:
        raise ValueError("Between 0 and 300 mm.")
    return distance.quantize(Decimal("0.1"))


def _refuse_contradictions(fields: SubmissionFields, reader: _Reader) -> None:
    if fields.accession_issuer and not fields.accession_number:
        reader.add("accession_number", "An issuer is given, but no accession number.")
    if fields.laterality is Laterality.BOTH and fields.has_location:
        reader.add("laterality", "A place in the breast needs one side, not both.")
    if (
        fields.clock_position is not None
        and fields.quadrant is not None
        and fields.laterality is not Laterality.BOTH
        and not clock_allows_quadrant(fields.laterality, fields.clock_position, fields.quadrant)
    ):
        reader.add(
            "quadrant",
            f"{fields.clock_position} o'clock does not lie in this quadrant of this breast.",
        )
