"""What readers changed after the answer was shown: first words, last words, who moved where."""

from __future__ import annotations

from typing import Any

import pytest
from django.utils import timezone

from cases.access import Actor
from cases.errors import PermissionDenied
from cases.models import Case, Site
from cases.reading_changes import Changes, ModelSide, Move, changes_of
from cases.reports.reading_changes_csv import reading_changes_csv
from cases.selectors.reading_changes import read_places, readings_set_aside
from cases.services.reader_first import reader_first_switch
from cases.services.readings import Place, reading_content_parse, reading_sign
from tests.factories import make_actor, make_site, stored_result, submit

pytestmark = pytest.mark.django_db


@pytest.fixture
def site(db: None) -> Site:
    site = make_site()
    admin = make_actor(roles=["admin"], site=site)
    reader_first_switch(actor=admin, on=True, reason="A study.")
    return site


@pytest.fixture
def admin(site: Site) -> Actor:
    return make_actor(roles=["admin"], site=site)


@pytest.fixture
def reader(site: Site) -> Actor:
    return make_actor(site=site)


def answered(site: Site, malignant: float = 0.8, **kwargs: Any) -> Case:
    sender = make_actor(roles=["sonographer"], site=site)
    submission = submit(actor=sender, laterality="L", clock_position="2")
    stored_result(submission.jobs.get(), malignant, **kwargs)
    return submission.case


def sign(actor: Actor, case: Case, category: str, **place: Any) -> Any:
    return reading_sign(
        actor=actor,
        case_id=case.pk,
        place=Place(**place),
        content=reading_content_parse({"category": category}),
        version=0,
    )


def read(actor: Actor, case: Case, first: str, last: str = "") -> None:
    signed = sign(actor, case, first)
    if last:
        sign(actor, case, last, addendum_to_id=signed.pk)


def changes(admin: Actor) -> Changes:
    return changes_of(read_places(actor=admin))


@pytest.mark.parametrize(
    ("malignant", "first", "last", "move"),
    [
        (0.8, "4A", "", Move.KEPT),
        (0.8, "4A", "4A", Move.KEPT),
        (0.8, "3", "4B", Move.TOWARD),
        (0.8, "4A", "4C", Move.TOWARD),
        (0.8, "4A", "2", Move.AWAY),
        (0.1, "4A", "2", Move.TOWARD),
        (0.1, "2", "3", Move.AWAY),
        (0.1, "0", "2", Move.OTHERWISE),
        (0.8, "5", "6", Move.OTHERWISE),
    ],
)
def test_a_change_goes_toward_the_model_or_away(
    malignant: float, first: str, last: str, move: Move, site: Site, admin: Actor, reader: Actor
) -> None:
    read(reader, answered(site, malignant), first, last)
    (place,) = read_places(actor=admin)
    assert place.move is move
    assert (place.first, place.last) == (first, last or first)


@pytest.mark.parametrize("outcome", ["abstained", "refused"])
def test_without_an_answer_there_is_nothing_to_move_to(
    outcome: str, site: Site, admin: Actor, reader: Actor
) -> None:
    read(reader, answered(site, outcome=outcome, reason="It is unsure"), "2", "4A")
    (place,) = read_places(actor=admin)
    assert (place.model, place.move) == (ModelSide.NO_ANSWER, Move.OTHERWISE)
    assert (place.agreed_first, place.agreed_last) == (None, None)


def test_agreement_is_of_sides(site: Site, admin: Actor, reader: Actor) -> None:
    read(reader, answered(site, 0.8), "4A")
    read(reader, answered(site, 0.8), "3", "4A")
    read(reader, answered(site, 0.1), "5")
    read(reader, answered(site, 0.1), "0")
    total = changes(admin).total
    assert (total.n, total.compared, total.agreed_first, total.agreed_last) == (4, 3, 1, 2)
    assert (total.kept, total.toward, total.away, total.otherwise) == (3, 1, 0, 0)


def test_changes_are_counted_by_category_and_by_reader(
    site: Site, admin: Actor, reader: Actor
) -> None:
    second = make_actor(site=site)
    read(reader, answered(site), "3", "4B")
    read(reader, answered(site), "3", "4B")
    read(reader, answered(site), "3")
    read(second, answered(site), "4B", "3")
    told = changes(admin)
    counts = {line.category.value: line for line in told.categories if line.first}
    three, four = counts["3"], counts["4B"]
    assert (three.first, three.kept, three.changed_from, three.changed_to) == (3, 1, 2, 1)
    assert (four.first, four.kept, four.changed_from, four.changed_to) == (1, 0, 1, 2)
    assert three.last == 2
    assert [(a.value, b.value, n) for a, b, n in told.pairs] == [("3", "4B", 2), ("4B", "3", 1)]
    assert (told.readers[reader.label].toward, told.readers[second.label].away) == (2, 1)


def test_a_finding_is_compared_with_the_answers_of_its_images(
    site: Site, admin: Actor, reader: Actor
) -> None:
    case = answered(site, 0.8)
    finding = case.findings.get().pk
    of_finding = sign(reader, case, "2", finding_id=finding)
    sign(reader, case, "3", finding_id=finding, addendum_to_id=of_finding.pk)
    # Not read as a whole yet: its answers are withheld, and nothing of it is told.
    assert list(read_places(actor=admin)) == []
    sign(reader, case, "2")
    sign(reader, case, "4A", finding_id=finding, addendum_to_id=of_finding.pk)
    first, whole = read_places(actor=admin)
    # What was added before the answer was shown belongs to the first word.
    assert (first.finding, first.first, first.last, first.model) == (1, "3", "4A", ModelSide.ABOVE)
    assert (whole.finding, whole.move) == (None, Move.KEPT)


def test_a_colleagues_addendum_changes_nobodys_word(
    site: Site, admin: Actor, reader: Actor
) -> None:
    case = answered(site)
    signed = sign(reader, case, "2")
    sign(make_actor(site=site), case, "5", addendum_to_id=signed.pk)
    (place,) = read_places(actor=admin)
    assert place.last == "2"


def test_what_has_no_first_word_is_counted_apart(site: Site, admin: Actor, reader: Actor) -> None:
    case = answered(site)
    sign(reader, case, "2")
    sign(reader, case, "3", finding_id=case.findings.get().pk)
    assert len(list(read_places(actor=admin))) == 1
    assert readings_set_aside(actor=admin) == {"after": 1, "seen": 0}
    now = timezone.now()
    assert list(read_places(actor=admin, since=now)) == []
    assert len(list(read_places(actor=admin, until=now))) == 1


def test_the_lines_hold_no_identity(site: Site, admin: Actor, reader: Actor) -> None:
    case = answered(site)
    read(reader, case, "3", "4B")
    head, line = "".join(reading_changes_csv(read_places(actor=admin))).splitlines()
    told = dict(zip(head.split(","), line.split(","), strict=True))
    assert told["case_id"] == str(case.pk)
    assert (told["reader"], told["model"]) == (reader.label, "above")
    assert (told["first_category"], told["last_category"]) == ("3", "4B")
    assert (told["agreed_first"], told["agreed_last"], told["move"]) == (
        "no",
        "yes",
        "toward_the_model",
    )
    assert case.patient.patient_id not in line


def test_only_who_operates_and_reads_no_cases_is_told(site: Site, reader: Actor) -> None:
    both = make_actor(roles=["admin", "radiologist"], site=site)
    for actor in (reader, both, make_actor(roles=["auditor"], site=site)):
        with pytest.raises(PermissionDenied):
            list(read_places(actor=actor))
        with pytest.raises(PermissionDenied):
            readings_set_aside(actor=actor)


def test_another_sites_readings_are_not_told(site: Site, reader: Actor) -> None:
    read(reader, answered(site), "2", "4A")
    assert list(read_places(actor=make_actor(roles=["admin"]))) == []
