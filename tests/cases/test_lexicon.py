"""The words of the ultrasound lexicon in a reading: closed, whole, kept as they were signed."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from django.db import DatabaseError, IntegrityError, transaction

from cases.access import Actor
from cases.errors import FieldInvalid
from cases.lexicon import (
    COMPOSITION,
    SEVERAL,
    SINGLE,
    Descriptors,
    TissueComposition,
    descriptors_of,
)
from cases.models import AuditEvent, Case, Reading
from cases.reports.lexicon import LEGENDS, WORDS, described
from cases.services.readings import (
    Place,
    ReadingContent,
    reading_content_parse,
    reading_draft_save,
    reading_sign,
)
from tests.factories import make_actor, submit

pytestmark = pytest.mark.django_db

MASS: dict[str, Any] = {
    "category": "4B",
    "label": "malignant",
    "shape": "irregular",
    "orientation": "not_parallel",
    "margin": ["spiculated", "angular", "angular"],
    "echo_pattern": "hypoechoic",
    "posterior_features": "shadowing",
    "calcifications": ["in_mass"],
    "associated_features": ["skin_retraction", "architectural_distortion"],
    "vascularity": "rim",
    "elasticity": "hard",
    "special_case": "axillary_node",
    "size_1_mm": "12,5",
    "size_2_mm": "8",
    "size_3_mm": "",
}


@pytest.fixture
def reader(db: None) -> Actor:
    return make_actor()


@pytest.fixture
def case(reader: Actor) -> Case:
    return submit(actor=reader, laterality="L", clock_position="2").case


@pytest.fixture
def of_finding(case: Case) -> Place:
    return Place(finding_id=case.findings.get().pk)


def sign(reader: Actor, case: Case, place: Place, **raw: Any) -> Reading:
    content = reading_content_parse(raw)
    return reading_sign(actor=reader, case_id=case.pk, place=place, content=content, version=0)


def refused(**raw: Any) -> dict[str, list[str]]:
    with pytest.raises(FieldInvalid) as caught:
        reading_content_parse(raw)
    return caught.value.errors or {}


def test_a_finding_is_described_in_the_words_of_the_atlas(
    reader: Actor, case: Case, of_finding: Place
) -> None:
    signed = sign(reader, case, of_finding, **MASS)
    signed.refresh_from_db()
    told = descriptors_of(signed)
    # In the order of the atlas, each word once.
    assert told.margin == ("angular", "spiculated")
    assert told.associated_features == ("architectural_distortion", "skin_retraction")
    assert told.sizes == (Decimal("12.5"), Decimal("8.0"))
    assert dict(described(told)) == {
        "Shape": "Irregular",
        "Orientation": "Not parallel",
        "Margin": "Not circumscribed: angular, spiculated",
        "Echo pattern": "Hypoechoic",
        "Posterior features": "Shadowing",
        "Calcifications": "In a mass",
        "Associated features": "Architectural distortion, skin retraction",
        "Vascularity": "Vessels in rim",
        "Elasticity": "Hard",
        "Special case": "Lymph node, axillary",
        "Size": "12.5 × 8 mm",
    }
    trail = str(list(AuditEvent.objects.filter(case_id=case.pk).values_list("detail")))
    assert "irregular" not in trail


def test_the_breast_is_described_in_the_reading_of_the_case(reader: Actor, case: Case) -> None:
    signed = sign(reader, case, Place(), category="2", tissue_composition="heterogeneous")
    assert descriptors_of(signed) == Descriptors(tissue_composition="heterogeneous")


def test_nothing_is_said_for_anybody(reader: Actor, case: Case, of_finding: Place) -> None:
    signed = sign(reader, case, of_finding, category="3")
    assert descriptors_of(signed) == Descriptors()
    assert descriptors_of(signed).is_empty


@pytest.mark.parametrize(("of_a_finding", "name"), [(True, COMPOSITION), (False, "shape")])
def test_words_of_the_other_place_are_refused(
    of_a_finding: bool, name: str, reader: Actor, case: Case, of_finding: Place
) -> None:
    place = of_finding if of_a_finding else Place()
    word = {COMPOSITION: "heterogeneous", "shape": "oval"}[name]
    with pytest.raises(FieldInvalid) as caught:
        sign(reader, case, place, category="2", **{name: word})
    assert list(caught.value.errors or {}) == [name]
    assert not Reading.objects.exists()


@pytest.mark.parametrize("name", [*SINGLE, COMPOSITION])
def test_each_word_of_a_single_choice_is_taken_and_no_other(name: str) -> None:
    words = {**SINGLE, COMPOSITION: TissueComposition}[name]
    for word in words:
        assert getattr(reading_content_parse({name: word.value}).descriptors, name) == word
    assert list(refused(**{name: "lobular"})) == [name]


@pytest.mark.parametrize("name", SEVERAL)
def test_words_that_stand_beside_each_other_are_taken_and_no_other(name: str) -> None:
    words = [word.value for word in SEVERAL[name]][1:]
    told = reading_content_parse({name: words[::-1]}).descriptors
    assert getattr(told, name) == tuple(words)
    assert getattr(reading_content_parse({name: words[0]}).descriptors, name) == (words[0],)
    assert list(refused(**{name: [*words, "lobular"]})) == [name]


def test_a_circumscribed_margin_is_nothing_else() -> None:
    told = reading_content_parse({"margin": ["circumscribed"]}).descriptors
    assert told.margin == ("circumscribed",)
    assert list(refused(margin=["circumscribed", "angular"])) == ["margin"]


@pytest.mark.parametrize("size", ["0", "0.04", "300.1", "-3", "1e9", "NaN", "Infinity", "wide"])
def test_a_size_is_a_number_of_millimetres(size: str) -> None:
    assert list(refused(size_1_mm=size)) == ["size_1_mm"]


def test_axes_are_told_in_order() -> None:
    told = reading_content_parse({"size_1_mm": "300", "size_2_mm": "0.1", "size_3_mm": "7.26"})
    assert told.descriptors.sizes == (Decimal(300), Decimal("0.1"), Decimal("7.3"))
    assert list(refused(size_2_mm="4")) == ["size_1_mm"]
    assert list(refused(size_1_mm="5", size_2_mm="12")) == ["size_2_mm"]
    assert list(refused(size_1_mm="4", size_3_mm="4")) == ["size_2_mm"]
    assert list(refused(size_1_mm="x", size_2_mm="4")) == ["size_1_mm"]


def test_all_that_is_wrong_is_told_at_once() -> None:
    wrong = refused(category="9", shape="square", margin=["torn"], size_1_mm="big", text="\x00")
    assert set(wrong) == {"category", "shape", "margin", "size_1_mm", "text"}


def test_a_draft_that_only_describes_is_no_empty_one(
    reader: Actor, case: Case, of_finding: Place
) -> None:
    content = reading_content_parse({"shape": "oval"})
    assert not content.is_empty
    draft = reading_draft_save(
        actor=reader, case_id=case.pk, place=of_finding, content=content, version=0
    )
    again = reading_draft_save(
        actor=reader,
        case_id=case.pk,
        place=of_finding,
        content=reading_content_parse({"shape": "round"}),
        version=1,
        by_itself=True,
    )
    assert (again.pk, again.version, again.shape) == (draft.pk, 2, "round")
    # A page that keeps a draft by itself leaves one event, not one for each word.
    assert AuditEvent.objects.filter(action="reading.draft_saved").count() == 1


def test_an_addendum_may_say_a_word_alone(reader: Actor, case: Case, of_finding: Place) -> None:
    root = sign(reader, case, of_finding, **MASS)
    place = Place(finding_id=of_finding.finding_id, addendum_to_id=root.pk)
    added = sign(reader, case, place, elasticity="soft")
    assert (added.category, descriptors_of(added)) == ("", Descriptors(elasticity="soft"))
    with pytest.raises(FieldInvalid):
        sign(reader, case, place)


# The database holds the same rules


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        ({"shape": "lobular"}, "reading_shape_known"),
        ({"margin": ["torn"]}, "reading_margin_known"),
        ({"margin": ["circumscribed", "angular"]}, "reading_circumscribed_alone"),
        ({"size_1_mm": 0}, "reading_size_1_mm_in_range"),
        ({"size_1_mm": "300.1"}, "reading_size_1_mm_in_range"),
        ({"size_2_mm": 4}, "reading_sizes_in_order"),
        ({"tissue_composition": "heterogeneous"}, "reading_lexicon_of_its_place"),
        ({"finding_id": None, "shape": "oval"}, "reading_lexicon_of_its_place"),
    ],
)
def test_the_database_refuses_what_is_no_reading(
    values: dict[str, Any], rule: str, reader: Actor, case: Case, of_finding: Place
) -> None:
    row = {"finding_id": of_finding.finding_id, **values}
    with pytest.raises(IntegrityError, match=rule), transaction.atomic():
        Reading.objects.create(case=case, reader_id=reader.user_id, **row)


def test_signed_words_are_refused_every_change(
    reader: Actor, case: Case, of_finding: Place
) -> None:
    signed = sign(reader, case, of_finding, **MASS)
    for change in ({"shape": "oval"}, {"margin": []}, {"size_1_mm": 1}, {"after_reveal": True}):
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
            Reading.objects.filter(pk=signed.pk).update(**change)


def test_every_word_has_its_words_for_people() -> None:
    vocabularies = {**SINGLE, **SEVERAL, COMPOSITION: TissueComposition}
    assert {name: set(words) for name, words in WORDS.items()} == {
        name: set(words) for name, words in vocabularies.items()
    }
    assert set(WORDS) < set(LEGENDS)


def test_content_without_words_is_as_before() -> None:
    told = reading_content_parse({"category": "3"})
    assert told == ReadingContent(told.category, told.edition, told.label, "")
