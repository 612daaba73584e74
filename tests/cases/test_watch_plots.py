"""The drawings of what is watched: well formed, told in a sentence, and honest about few images."""

from __future__ import annotations

from datetime import date, timedelta
from xml.etree import ElementTree

import pytest

from cases.measures import Calibration, CalibrationBin, Drift, Reference
from cases.reports.watch_plots import (
    calibration_svg,
    calibration_title,
    drift_svg,
    drift_title,
    weeks_svg,
    weeks_title,
)
from cases.watching import Mix, WatchWeek

MONDAY = date(2026, 3, 2)


def week(
    number: int, malignant: int, benign: int, abstained: int = 0, refused: int = 0
) -> WatchWeek:
    mix = Mix({"malignant": malignant, "benign": benign}, abstained, {"dual_view": refused})
    return WatchWeek(MONDAY + timedelta(weeks=number), mix)


def drawn(svg: str) -> ElementTree.Element:
    root = ElementTree.fromstring(svg)
    assert root.attrib["role"] == "img" and root.attrib["aria-label"]
    assert all("style" not in part.attrib for part in root.iter())
    return root


def of_class(root: ElementTree.Element, name: str) -> list[ElementTree.Element]:
    return [part for part in root.iter() if part.attrib.get("class") == name]


def test_weeks_of_too_few_images_are_left_out() -> None:
    weeks = [week(0, 5, 15), week(1, 1, 2), week(2, 4, 14, 1, 1)]
    root = drawn(weeks_svg(weeks))
    assert len(of_class(root, "plot-malignant-mark")) == 2
    assert weeks_title(weeks) == (
        "Week of 16 Mar 2026: 20 % above the threshold, 5.0 % without an answer, 5.0 % refused"
    )
    assert (weeks_svg(weeks[1:2]), weeks_title(weeks[1:2])) == ("", "")


def test_a_single_week_and_many_weeks_are_drawn_within_the_frame() -> None:
    for weeks in ([week(0, 0, 20)], [week(n, 20, 0, 20, 20) for n in range(60)]):
        root = drawn(weeks_svg(weeks))
        for mark in of_class(root, "plot-abstained-mark"):
            assert 0 < float(mark.attrib["cx"]) < 560 and 0 < float(mark.attrib["cy"]) < 280
        names = [float(name.attrib["y"]) for name in root.iter() if "-name" in str(name.attrib)]
        assert all(b - a >= 15 for a, b in zip(sorted(names), sorted(names)[1:], strict=False))


def test_calibration_draws_bins_with_enough_images_and_their_intervals() -> None:
    bins = [CalibrationBin(0, 0.0, 0)] * 12
    bins += [CalibrationBin(9, 0.8, 9), CalibrationBin(40, 0.88, 30), CalibrationBin(60, 0.97, 60)]
    calibration = Calibration(tuple(bins), findings=80)
    root = drawn(calibration_svg(calibration))
    assert len(of_class(root, "plot-value-mark")) == len(of_class(root, "plot-interval")) == 2
    assert calibration_title(calibration) == "Scores are off by 0.081 on average, 109 images"
    few = Calibration((CalibrationBin(9, 0.8, 9),), findings=3)
    assert calibration_svg(few) == ""
    assert calibration_title(few).startswith("Too few images")


REFERENCE = Reference(tuple(n / 10 for n in range(1, 10)), 0.95, 500, "training")


@pytest.mark.parametrize("counts", [(10,) * 10, (0,) * 9 + (100,), (1,) + (0,) * 9])
def test_drift_draws_a_bar_for_each_tenth_and_the_line_without_a_change(
    counts: tuple[int, ...],
) -> None:
    root = drawn(drift_svg(Drift(REFERENCE, counts, counts[-1])))
    bars = of_class(root, "plot-bar")
    assert len(bars) == 10
    assert all(float(bar.attrib["height"]) >= 0 for bar in bars)
    assert len(of_class(root, "plot-expected")) == 1


def test_drift_is_told_in_a_sentence() -> None:
    assert drift_title(Drift(REFERENCE, (10,) * 10, 5)) == (
        "Stability index 0.00; 5.0 % lie beyond the 95th percentile"
    )
    assert drift_title(Drift(REFERENCE, (1,) * 10, 0)).startswith("Too few recent images (10)")
    assert drift_svg(Drift(REFERENCE, (0,) * 10, 0)) == ""
