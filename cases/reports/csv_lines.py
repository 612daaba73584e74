"""Rows as lines of CSV, safe to open in a spreadsheet. Pure functions."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from django.utils import translation

# A spreadsheet takes a cell that begins so for a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


class _Echo:
    """What `csv.writer` writes to: gives the line back."""

    def write(self, line: str) -> str:
        return line


def csv_lines(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    """The head and the rows, line by line. Words that came from outside stay words.

    Words of ours are English whoever asks, since programs read them: ``rows`` are drawn so.
    """
    writer: Any = csv.writer(_Echo())
    yield writer.writerow(columns)
    drawn = iter(rows)
    while True:
        # Not around the yield: a stream shares its thread with pages in other languages.
        with translation.override("en"):
            row = next(drawn, None)
        if row is None:
            return
        yield writer.writerow([_cell(value) for value in row])


def _cell(value: Any) -> Any:
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return value
