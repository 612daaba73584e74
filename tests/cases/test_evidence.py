"""What lies outside the models' evidence: what the record tells, and what people state."""

from __future__ import annotations

from datetime import date

import pytest
from django.db import DatabaseError, transaction

from cases.access import Actor
from cases.errors import Erased, NotFound, PermissionDenied
from cases.models import AuditEvent, Case, CaseCircumstance, Image, Patient
from cases.reports.evidence import age_at, case_flags, image_flags, measured_of
from cases.selectors.evidence import stated_of
from cases.services.evidence import case_circumstances_state
from cases.vocabulary import Circumstance
from tests.cases.erasing import erase
from tests.factories import at_once, make_actor, make_site, submit
from tests.phantoms import dicom_bytes, region

pytestmark = pytest.mark.django_db

IMPLANT = {Circumstance.IMPLANT: True}


@pytest.fixture
def actor(db: None) -> Actor:
    return make_actor(roles=["sonographer"])


@pytest.fixture
def case(actor: Actor) -> Case:
    return submit(actor=actor).case


def codes(case: Case, *, with_identity: bool = True) -> list[str]:
    flags = case_flags(case, stated_of(case_id=case.pk), with_identity)
    return [flag.code.value for flag in flags]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, []),
        ({"sex": "F", "birth_date": "1968-04-30", "indication": "recall"}, []),
        ({"sex": "M"}, ["male"]),
        ({"sex": "O"}, []),
        ({"birth_date": "2020-01-01"}, ["under_18"]),
        ({"indication": "post_treatment"}, ["treated"]),
        (
            {"sex": "M", "birth_date": "2020-01-01", "indication": "post_treatment"},
            ["male", "under_18", "treated"],
        ),
    ],
)
def test_the_record_itself_tells(actor: Actor, fields: dict[str, str], expected: list[str]) -> None:
    assert codes(submit(actor=actor, **fields).case) == expected


def test_sex_and_age_speak_only_to_those_who_may_see_them(actor: Actor) -> None:
    fields = {"sex": "M", "birth_date": "2020-01-01", "indication": "post_treatment"}
    assert codes(submit(actor=actor, **fields).case, with_identity=False) == ["treated"]


@pytest.mark.parametrize(
    ("birth", "day", "years"),
    [
        ((2000, 5, 2), (2018, 5, 1), 17),
        ((2000, 5, 2), (2018, 5, 2), 18),
        ((2000, 2, 29), (2018, 2, 28), 17),
        ((2000, 2, 29), (2018, 3, 1), 18),
    ],
)
def test_years_are_whole(
    birth: tuple[int, int, int], day: tuple[int, int, int], years: int
) -> None:
    assert age_at(date(*birth), date(*day)) == years


@pytest.mark.parametrize(("kind", "expected"), [(1, []), (2, ["doppler"]), (3, ["doppler"])])
def test_a_region_of_doppler_is_told_by_the_header(
    actor: Actor, kind: int, expected: list[str]
) -> None:
    regions = [region((0, 0, 127, 95)), region((0, 60, 127, 95), RegionDataType=kind)]
    data = dicom_bytes(regions=regions)
    image: Image = submit(actor=actor, files=[data], patient_id="").images.get()
    assert [flag.code.value for flag in image_flags(image)] == expected


def test_what_a_person_states_is_kept_with_who_and_can_be_taken_back(
    actor: Actor, case: Case
) -> None:
    (row,) = case_circumstances_state(actor=actor, case_id=case.pk, stated=IMPLANT)
    assert (row.applies, row.stated_by_id, row.stated_by_label) == (
        True,
        actor.user_id,
        actor.label,
    )
    assert codes(case) == ["implant"]
    case_circumstances_state(actor=actor, case_id=case.pk, stated={Circumstance.IMPLANT: False})
    assert codes(case) == []
    assert CaseCircumstance.objects.filter(case=case).count() == 2


def test_stating_it_twice_is_once_and_nothing_is_stated_by_silence(
    actor: Actor, case: Case
) -> None:
    case_circumstances_state(actor=actor, case_id=case.pk, stated=IMPLANT)
    assert case_circumstances_state(actor=actor, case_id=case.pk, stated=IMPLANT) == []
    assert case_circumstances_state(actor=actor, case_id=case.pk, stated={}) == []
    not_so = {Circumstance.LACTATING: False}
    assert case_circumstances_state(actor=actor, case_id=case.pk, stated=not_so) == []
    assert CaseCircumstance.objects.filter(case=case).count() == 1
    assert AuditEvent.objects.filter(action="case.circumstances_stated").count() == 1


def test_the_trail_says_that_something_was_stated_and_not_what(actor: Actor, case: Case) -> None:
    case_circumstances_state(actor=actor, case_id=case.pk, stated=IMPLANT)
    event = AuditEvent.objects.get(action="case.circumstances_stated")
    assert (event.case_id, event.changed_fields, event.detail) == (case.pk, ["circumstances"], {})


def test_another_site_a_reader_of_models_and_an_erased_patient_are_refused(
    actor: Actor, case: Case
) -> None:
    def state(who: Actor) -> None:
        case_circumstances_state(actor=who, case_id=case.pk, stated=IMPLANT)

    with pytest.raises(NotFound):
        state(make_actor(site=make_site()))
    with pytest.raises(PermissionDenied):
        state(make_actor(roles=["admin"], site=case.site))
    erase(make_actor(roles=["admin"], site=case.site), case)
    assert Patient.objects.get(pk=case.patient_id).erased_at is not None
    with pytest.raises(Erased):
        state(actor)
    assert not CaseCircumstance.objects.exists()


@pytest.mark.parametrize("change", ["update", "delete"])
def test_the_database_refuses_to_change_what_was_stated(
    change: str, actor: Actor, case: Case
) -> None:
    case_circumstances_state(actor=actor, case_id=case.pk, stated=IMPLANT)
    rows = CaseCircumstance.objects.filter(case=case)
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        rows.update(applies=False) if change == "update" else rows.delete()


@pytest.mark.django_db(transaction=True)
def test_two_people_who_state_it_at_once_state_it_once() -> None:
    case = submit(actor=make_actor(roles=["sonographer"])).case
    actors = [make_actor(roles=["sonographer"], site=case.site) for _ in range(2)]

    def state() -> int:
        return len(case_circumstances_state(actor=actors.pop(), case_id=case.pk, stated=IMPLANT))

    assert sorted(at_once(2, state)) == [0, 1]


def test_a_card_says_what_a_model_was_measured_to_do() -> None:
    fields = {"sensitivity": 0.944, "specificity": 0.602, "n": 357}
    intervals = {"sensitivity": [0.89, 0.98], "specificity": [0.55, 0.65]}
    found = measured_of({"metrics": {"held_out": {**fields, "ci95": intervals}}})
    assert found is not None
    assert (found.sensitivity, found.specificity) == ("0.94 (0.89–0.98)", "0.60 (0.55–0.65)")
    assert found.images == 357
    assert measured_of({"metrics": {"held_out": {"accuracy": 0.8}}}) is None
    assert measured_of({}) is None
