"""Readings before and after the model's answer was shown as CSV. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from cases.reading_changes import ReadPlace
from cases.reports.csv_lines import csv_lines

COLUMNS = (
    "reading_id",
    "case_id",
    "finding",
    "reader",
    "signed_at",
    "first_category",
    "last_category",
    "model",
    "agreed_first",
    "agreed_last",
    "move",
)
_YES_NO = {True: "yes", False: "no", None: ""}


def reading_changes_csv(places: Iterable[ReadPlace]) -> Iterator[str]:
    """A line for each place that was read, the head first. No patient can be told from it."""
    yield from csv_lines(COLUMNS, map(_row, places))


def _row(place: ReadPlace) -> list[Any]:
    return [
        place.reading_id,
        place.case_id,
        "" if place.finding is None else place.finding,
        place.reader,
        place.signed_at.isoformat(),
        place.first.value,
        place.last.value,
        place.model.value,
        _YES_NO[place.agreed_first],
        _YES_NO[place.agreed_last],
        place.move.value,
    ]
