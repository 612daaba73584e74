"""The parser of submission fields: what it takes, and what it refuses and why."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest

from cases.errors import FieldInvalid
from cases.services.fields import SubmissionFields, submission_fields_parse
from cases.vocabulary import Laterality, Priority, Quadrant, clock_allows_quadrant


def test_good_fields_become_typed_values() -> None:
    fields = submission_fields_parse(
        {
            "patient_id": " P-1 ",
            "accession_number": "A1",
            "birth_date": "1968-04-30",
            "sex": "F",
            "laterality": "R",
            "clock_position": "10",
            "quadrant": "upper_outer",
            "nipple_distance_mm": "25",
            "priority": "stat",
        }
    )
    assert fields.patient_id == "P-1"
    assert fields.birth_date == dt.date(1968, 4, 30)
    assert fields.laterality is Laterality.RIGHT
    assert fields.clock_position == 10
    assert fields.quadrant is Quadrant.UPPER_OUTER
    assert fields.nipple_distance_mm == Decimal("25.0")
    assert fields.priority is Priority.STAT


def test_nothing_given_is_nothing_told() -> None:
    assert submission_fields_parse({}) == SubmissionFields()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("patient_id", "x" * 65),
        ("patient_id", "a\\b"),
        ("patient_id", "a\x07b"),
        ("patient_id", "a\u202eb"),
        ("patient_issuer", "x" * 65),
        ("accession_number", "x" * 17),
        ("patient_name", "A^B^C^D^E^F"),
        ("patient_name", "x" * 65),
        ("birth_date", "30.04.1968"),
        ("birth_date", "1968-02-30"),
        ("birth_date", "2999-01-01"),
        ("birth_date", "1068-01-01"),
        ("sex", "female"),
        ("laterality", "left"),
        ("clock_position", "0"),
        ("clock_position", "13"),
        ("clock_position", "3.5"),
        ("quadrant", "somewhere"),
        ("nipple_distance_mm", "-1"),
        ("nipple_distance_mm", "301"),
        ("nipple_distance_mm", "NaN"),
        ("nipple_distance_mm", "two"),
        ("indication", "curiosity"),
        ("priority", "now"),
        ("on_bad_file", "ignore"),
        ("patient_id", ["a", "list"]),
    ],
)
def test_a_bad_value_is_refused_under_its_field(name: str, value: object) -> None:
    with pytest.raises(FieldInvalid) as refused:
        submission_fields_parse({name: value})
    assert list(refused.value.errors or {}) == [name]


def test_all_bad_fields_are_told_at_once() -> None:
    with pytest.raises(FieldInvalid) as refused:
        submission_fields_parse({"sex": "x", "clock_position": "99"})
    assert set(refused.value.errors or {}) == {"sex", "clock_position"}


@pytest.mark.parametrize(
    ("fields", "blamed"),
    [
        ({"laterality": "B", "clock_position": "3"}, "laterality"),
        ({"laterality": "R", "clock_position": "2", "quadrant": "upper_outer"}, "quadrant"),
        ({"laterality": "L", "clock_position": "8", "quadrant": "upper_inner"}, "quadrant"),
        ({"clock_position": "12", "quadrant": "lower_inner"}, "quadrant"),
        ({"accession_issuer": "HOSP"}, "accession_number"),
    ],
)
def test_contradictions_are_refused(fields: dict[str, str], blamed: str) -> None:
    with pytest.raises(FieldInvalid) as refused:
        submission_fields_parse(fields)
    assert list(refused.value.errors or {}) == [blamed]


@pytest.mark.parametrize(
    ("side", "clock", "quadrant", "fits"),
    [
        (Laterality.LEFT, 2, Quadrant.UPPER_OUTER, True),
        (Laterality.RIGHT, 2, Quadrant.UPPER_INNER, True),
        (Laterality.LEFT, 12, Quadrant.UPPER_INNER, True),
        (Laterality.LEFT, 1, Quadrant.AXILLARY_TAIL, True),
        (Laterality.RIGHT, 1, Quadrant.AXILLARY_TAIL, False),
        (Laterality.UNKNOWN, 2, Quadrant.UPPER_OUTER, True),
        (Laterality.UNKNOWN, 2, Quadrant.LOWER_OUTER, False),
        (Laterality.RIGHT, 6, Quadrant.CENTRAL, True),
    ],
)
def test_the_clock_runs_mirrored_in_the_two_breasts(
    side: Laterality, clock: int, quadrant: Quadrant, fits: bool
) -> None:
    assert clock_allows_quadrant(side, clock, quadrant) is fits
