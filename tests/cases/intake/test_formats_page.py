"""docs/formats.md names every format that is read and every test that shows it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from cases.intake.dicom_layout import PHOTOMETRIC
from cases.intake.dicom_pixels import READABLE
from cases.intake.formats import MEDIA_TYPES

ROOT = Path(__file__).resolve().parents[3]
HERE = "tests/cases/intake"
PAGE = (ROOT / "docs" / "formats.md").read_text()
NAMED = {
    name if "/" in name else f"{HERE}/{name}"
    for name in re.findall(r"`([\w/]+\.py::test_\w+)`", PAGE)
}
# Where every test is about a format, and so has its row.
WHOLE = ("test_raster_formats.py", "test_dicom_encodings.py")


def names_of_tests(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    return {f"{path.relative_to(ROOT)}::{name}" for name in names if name.startswith("test_")}


def test_every_row_names_a_test_that_is_there() -> None:
    files = {name.partition("::")[0] for name in NAMED}
    there = set().union(*(names_of_tests(ROOT / file) for file in files))
    assert NAMED - there == set()
    rows = [line for line in PAGE.splitlines() if line.startswith("| ") and "::" not in line]
    heads = [row for row in rows if row.rstrip(" |").endswith("test")]
    assert rows == heads


def test_every_test_of_a_format_has_its_row() -> None:
    for file in WHOLE:
        assert names_of_tests(ROOT / HERE / file) - NAMED == set()


def test_every_encoding_and_colour_model_that_is_read_has_its_row() -> None:
    rows = re.findall(r"^\| (1\.2\.840[\d.]+) \|", PAGE, re.MULTILINE)
    assert set(rows) == READABLE
    missing = {name for name in PHOTOMETRIC if name not in PAGE}
    assert missing == set()
    assert {name for name in MEDIA_TYPES if f"{name.lower()}" not in PAGE.lower()} == set()
