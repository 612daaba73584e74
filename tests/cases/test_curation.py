"""Which images outcomes make candidates, and what undoes a decision."""

from __future__ import annotations

import pytest

from cases.access import SYSTEM, Actor
from cases.errors import StateConflict
from cases.models import (
    CandidateEvent,
    FindingOutcome,
    Image,
    Site,
    TrainingCandidate,
)
from cases.services.candidates import candidates_refresh, candidates_refresh_all
from cases.services.corrections import case_patient_correct
from cases.services.fields import submission_fields_parse
from cases.services.findings import finding_add, finding_fields_parse
from cases.services.outcomes import OutcomeContent
from cases.vocabulary import OutcomeBasis, Pathology
from tests.cases.erasing import erase
from tests.curation import (
    BENIGN,
    INVASIVE,
    accept,
    accepted,
    actors,
    record,
    reject,
    states,
    told,
    two_findings,
)
from tests.factories import make_site, phantom_jpeg, submit

pytestmark = pytest.mark.django_db

B3 = OutcomeContent(Pathology.HIGH_RISK, OutcomeBasis.HISTOLOGY)


@pytest.fixture
def site(db: None) -> Site:
    return make_site()


@pytest.fixture
def reader(site: Site) -> Actor:
    return actors(site)[0]


@pytest.fixture
def admin(site: Site) -> Actor:
    return actors(site)[1]


# From outcomes to candidates


def test_an_outcome_makes_each_image_of_its_finding_a_candidate(reader: Actor) -> None:
    files = [phantom_jpeg(), phantom_jpeg()]
    submission = submit(actor=reader, files=files, laterality="L", clock_position="2")
    assert not TrainingCandidate.objects.exists()
    record(reader, submission.case.findings.get(), BENIGN)
    candidates = TrainingCandidate.objects.filter(image__submission=submission)
    assert [told(candidate) for candidate in candidates] == [("PENDING", "benign", "")] * 2
    assert {candidate.basis for candidate in candidates} == {"histology"}
    # Recorded twice is once, and so is looking again.
    assert candidates_refresh(actor=SYSTEM, case=submission.case) == 0
    assert CandidateEvent.objects.count() == 2


@pytest.mark.parametrize("pathology", [Pathology.HIGH_RISK, Pathology.INSUFFICIENT])
def test_what_a_model_cannot_learn_from_makes_no_candidate(
    reader: Actor, pathology: Pathology
) -> None:
    finding = submit(actor=reader, laterality="L", clock_position="2").case.findings.get()
    record(reader, finding, OutcomeContent(pathology, OutcomeBasis.HISTOLOGY))
    assert not TrainingCandidate.objects.exists()


def test_an_image_of_no_finding_is_no_candidate_until_somebody_names_it(reader: Actor) -> None:
    case = submit(actor=reader, accession_number="A-1", patient_id="P-1").case
    submit(
        actor=reader, accession_number="A-1", patient_id="P-1", laterality="L", clock_position="2"
    )
    record(reader, case.findings.get(), INVASIVE)
    assert TrainingCandidate.objects.count() == 1
    nameless = case.images.get(finding=None)
    added = finding_add(
        actor=reader,
        case_id=case.pk,
        fields=finding_fields_parse({"laterality": "R", "clock_position": "4"}),
        image_ids=[nameless.pk],
    )
    assert TrainingCandidate.objects.count() == 1
    record(reader, added, BENIGN)
    assert told(TrainingCandidate.objects.get(image=nameless)) == ("PENDING", "benign", "")


def test_an_image_that_comes_after_the_outcome_is_a_candidate_too(reader: Actor) -> None:
    place = {"accession_number": "A-1", "patient_id": "P-1", "laterality": "L"}
    case = submit(actor=reader, clock_position="2", **place).case
    record(reader, case.findings.get(), INVASIVE)
    later = submit(actor=reader, clock_position="2", **place).images.get()
    assert told(TrainingCandidate.objects.get(image=later)) == ("PENDING", "malignant", "")


def test_findings_of_one_breast_that_differ_are_a_conflict_without_a_label(
    reader: Actor,
) -> None:
    first, second = two_findings(reader)
    record(reader, first, INVASIVE)
    one = TrainingCandidate.objects.get()
    assert told(one) == ("PENDING", "malignant", "")
    record(reader, second, BENIGN)
    other = TrainingCandidate.objects.exclude(pk=one.pk).get()
    assert told(one) == told(other) == ("PENDING", "", "findings")
    # They agree again: no conflict.
    record(reader, second, INVASIVE, "Second opinion.")
    assert told(one) == told(other) == ("PENDING", "malignant", "")


def test_findings_of_two_breasts_do_not_conflict(reader: Actor) -> None:
    first, second = two_findings(reader, other_side="R")
    record(reader, first, INVASIVE)
    record(reader, second, BENIGN)
    assert sorted(TrainingCandidate.objects.values_list("label", "conflict")) == [
        ("benign", ""),
        ("malignant", ""),
    ]


def test_an_image_of_the_other_breast_than_its_finding_is_a_conflict(reader: Actor) -> None:
    image = submit(actor=reader, laterality="L", clock_position="2").images.get()
    Image.objects.filter(pk=image.pk).update(laterality="R")
    record(reader, image.finding, BENIGN)
    assert told(TrainingCandidate.objects.get()) == ("PENDING", "", "side")


def test_outcomes_recorded_before_there_were_candidates_are_found_once(reader: Actor) -> None:
    image = submit(actor=reader, laterality="L", clock_position="2").images.get()
    # As the version before recorded it.
    FindingOutcome.objects.create(
        case=image.case, finding=image.finding, pathology="benign", basis="histology",
        recorded_by_label="earlier",
    )  # fmt: skip
    assert candidates_refresh_all(actor=SYSTEM) == 1
    assert told(TrainingCandidate.objects.get(image=image)) == ("PENDING", "benign", "")
    assert candidates_refresh_all(actor=SYSTEM) == 0


# What a decision rests on changes


def test_another_outcome_sends_a_decision_back(reader: Actor, admin: Actor) -> None:
    candidate = accepted(reader=reader, admin=admin)
    record(reader, candidate.image.finding, INVASIVE, "Excision.")
    assert told(candidate) == ("PENDING", "malignant", "")
    assert (candidate.decided_by, candidate.reason, candidate.box) == (None, "", None)
    assert states(candidate) == ["PENDING", "ACCEPTED", "PENDING"]
    reject(admin, candidate)
    record(reader, candidate.image.finding, BENIGN, "Third opinion.")
    assert told(candidate) == ("PENDING", "benign", "")


def test_an_outcome_that_says_nothing_lets_it_lapse_and_a_later_one_brings_it_back(
    reader: Actor, admin: Actor
) -> None:
    candidate = accepted(reader=reader, admin=admin)
    record(reader, candidate.image.finding, B3, "Second look.")
    assert told(candidate) == ("LAPSED", "", "")
    with pytest.raises(StateConflict):
        accept(admin, candidate)
    record(reader, candidate.image.finding, INVASIVE, "Excision.")
    assert told(candidate) == ("PENDING", "malignant", "")


def test_a_case_that_moves_to_another_patient_is_decided_anew(reader: Actor, admin: Actor) -> None:
    candidate = accepted(reader=reader, admin=admin)
    case_patient_correct(
        actor=reader,
        case_id=candidate.image.case_id,
        fields=submission_fields_parse({"patient_id": "THE-RIGHT-ONE"}),
        reason="Mixed up.",
    )
    assert told(candidate) == ("PENDING", "benign", "")
    assert states(candidate)[-1] == "PENDING"


def test_an_erasure_lets_it_lapse_and_empties_every_reason(
    reader: Actor, admin: Actor, site: Site
) -> None:
    candidate = accepted(reader=reader, admin=admin)
    reject(admin, candidate, "Her name is on it.")
    erase(admin, candidate.image.case)
    assert told(candidate) == ("LAPSED", "", "")
    assert set(CandidateEvent.objects.values_list("reason", flat=True)) == {""}
