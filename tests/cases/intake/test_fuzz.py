"""A short run of the fuzzer in its own words; the long one is told in docs/security.md."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from bench.fuzz import __main__ as fuzz
from bench.fuzz.cases import Case, case
from bench.fuzz.run import run
from bench.fuzz.seeds import Seed, seeds
from cases.intake import Limits, inspect, receive
from cases.intake.formats import MEDIA_TYPES
from tests.phantoms import png_bytes


def test_every_seed_is_a_valid_file_and_every_format_has_one(tmp_path: Path) -> None:
    formats = set()
    for seed in seeds():
        with receive([seed.data], seed.name, directory=str(tmp_path)) as file:
            formats.add(inspect(file).format)
    assert formats == set(MEDIA_TYPES)


def test_a_file_of_a_run_is_the_same_each_time_and_no_other() -> None:
    first, again, other = case(3, 17), case(3, 17), case(4, 17)
    assert (first.data, first.mutations) == (again.data, again.mutations)
    assert first.data != other.data
    assert len({case(3, number).data for number in range(40)}) > 38


def test_mutated_files_are_taken_in_or_refused_and_nothing_else(tmp_path: Path) -> None:
    report = run((case(1, number) for number in range(250)), folder=tmp_path)
    assert report.findings == []
    assert report.files == 250
    assert report.answers["accepted"] > 10
    assert len(report.answers) > 6
    assert list(tmp_path.iterdir()) == []


def test_what_goes_wrong_in_the_child_is_reported(tmp_path: Path) -> None:
    picture = png_bytes(np.zeros((1500, 1500, 3), np.uint8))
    file = Case(0, Seed("png large", "png", picture), (), picture)
    report = run(iter([file]), Limits(memory_bytes=2**21), tmp_path)
    assert report.answers == {"image_corrupt": 1}
    assert [event.split()[0] for event in report.events] == ["decoder_out_of_memory"]
    assert report.findings == []


def test_command_writes_a_file_of_a_run_and_its_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved, told = tmp_path / "file", tmp_path / "report.json"
    code = fuzz.main(["--seed", "1", "--only", "5", "--save", str(saved), "--json", str(told)])
    assert code == 0
    assert saved.read_bytes() == case(1, 5).data
    assert json.loads(told.read_text())["files"] == 1
    assert "findings: 0" in capsys.readouterr().out
    assert fuzz.main(["--count", "0"]) == 2
