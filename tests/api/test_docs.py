"""docs/api.md says what the API does."""

from __future__ import annotations

import re
from pathlib import Path

from cases.api.errors import ALL_ERRORS
from cases.services.fields import FIELD_NAMES
from tests.api.contract import template_of

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "api.md").read_text()


def test_the_table_of_errors_is_complete_and_true() -> None:
    told = dict(re.findall(r"^\| `([a-z_]+)` \| (\d{3}) \|", TEXT, re.MULTILINE))
    assert told == {code: str(kind.status) for code, kind in ALL_ERRORS.items()}


def test_every_field_of_a_submission_is_described() -> None:
    for name in (*FIELD_NAMES, "file"):
        assert f"`{name}`" in TEXT


def test_every_address_it_names_is_there() -> None:
    ids = "00000000-0000-4000-8000-000000000000"
    named = re.findall(r"(?:\$API|`(?:GET|POST) )(/[^\s?`]*)", TEXT)
    assert len(named) > 15
    for path in named:
        path = re.sub(r"\{(id|code)\}|\$JOB|[0-9a-f-]{36}", ids, path)
        assert template_of(f"/api/v1{path}"), path
