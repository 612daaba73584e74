"""How a card's trees, counts and intervals are told, away from a page."""

from __future__ import annotations

from typing import Any

import pytest

from cases.reports.card import card_view
from cases.reports.card.blocks import Entries, Section, Table
from cases.reports.card.counts import counts_text
from cases.templatetags.portal import kept_together
from tests.portal.test_model_card import part


def section_of(card: dict[str, Any], key: str) -> Section:
    return next(one for one in card_view(card).sections if one.key == key)


def test_a_tree_of_flat_rows_is_a_table_beside_what_is_left_of_it() -> None:
    kinds = {
        "noise": {"n": 8, "refused": 8, "rate": 1.0},
        "busi/benign": {"n": 1437, "refused": 0, "rate": 0.0},
    }
    card = {"refusal": {"figures": {"negatives": {"by_kind": kinds, "n": 1445}, "codes": {}}}}
    blocks = section_of(card, "refusal").blocks
    (kind,) = [block for block in blocks if isinstance(block, Table)]
    assert kind.caption == "Figures, negatives, by kind"
    assert kind.columns == ("Part", "Images", "Refused", "Share")
    assert kind.rows == (
        ("noise", "8", "8", "100.0 %".replace(" ", "\u00a0")),
        ("BUSI, benign", "1,437", "0", "0.0 %".replace(" ", "\u00a0")),
    )
    (left,) = [block for block in blocks if isinstance(block, Entries)]
    (figures,) = left.entries
    assert [(one.label, one.value) for one in figures.children] == [
        ("codes", "none"),
        ("negatives", ""),
    ]
    assert [(one.label, one.value) for one in figures.children[1].children] == [("n", "1,445")]


@pytest.mark.parametrize(
    "rows", [{"a": {"n": 1}}, {"a": {"n": 1}, "b": {"m": 1}}, {"a": {}, "b": {}}]
)
def test_what_is_no_table_stays_a_tree(rows: dict[str, Any]) -> None:
    blocks = section_of({"refusal": {"by_kind": rows}}, "refusal").blocks
    assert [block.kind for block in blocks] == ["entries"]


@pytest.mark.parametrize(
    ("refused", "abstained", "words"),
    [
        (0, 2, "0 refused, 2 abstained; they are counted by their scores."),
        (0, 0, ""),
        (
            None,
            1349,
            "1,349 abstained; they are counted by their scores. Refusals were not measured here.",
        ),
        (None, None, ""),
    ],
)
def test_refusals_that_nobody_measured_are_not_told_as_none(
    refused: int | None, abstained: int | None, words: str
) -> None:
    assert counts_text({"n_refused": refused, "n_abstained": abstained}) == words


def test_an_interval_that_never_spreads_is_left_out_and_said_to_be() -> None:
    few = {**part(290, 2, 0.9), "ci95": {"auc_malignant": [0.9, 0.9]}}
    evaluation = {"accuracy": 0.9, "per_birads": {"2": few, "3": part(200, 90, 0.8)}}
    (told,) = section_of({"evaluation": {"x": evaluation}}, "evaluation").parts
    (table,) = [b for b in told.blocks if isinstance(b, Table) and b.caption.startswith("By BI")]
    assert table.columns[0] == "Category"
    assert [row[3] for row in table.rows] == ["0.90", "0.80 (0.76–0.84)"]
    said = [getattr(block, "text", "") for block in told.blocks]
    assert "A figure without an interval, or a count: too few images to tell one." in said


def test_what_a_model_was_trained_on_is_named_by_its_sources() -> None:
    training = {"data": {"name": "data", "digest": "d1", "images": 1795}}
    sources = {"busi": part(780, 200, 0.9), "busbra": part(1015, 300, 0.9)}
    measured = {"accuracy": 0.9, "per_source": sources, "data": {"digest": "d1"}}
    card = {"training": training, "metrics": {"out_of_fold": measured}}
    assert card_view(card).data_name == "BUS-BRA + BUSI"
    # Measured on other data, it tells nothing of the training.
    measured["data"] = {"digest": "d2"}
    assert card_view(card).data_name == "data"


@pytest.mark.parametrize(
    ("cell", "shown"),
    [
        ("0.90 (0.86–0.94)", '0.90 <span class="nowrap">(0.86–0.94)</span>'),
        ("0.900", "0.900"),
        ("<b> (1)", '&lt;b&gt; <span class="nowrap">(1)</span>'),
        ("A scanner (with a long name of its own)", "A scanner (with a long name of its own)"),
    ],
)
def test_an_interval_stays_in_one_piece(cell: str, shown: str) -> None:
    assert kept_together(cell) == shown
