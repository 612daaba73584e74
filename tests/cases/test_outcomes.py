"""Outcomes: added, superseded with a reason, follow-up by the calendar; who may be trained on."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest
from django.db import DatabaseError, IntegrityError, transaction
from django.utils import timezone

from cases.access import Actor
from cases.errors import FieldInvalid, NotFound, PermissionDenied, StateConflict
from cases.models import AuditEvent, Finding, FindingOutcome, Image, Patient, Site
from cases.selectors.outcomes import (
    finding_outcomes,
    images_trainable,
    patient_is_trainable,
    patients_trainable,
)
from cases.services.consent import patient_research_set
from cases.services.findings import finding_add, finding_fields_parse
from cases.services.outcomes import (
    OutcomeContent,
    months_after,
    outcome_content_parse,
    outcome_record,
)
from cases.vocabulary import Label, OutcomeBasis, Pathology, training_label
from tests.factories import at_once, make_actor, make_site, phantom_jpeg, submit

pytestmark = pytest.mark.django_db

INVASIVE = OutcomeContent(Pathology.INVASIVE, OutcomeBasis.HISTOLOGY)
BENIGN = OutcomeContent(Pathology.BENIGN, OutcomeBasis.HISTOLOGY)


@pytest.fixture
def site(db: None) -> Site:
    return make_site()


@pytest.fixture
def reader(site: Site) -> Actor:
    return make_actor(site=site)


@pytest.fixture
def finding(reader: Actor) -> Finding:
    return submit(actor=reader, laterality="L", clock_position="2").case.findings.get()


def record(actor: Actor, finding: Finding, content: OutcomeContent) -> tuple[FindingOutcome, bool]:
    return outcome_record(actor=actor, finding_id=finding.pk, content=content)


@pytest.mark.parametrize(
    ("pathology", "label"),
    [
        (Pathology.INVASIVE, Label.MALIGNANT),
        (Pathology.IN_SITU, Label.MALIGNANT),
        (Pathology.BENIGN, Label.BENIGN),
        (Pathology.HIGH_RISK, None),
        (Pathology.INSUFFICIENT, None),
    ],
)
def test_the_training_label_follows_from_the_pathology(
    pathology: Pathology, label: Label | None
) -> None:
    assert training_label(pathology) is label


def test_an_outcome_is_recorded_once_and_superseded_with_a_reason(
    reader: Actor, finding: Finding
) -> None:
    first, created = record(reader, finding, BENIGN)
    assert (created, first.recorded_by_label, first.supersedes) == (True, reader.label, None)
    assert record(reader, finding, BENIGN) == (first, False)
    with pytest.raises(StateConflict, match="say why it no longer holds"):
        record(reader, finding, INVASIVE)
    second, created = record(reader, finding, replace(INVASIVE, reason="Excision: invasive."))
    assert (created, second.supersedes) == (True, first)
    # A late repeat of the first does not undo the second.
    with pytest.raises(StateConflict):
        record(reader, finding, BENIGN)
    assert finding_outcomes(finding=finding) == [first, second]
    trail = AuditEvent.objects.filter(object_id=str(finding.pk)).order_by("id")
    assert [event.action for event in trail] == ["outcome.recorded", "outcome.superseded"]
    assert "Excision" not in str([event.detail for event in trail])


def test_an_outcome_is_refused_every_change_by_the_database(
    reader: Actor, finding: Finding
) -> None:
    outcome, _ = record(reader, finding, BENIGN)
    rows = FindingOutcome.objects.filter(pk=outcome.pk)
    # Straight to the table: Django itself would keep what a candidate rests on.
    for change in (
        lambda: rows.update(pathology="invasive"),
        lambda: rows._raw_delete(rows.db),
    ):
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
            change()
    # Nor is there a second beginning for one finding.
    with pytest.raises(IntegrityError), transaction.atomic():
        FindingOutcome.objects.create(
            case=finding.case, finding=finding, pathology="benign", basis="histology"
        )


@pytest.mark.django_db(transaction=True)
def test_of_outcomes_recorded_at_once_one_is_kept() -> None:
    reader = make_actor()
    finding = submit(actor=reader, laterality="L", clock_position="2").case.findings.get()
    told = at_once(4, lambda: record(reader, finding, BENIGN))
    assert sorted(created for _, created in told) == [False, False, False, True]
    assert FindingOutcome.objects.count() == 1


def follow_up(**change: Any) -> OutcomeContent:
    raw = {
        "pathology": "benign",
        "basis": "follow_up",
        "stable_from": "2022-03-31",
        "stable_until": "2024-03-31",
    }
    return outcome_content_parse(raw | change)


def test_a_follow_up_of_24_months_is_benign() -> None:
    content = follow_up()
    assert content.stable_until == date(2024, 3, 31)
    assert follow_up(stable_from="2024-02-29", stable_until="2026-02-28").stable_from


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"stable_until": "2024-03-30"}, "stable_until"),
        ({"stable_until": ""}, "stable_until"),
        ({"stable_from": ""}, "stable_from"),
        ({"stable_from": "soon"}, "stable_from"),
        ({"stable_from": "2024-03-31", "stable_until": "2022-03-31"}, "stable_until"),
        ({"pathology": "invasive"}, "pathology"),
        ({"pathology": "insufficient"}, "pathology"),
        ({"basis": "histology"}, "stable_from"),
        ({"pathology": "cancer"}, "pathology"),
        ({"basis": "rumour"}, "basis"),
        ({"reason": "x" * 501}, "reason"),
    ],
)
def test_what_is_no_follow_up_is_refused(change: dict[str, str], field: str) -> None:
    with pytest.raises(FieldInvalid) as caught:
        follow_up(**change)
    assert field in (caught.value.errors or {})


def test_a_follow_up_has_not_ended_tomorrow() -> None:
    # The day is looked up here: where tests were collected it may have been the day before.
    today = timezone.localdate()
    assert follow_up(stable_until=str(today)).stable_until == today
    with pytest.raises(FieldInvalid) as caught:
        follow_up(stable_until=str(today + timedelta(days=1)))
    assert "stable_until" in (caught.value.errors or {})


def test_months_are_counted_by_the_calendar() -> None:
    assert months_after(date(2022, 1, 31), 1) == date(2022, 2, 28)
    assert months_after(date(2023, 12, 5), 24) == date(2025, 12, 5)


def test_the_database_refuses_a_short_follow_up_too(reader: Actor, finding: Finding) -> None:
    short = {"stable_from": date(2024, 1, 1), "stable_until": date(2025, 1, 1)}
    for values in ({"pathology": "benign", **short}, {"pathology": "benign"}):
        with pytest.raises(IntegrityError), transaction.atomic():
            FindingOutcome.objects.create(
                case=finding.case, finding=finding, basis="follow_up", **values
            )


@pytest.mark.parametrize("role", ["sonographer", "admin", "approver", "auditor"])
def test_only_radiologists_and_systems_record(role: str, site: Site, finding: Finding) -> None:
    with pytest.raises(PermissionDenied):
        record(make_actor(roles=[role], site=site), finding, BENIGN)


def test_another_sites_finding_is_not_there(finding: Finding) -> None:
    with pytest.raises(NotFound):
        record(make_actor(), finding, BENIGN)


# Findings


def test_a_reader_names_a_finding_on_images_without_one(reader: Actor) -> None:
    case = submit(actor=reader, files=[phantom_jpeg(), phantom_jpeg()]).case
    first, second = case.images.all()
    place = finding_fields_parse({"laterality": "R", "clock_position": "9"})
    finding = finding_add(actor=reader, case_id=case.pk, fields=place, image_ids=[first.pk])
    assert list(finding.images.all()) == [first]
    again = {"actor": reader, "case_id": case.pk}
    with pytest.raises(StateConflict, match="at this place"):
        finding_add(**again, fields=place, image_ids=[second.pk])
    elsewhere = finding_fields_parse({"laterality": "L"})
    with pytest.raises(StateConflict, match="another finding"):
        finding_add(**again, fields=elsewhere, image_ids=[first.pk])
    for images in ([], [submit(actor=reader).images.get().pk]):
        with pytest.raises(FieldInvalid):
            finding_add(**again, fields=elsewhere, image_ids=images)
    assert finding_add(**again, fields=elsewhere, image_ids=[second.pk]).number == 2


@pytest.mark.parametrize("side", ["B", "unknown", ""])
def test_a_finding_is_in_one_breast(side: str) -> None:
    with pytest.raises(FieldInvalid):
        finding_fields_parse({"laterality": side})


# Research


def test_who_opts_out_is_in_no_new_training_data(reader: Actor, finding: Finding) -> None:
    patient = finding.case.patient
    submit(actor=reader)
    mine = Image.objects.filter(case__site=patient.site)
    assert patient_is_trainable(patient)
    assert images_trainable(mine).count() == 2
    out = patient_research_set(actor=reader, patient_id=patient.pk, opted_out=True)
    assert not patient_is_trainable(out)
    assert images_trainable(mine).count() == 1
    assert out not in patients_trainable(Patient.objects.all())
    patient_research_set(actor=reader, patient_id=patient.pk, opted_out=True)
    back = patient_research_set(actor=reader, patient_id=patient.pk, opted_out=False)
    assert patient_is_trainable(back)
    trail = AuditEvent.objects.filter(object_id=str(patient.pk)).order_by("id")
    actions = [event.action for event in trail if "opted" in event.action]
    assert actions == ["patient.opted_out", "patient.opted_in"]


def test_only_who_brings_patients_notes_their_wish(site: Site, finding: Finding) -> None:
    patient = finding.case.patient_id
    for role in ("admin", "approver", "auditor"):
        with pytest.raises(PermissionDenied):
            patient_research_set(
                actor=make_actor(roles=[role], site=site), patient_id=patient, opted_out=True
            )
    with pytest.raises(NotFound):
        patient_research_set(actor=make_actor(), patient_id=patient, opted_out=True)
