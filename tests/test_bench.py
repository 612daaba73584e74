"""The benches print what they measured beside what it is held against; how long is not tested."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import __main__ as bench
from bench import capacity, events, idle, memory, polls, uploads
from bench.figures import Figure, Section, percentile, section_of, spread, table
from bench.pictures import pictures, variant
from bench.sizes import SMALL
from tests.live import LiveService


def test_a_figure_stands_beside_its_baseline_and_its_goal() -> None:
    fast = Figure("rate", 30.0, "/s", 10.0, "something plain", at_least=20)
    slow = Figure("delay", 30.0, "ms", at_most=20)
    free = Figure("memory", 0.5, "GiB")
    assert (fast.ratio, fast.reached, fast.goal) == (3.0, True, ">= 20.0")
    assert (slow.ratio, slow.reached, slow.goal) == (None, False, "<= 20.0")
    assert (free.reached, free.goal) == (None, "")


def test_a_table_tells_each_figure_and_the_baselines_once() -> None:
    section = Section(
        "part",
        "what it is",
        [
            Figure("a", 300.0, "/s", 100.0, "something plain", at_least=200),
            Figure("b", 0.012, "s", 0.011, "something plain", at_most=0.01),
            Figure("c", 1234.0, "MiB"),
        ],
        ["of two rounds"],
    )
    lines = table(section).splitlines()
    assert lines[0] == "part: what it is"
    assert lines[2].split() == ["a", "300", "/s", "100", "3.00x", ">=", "200", "ok"]
    assert lines[3].split() == ["b", "0.0120", "s", "0.0110", "1.09x", "<=", "0.0100", "short"]
    assert lines[4].split() == ["c", "1234", "MiB"]
    assert [line.strip() for line in lines[5:]] == ["baseline: something plain", "of two rounds"]
    assert section_of(json.loads(json.dumps(section.as_json()))) == section


def test_percentiles_were_measured_and_of_nothing_there_are_none() -> None:
    values = [k / 10 for k in range(100, 0, -1)]
    assert [percentile(values, p) for p in (50, 95, 100)] == [5.0, 9.5, 10.0]
    assert spread([3.0, 1.0, 2.0]) == {"n": 3, "p50": 2.0, "p95": 3.0, "mean": 2.0, "max": 3.0}
    with pytest.raises(ValueError, match="nothing"):
        percentile([], 50)


def test_a_picture_is_varied_without_changing_what_it_shows() -> None:
    import io

    from PIL import Image

    (picture,) = pictures(1)
    other = variant(picture, "another")
    assert other != picture
    with Image.open(io.BytesIO(picture)) as first, Image.open(io.BytesIO(other)) as second:
        assert first.tobytes() == second.tobytes()


def test_a_part_that_fails_or_hangs_takes_no_other_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench, "PARTS", {"fine": ("bench.none", 60), "wrong": ("bench.none", 60)})
    good = Section("fine", "what went well", [Figure("a", 1.0, "/s")])

    def measured(part: str, *, small: bool, patience: float) -> Section:
        assert (small, patience) == (True, 2.0)
        if part == "wrong":
            raise bench.PartFailedError("not done within 60 s")
        return good

    monkeypatch.setattr(bench, "measured", measured)
    assert bench.main(["--small", "--patience", "2", "--state", str(tmp_path)]) == 1
    told = json.loads((tmp_path / "bench.json").read_text())
    assert set(told["parts"]) == {"fine"}
    assert told["failed"] == {"wrong": "not done within 60 s"}
    assert told["parts"]["fine"]["figures"][0]["value"] == 1.0
    out = capsys.readouterr().out
    assert "fine: what went well" in out
    assert "wrong: FAILED (not done within 60 s)" in out


@pytest.mark.flow
@pytest.mark.timeout(900)  # servers of their own, twice
def test_the_parts_with_servers_of_their_own_print_their_tables(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench.main(["--only", "queue", "growth", "--small", "--state", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    for words in ("calls for 8 images", "portal worklist, 50% down", "claim 8 of 200 queued"):
        assert words in out
    told = json.loads((tmp_path / "bench.json").read_text())
    assert (told["small"], told["failed"]) == (True, {})
    growth = {figure["what"]: figure for figure in told["parts"]["growth"]["figures"]}
    # The number of queries in brackets would tell "before -> after" where it had changed.
    assert not [what for what in growth if "->" in what]


@pytest.mark.flow
@pytest.mark.parametrize("part", [uploads, idle, polls, events, memory])
def test_the_parts_on_a_live_service_print_their_tables(
    live_service: LiveService, part: object
) -> None:
    live_service.await_ready()
    section = part.measure(live_service, SMALL)  # type: ignore[attr-defined]
    assert section.figures
    assert all(figure.value > 0 for figure in section.figures if figure.unit != "ms")
    assert len(table(section).splitlines()) >= 2 + len(section.figures)


def test_capacity_follows_the_formula_and_needs_one_machine_at_least() -> None:
    year = capacity.Year(2_000_000)
    assert year.peak_studies_per_hour == pytest.approx(2_000_000 / 250 * 0.15 * 1.3)
    assert year.peak_images_per_s == pytest.approx(1560 * 4 / 3600)
    assert year.tib_per_year == pytest.approx(2_000_000 * 4 * 0.4 / 1024**2)
    assert capacity.machines(0.01, 16, 0.6) == 1
    assert capacity.machines(10.0, 16, 0.6) == 2
    figures = {
        "end": [Figure("answered and stored", 16.0, "images/s")],
        "uploads": [Figure("accepted", 35.0, "/s")],
    }
    parts = {name: Section(name, name, found).as_json() for name, found in figures.items()}
    rates = capacity.rates_of({"parts": parts})
    assert (rates.answered, rates.uploads) == (16.0, 35.0)
    lines = capacity.table(rates, [2_000_000, 200_000_000]).splitlines()
    assert lines[1].split() == ["2,000,000", "1560", "1.73", "1", "1", "3.05"]
    assert lines[2].split()[3:5] == ["19", "9"]
