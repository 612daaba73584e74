"""How a card's trees, counts and intervals are told, away from a page."""

from __future__ import annotations

from typing import Any

import pytest

from cases.reports.card import card_view
from cases.reports.card.blocks import Entries, Section, Table
from cases.reports.card.counts import counts_text
from cases.reports.card.values import device
from cases.templatetags.portal import kept_together, numbers_kept
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


def test_a_share_of_too_few_images_is_told_as_a_count() -> None:
    few = {
        **part(290, 2, 0.9),
        "sensitivity": 1.0,
        "specificity": 0.25,
        "accuracy": 0.9,
        "ci95": {"sensitivity": [1.0, 1.0], "specificity": [0.2, 0.3], "accuracy": [0.9, 0.9]},
    }
    card = {"evaluation": {"x": {"accuracy": 0.9, "per_birads": {"2": few, "3": few}}}}
    (told,) = section_of(card, "evaluation").parts
    (table,) = [b for b in told.blocks if isinstance(b, Table) and b.caption.startswith("By BI")]
    assert table.columns[4:] == (
        "Sensitivity, operating point",
        "Specificity, operating point",
        "Accuracy, largest score",
    )
    assert table.rows[0][4:] == ("2 of 2", "0.25 (0.20–0.30)", "261 of 290")
    # 0.9 of two malignant images is no count of them.
    odd = {**few, "sensitivity": 0.9, "ci95": {"sensitivity": [0.9, 0.9]}}
    card = {"evaluation": {"x": {"accuracy": 0.9, "per_birads": {"2": odd, "3": odd}}}}
    (told,) = section_of(card, "evaluation").parts
    (table,) = [b for b in told.blocks if isinstance(b, Table) and b.caption.startswith("By BI")]
    assert table.rows[0][4] == "0.90"


def test_figures_say_by_which_rule_the_answers_were_made() -> None:
    measured = {"accuracy": 0.81, "sensitivity": 0.94, "malignant_called_normal": 2}
    fields = {**measured, "at_operating_point": {"accuracy": 0.66}}
    (told,) = section_of({"evaluation": {"x": fields}}, "evaluation").parts
    whole, at_point = [block for block in told.blocks if isinstance(block, Table)]
    assert [row[:2] for row in whole.rows] == [
        ("Sensitivity for malignant, at the operating point", "0.94"),
        ("Accuracy over the three classes, by the largest score", "0.81"),
        ("Malignant called “normal”, at the operating point", "2"),
    ]
    assert at_point.caption.endswith("at the operating point")
    assert at_point.rows == (("Accuracy over the three classes", "0.66"),)


def test_notes_on_the_figures_are_no_more_gaps() -> None:
    card = {"known_gaps": ["men"], "notes": ["Measured out of fold."]}
    said = [
        getattr(block, "text", "") or getattr(block, "items", ())
        for block in section_of(card, "limits").blocks
    ]
    assert said == [
        "Not tested on, or hardly:",
        ("men",),
        "About the figures below:",
        ("Measured out of fold.",),
    ]
    assert "About" not in str(section_of({"known_gaps": ["men"]}, "limits").blocks)


def test_sentences_of_our_trainings_are_told_in_the_words_of_the_page() -> None:
    limits = [
        "'normal' means no lesion pattern in this picture.",
        "All 'normal' pictures come from one source, busi: the model may tell the source instead.",
        "Pictures without patient ids (in busbra, busi): near-duplicates are kept together, but "
        "two different pictures of one patient can lie on both sides of a split.",
        "Somebody else's 'words' on a picture: 7 x 7.",
    ]
    (bullets,) = section_of({"limits": limits}, "limits").blocks
    assert getattr(bullets, "items", ()) == (
        "“normal” means no lesion pattern in this image.",
        "All “normal” images come from one source, BUSI: the model may tell the source instead.",
        "Images without patient ids (in BUS-BRA, BUSI): near-duplicates are kept together, but "
        "two different images of one patient can lie on both sides of a split.",
        limits[3],
    )


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("GE Logiq 5 @10-12MHz", "GE Logiq 5 @10–\u206012\u00a0MHz"),
        ("Toshiba Aplio 300 @12-14 MHz", "Toshiba Aplio 300 @12–\u206014\u00a0MHz"),
        ("not stated", "Not stated"),
        ("Echo 1-2", "Echo 1-2"),
    ],
)
def test_a_device_keeps_its_frequency_together(name: str, shown: str) -> None:
    assert device(name) == shown


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("Spec. at 95 % sens.", "Spec. at 95\u00a0% sens."),
        ("2 refused, 349 abstained", "2\u00a0refused, 349\u00a0abstained"),
        ("0.94 (0.92–0.96)", "0.94 (0.92–0.96)"),
        ("By class", "By class"),
    ],
)
def test_no_number_is_parted_from_what_it_counts(words: str, shown: str) -> None:
    assert numbers_kept(words) == shown
