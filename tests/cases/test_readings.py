"""Readings: own drafts, signatures that hold, addenda, what was seen, the answers of record."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from django.db import DatabaseError, transaction

from cases.access import Actor
from cases.errors import FieldInvalid, NotFound, PermissionDenied, StateConflict
from cases.models import AuditEvent, Case, Reading, Site, User
from cases.selectors.readings import case_readings, drafts_of
from cases.services.jobs import job_rerun
from cases.services.people import actor_for_token
from cases.services.readings import (
    Place,
    ReadingContent,
    reading_content_parse,
    reading_draft_discard,
    reading_draft_save,
    reading_sign,
)
from cases.services.results import result_read_note
from cases.vocabulary import BiradsCategory, BiradsEdition, ReadingLabel
from tests.factories import at_once, make_actor, make_site, make_token, stored_result, submit

pytestmark = pytest.mark.django_db

CONTENT = ReadingContent(
    BiradsCategory.C4A, BiradsEdition.FIFTH_2013, ReadingLabel.BENIGN, "An oval mass, 12 mm."
)
OVERALL = Place()


@pytest.fixture
def site(db: None) -> Site:
    return make_site()


@pytest.fixture
def reader(site: Site) -> Actor:
    return make_actor(site=site)


@pytest.fixture
def case(site: Site, reader: Actor) -> Case:
    return submit(actor=reader, laterality="L", clock_position="2").case


def save(actor: Actor, case: Case, version: int = 0, **change: Any) -> Reading:
    place = change.pop("place", OVERALL)
    content = replace(CONTENT, **change)
    return reading_draft_save(
        actor=actor, case_id=case.pk, place=place, content=content, version=version
    )


def sign(actor: Actor, case: Case, version: int = 0, **change: Any) -> Reading:
    place = change.pop("place", OVERALL)
    content = replace(CONTENT, **change)
    return reading_sign(actor=actor, case_id=case.pk, place=place, content=content, version=version)


def test_a_draft_is_saved_changed_and_signed(reader: Actor, case: Case) -> None:
    draft = save(reader, case)
    assert (draft.version, draft.signed_at, draft.ai_seen) == (1, None, None)
    again = save(reader, case, version=1, text="Rather 14 mm.")
    assert (again.pk, again.version, again.text) == (draft.pk, 2, "Rather 14 mm.")
    signed = sign(reader, case, version=2, text="14 mm.")
    assert (signed.pk, signed.category, signed.text) == (draft.pk, "4A", "14 mm.")
    assert signed.signed_at is not None
    assert [r.pk for r in case_readings(actor=reader, case_id=case.pk)] == [draft.pk]
    actions = AuditEvent.objects.filter(object_type="reading").order_by("id")
    told = [(event.action, event.case_id) for event in actions]
    assert told == [
        ("reading.draft_saved", case.pk),
        ("reading.draft_saved", case.pk),
        ("reading.signed", case.pk),
    ]
    assert "14 mm" not in str([event.detail for event in actions])


def test_a_reading_is_signed_per_finding_and_overall(reader: Actor, case: Case) -> None:
    finding = case.findings.get()
    overall = sign(reader, case)
    of_finding = sign(reader, case, place=Place(finding_id=finding.pk))
    assert (overall.finding, of_finding.finding) == (None, finding)


def test_two_tabs_saving_one_draft_are_told_of_each_other(reader: Actor, case: Case) -> None:
    save(reader, case)
    save(reader, case, version=1, text="First tab.")
    for attempt in (save, sign):
        with pytest.raises(StateConflict) as caught:
            attempt(reader, case, version=1, text="Second tab.")
        assert caught.value.code == "state_conflict"
        assert "saved elsewhere" in caught.value.detail
    with pytest.raises(StateConflict):
        save(reader, case, text="A tab that knew of no draft.")
    assert Reading.objects.get().text == "First tab."


@pytest.mark.django_db(transaction=True)
def test_of_tabs_saving_at_once_one_wins() -> None:
    reader = make_actor()
    case = submit(actor=reader).case
    outcomes = at_once(4, lambda: save(reader, case))
    assert sum(isinstance(outcome, Reading) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, StateConflict) for outcome in outcomes) == 3
    signed = at_once(4, lambda: sign(reader, case, version=1))
    assert sum(isinstance(outcome, Reading) for outcome in signed) == 1
    assert Reading.objects.count() == 1


def test_a_signed_reading_is_refused_every_change_by_the_database(
    reader: Actor, case: Case
) -> None:
    signed = sign(reader, case)
    rows = Reading.objects.filter(pk=signed.pk)
    for change in (
        lambda: rows.update(category="2"),
        lambda: rows.update(text=""),
        lambda: rows.update(signed_at=None, ai_seen=None, results_of_record=[]),
        rows.delete,
    ):
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
            change()
    with pytest.raises(StateConflict, match="Add an addendum"):
        save(reader, case, version=1)
    with pytest.raises(NotFound):
        reading_draft_discard(actor=reader, reading_id=signed.pk, version=1)


def test_a_change_is_an_addendum_that_points_to_the_reading(reader: Actor, case: Case) -> None:
    signed = sign(reader, case)
    to = Place(addendum_to_id=signed.pk)
    first = sign(reader, case, place=to, category=None, label=ReadingLabel.NONE, text="Left, not R")
    second = sign(reader, case, place=to, category=BiradsCategory.C5)
    assert [first.addendum_to, second.addendum_to] == [signed, signed]
    signed.refresh_from_db()
    assert signed.category == "4A"
    with pytest.raises(FieldInvalid):
        sign(reader, case, place=to, category=None, label=ReadingLabel.NONE, text="")
    with pytest.raises(StateConflict):
        sign(reader, case, place=Place(addendum_to_id=first.pk))


def test_another_reader_reads_for_themselves_and_adds_to_the_first(
    site: Site, reader: Actor, case: Case
) -> None:
    signed = sign(reader, case)
    second = make_actor(site=site)
    assert sign(second, case).pk != signed.pk
    added = sign(second, case, place=Place(addendum_to_id=signed.pk))
    assert (added.reader_id, added.addendum_to_id) == (second.user_id, signed.pk)


def test_a_draft_is_its_readers_alone(site: Site, reader: Actor, case: Case) -> None:
    draft = save(reader, case)
    second = make_actor(site=site)
    assert drafts_of(actor=second, case_id=case.pk) == []
    assert case_readings(actor=second, case_id=case.pk) == []
    assert [row.pk for row in drafts_of(actor=reader, case_id=case.pk)] == [draft.pk]
    with pytest.raises(StateConflict):
        save(second, case, version=1)
    with pytest.raises(NotFound):
        reading_draft_discard(actor=second, reading_id=draft.pk, version=1)
    with pytest.raises(StateConflict):
        reading_draft_discard(actor=reader, reading_id=draft.pk, version=7)
    assert reading_draft_discard(actor=reader, reading_id=draft.pk, version=1) == case.pk
    assert not Reading.objects.exists()


@pytest.mark.parametrize("role", ["sonographer", "admin", "approver", "auditor", "integration"])
def test_only_radiologists_read(role: str, site: Site, case: Case) -> None:
    actor = make_actor(roles=[role], site=site)
    for attempt in (save, sign):
        with pytest.raises(PermissionDenied):
            attempt(actor, case)
    assert not Reading.objects.exists()


def test_another_sites_case_or_anothers_finding_is_not_there(reader: Actor, case: Case) -> None:
    with pytest.raises(NotFound):
        sign(make_actor(), case)
    other = submit(actor=reader, laterality="R", clock_position="9").case
    foreign = other.findings.get()
    for place in (Place(finding_id=foreign.pk), Place(finding_id=uuid4())):
        with pytest.raises(NotFound):
            save(reader, case, place=place)
    with pytest.raises(NotFound):
        sign(reader, case, place=Place(addendum_to_id=sign(reader, other).pk))


def test_no_token_signs_whatever_its_owner_may(reader: Actor, case: Case) -> None:
    token, _ = make_token(user=User.objects.get(pk=reader.user_id), scopes=["submit", "read"])
    with pytest.raises(PermissionDenied):
        sign(actor_for_token(token), case)


# What was seen


def test_an_answer_nobody_opened_was_not_seen(reader: Actor, case: Case) -> None:
    result = stored_result(case.images.get().jobs.get())
    signed = sign(reader, case)
    assert (signed.ai_seen, signed.results_of_record) == (False, [result.pk])


@pytest.mark.parametrize("by_token", [False, True])
def test_an_answer_the_reader_opened_was_seen(by_token: bool, reader: Actor, case: Case) -> None:
    result = stored_result(case.images.get().jobs.get())
    who = reader
    if by_token:
        owner = User.objects.get(pk=reader.user_id)
        who = actor_for_token(make_token(user=owner, scopes=["read"])[0])
    result_read_note(actor=who, result=result, case_id=case.pk)
    assert sign(reader, case).ai_seen is True


def test_what_a_colleague_opened_was_not_seen_by_the_reader(
    site: Site, reader: Actor, case: Case
) -> None:
    result = stored_result(case.images.get().jobs.get())
    result_read_note(actor=make_actor(site=site), result=result, case_id=case.pk)
    assert sign(reader, case).ai_seen is False


def test_a_reading_before_any_answer_saw_none_for_ever(reader: Actor, case: Case) -> None:
    signed = sign(reader, case)
    assert (signed.ai_seen, signed.results_of_record) == (False, [])
    result = stored_result(case.images.get().jobs.get())
    result_read_note(actor=reader, result=result, case_id=case.pk)
    signed.refresh_from_db()
    assert (signed.ai_seen, signed.results_of_record) == (False, [])


def test_the_answer_of_record_stays_beside_a_rerun(reader: Actor, case: Case) -> None:
    job = case.images.get().jobs.get()
    first = stored_result(job)
    signed = sign(reader, case)
    again = stored_result(job_rerun(actor=reader, job_id=job.pk), 0.1)
    signed.refresh_from_db()
    assert signed.results_of_record == [first.pk]
    added = sign(reader, case, place=Place(addendum_to_id=signed.pk))
    assert added.results_of_record == [again.pk]


# What is typed


def test_a_reading_needs_a_category_to_be_signed_but_not_to_be_saved(
    reader: Actor, case: Case
) -> None:
    save(reader, case, category=None)
    with pytest.raises(FieldInvalid) as caught:
        sign(reader, case, version=1, category=None, text="Lost?")
    assert "category" in (caught.value.errors or {})
    draft = Reading.objects.get()
    assert (draft.version, draft.text, draft.signed_at) == (1, CONTENT.text, None)


@pytest.mark.parametrize(
    ("raw", "field"),
    [
        ({"category": "4"}, "category"),
        ({"category": "7"}, "category"),
        ({"label": "cancer"}, "label"),
        ({"edition": "birads_4"}, "edition"),
        ({"text": "x" * 4001}, "text"),
        ({"text": "a\x00b"}, "text"),
    ],
)
def test_words_that_are_no_reading_are_refused(raw: dict[str, str], field: str) -> None:
    with pytest.raises(FieldInvalid) as caught:
        reading_content_parse(raw)
    assert list(caught.value.errors or {}) == [field]


def test_a_form_is_parsed_whole() -> None:
    content = reading_content_parse({"category": "3", "label": "benign", "text": " a\r\nb "})
    assert content == ReadingContent(
        BiradsCategory.C3, BiradsEdition.FIFTH_2013, ReadingLabel.BENIGN, "a\nb"
    )
    assert reading_content_parse({}).is_empty
