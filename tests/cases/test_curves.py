"""Loss curves as SVG: well formed, named, and quiet about what is not there."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from cases.reports.curves import CurvePoint, curve_title, loss_curve_svg

P = CurvePoint
SVG = "{http://www.w3.org/2000/svg}"


def drawn(points: list[CurvePoint]) -> ET.Element:
    return ET.fromstring(loss_curve_svg(points, standalone=True))


def test_both_lines_are_drawn_with_different_marks_and_named() -> None:
    root = drawn([P(1, 0.9, 1.0), P(2, 0.7, 0.8), P(3, 0.5, 0.85)])
    assert len(root.findall(f".//{SVG}circle")) == 3
    assert len(root.findall(f".//{SVG}rect")) == 3
    texts = [text.text for text in root.iter(f"{SVG}text")]
    assert {"training", "validation", "epoch", "log loss", "1", "2", "3"} <= set(texts)
    assert root.attrib["role"] == "img"
    title = root.find(f"{SVG}title")
    assert title is not None
    assert title.text == "Validation loss 0.850 after 3 epochs, lowest 0.800 at epoch 2"


def test_nothing_inline_that_the_policy_refuses() -> None:
    text = loss_curve_svg([P(1, 0.9, 1.0)])
    assert "style=" not in text
    assert "<style" not in text
    assert "http" not in text


@pytest.mark.parametrize(
    ("points", "title"),
    [
        ([], ""),
        ([P(1, 0.9, None)], "Training loss 0.900 after 1 epoch"),
        ([P(1, None, None)], "Training loss not measured after 1 epoch"),
        (
            [P(1, 0.9, 0.8), P(2, 0.8, 0.7)],
            "Validation loss 0.700 after 2 epochs, the lowest so far",
        ),
    ],
)
def test_the_title_says_what_the_curves_show(points: list[CurvePoint], title: str) -> None:
    assert curve_title(points) == title


def test_without_a_number_there_is_no_drawing() -> None:
    assert loss_curve_svg([]) == ""
    assert loss_curve_svg([P(1, None, None)]) == ""


@pytest.mark.parametrize("values", [(0.0, 0.0), (1e-9, 1e-9), (1e6, 3.0), (0.4999, 0.5)])
def test_any_size_of_number_stays_in_the_picture(values: tuple[float, float]) -> None:
    root = drawn([P(n, *values) for n in range(1, 60)])
    for circle in root.iter(f"{SVG}circle"):
        assert 0 <= float(circle.attrib["cx"]) <= 640
        assert 0 <= float(circle.attrib["cy"]) <= 280
