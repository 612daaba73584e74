"""Candidates: how outcomes make them, who decides, what hinders, what undoes a decision."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from django.db import DatabaseError, IntegrityError, transaction

from cases.access import SYSTEM, Actor
from cases.errors import FieldInvalid, NotFound, PermissionDenied, StateConflict
from cases.models import (
    AuditEvent,
    CandidateEvent,
    Finding,
    FindingOutcome,
    Image,
    Site,
    TrainingCandidate,
)
from cases.selectors.curation import (
    candidate_counts,
    candidate_get,
    candidate_list,
    hindrances,
    lookalikes_of,
)
from cases.services.candidate_moves import candidate_move
from cases.services.candidates import candidates_refresh, candidates_refresh_all
from cases.services.consent import patient_research_set
from cases.services.corrections import case_patient_correct
from cases.services.curation import candidate_accept, candidate_reject, candidate_reopen
from cases.services.fields import submission_fields_parse
from cases.services.findings import finding_add, finding_fields_parse
from cases.services.jobs import job_rerun
from cases.services.outcomes import OutcomeContent
from cases.services.people import actor_for_token
from cases.services.withdrawals import result_withdraw
from cases.states import CANDIDATE, CandidateState
from cases.vocabulary import OutcomeBasis, Pathology
from tests.cases.erasing import erase
from tests.curation import (
    BENIGN,
    BOX,
    INVASIVE,
    READER,
    accept,
    accepted,
    actors,
    found,
    read_image,
    record,
)
from tests.factories import at_once, make_actor, make_site, make_token, phantom_jpeg, submit

pytestmark = pytest.mark.django_db

WHY = "Looked at it."
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


def reject(admin: Actor, candidate: TrainingCandidate, reason: str = WHY) -> TrainingCandidate:
    candidate.refresh_from_db()
    return candidate_reject(
        actor=admin, candidate_id=candidate.pk, version=candidate.version, reason=reason
    )


def states(candidate: TrainingCandidate) -> list[str]:
    return [event.to_state for event in CandidateEvent.objects.filter(candidate=candidate)]


def told(candidate: TrainingCandidate) -> tuple[str, str, str]:
    candidate.refresh_from_db()
    return candidate.state, candidate.label, candidate.conflict


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


def two_findings(reader: Actor, *, other_side: str = "L") -> tuple[Finding, Finding]:
    place = {"accession_number": "A-1", "patient_id": "P-1"}
    case = submit(actor=reader, laterality="L", clock_position="2", **place).case
    submit(actor=reader, laterality=other_side, clock_position="9", **place)
    first, second = case.findings.order_by("number")
    return first, second


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


# Decisions


def test_an_acceptance_says_who_why_and_of_what(reader: Actor, admin: Actor) -> None:
    candidate = accepted(reader=reader, admin=admin)
    assert told(candidate) == ("ACCEPTED", "benign", "")
    assert candidate.identity_checked
    assert candidate.box == BOX
    assert (candidate.decided_by_id, candidate.reason) == (admin.user_id, "A clear picture.")
    event = AuditEvent.objects.get(action="candidate.accepted")
    assert (event.case_id, event.detail["label"]) == (candidate.image.case_id, "benign")
    assert "clear" not in str(event.detail)


@pytest.mark.parametrize(
    ("more", "field"),
    [({"reason": " "}, "reason"), ({"identity_checked": False}, "identity_checked")],
)
def test_an_acceptance_needs_a_reason_and_somebody_who_looked(
    reader: Actor, admin: Actor, more: dict[str, Any], field: str
) -> None:
    candidate = found(reader=reader)
    with pytest.raises(FieldInvalid) as refused:
        accept(admin, candidate, **more)
    assert set(refused.value.errors or {}) == {field}
    assert told(candidate)[0] == "PENDING"


def test_a_decision_is_about_what_its_maker_saw(reader: Actor, admin: Actor) -> None:
    candidate = found(reader=reader)
    seen = candidate.version
    record(reader, candidate.image.finding, INVASIVE, "Excision.")
    with pytest.raises(StateConflict, match="Look again"):
        accept(admin, candidate, version=seen)
    with pytest.raises(StateConflict, match="Look again"):
        accept(admin, candidate, box=[0, 0, 100, 100])
    assert accept(admin, candidate).label == "malignant"


def test_an_image_that_was_not_read_cannot_be_accepted(reader: Actor, admin: Actor) -> None:
    image = submit(actor=reader, laterality="L", clock_position="2").images.get()
    record(reader, image.finding, BENIGN)
    candidate = TrainingCandidate.objects.get()
    with pytest.raises(StateConflict):
        accept(admin, candidate)
    read_image(image)
    assert accept(admin, candidate).state == CandidateState.ACCEPTED


def test_rejected_is_not_accepted_before_it_is_opened_again(reader: Actor, admin: Actor) -> None:
    candidate = found(reader=reader)
    reject(admin, candidate)
    assert (candidate.state, candidate_get(actor=admin, candidate_id=candidate.pk).reason) == (
        "PENDING",
        WHY,
    )
    with pytest.raises(StateConflict, match="from rejected to accepted"):
        accept(admin, candidate)
    with pytest.raises(StateConflict, match="from rejected to rejected"):
        reject(admin, candidate)
    candidate.refresh_from_db()
    candidate_reopen(
        actor=admin, candidate_id=candidate.pk, version=candidate.version, reason="Mistaken."
    )
    assert accept(admin, candidate).state == CandidateState.ACCEPTED
    with pytest.raises(StateConflict, match="Only what was rejected"):
        candidate.refresh_from_db()
        candidate_reopen(
            actor=admin, candidate_id=candidate.pk, version=candidate.version, reason=WHY
        )


def test_a_conflict_is_decided_by_choosing_a_finding(reader: Actor, admin: Actor) -> None:
    first, second = two_findings(reader)
    for image in Image.objects.order_by("created_at"):
        read_image(image)
    record(reader, first, INVASIVE)
    record(reader, second, BENIGN)
    one = TrainingCandidate.objects.get(image__finding=first)
    with pytest.raises(FieldInvalid) as refused:
        accept(admin, one)
    assert set(refused.value.errors or {}) == {"outcome"}
    with pytest.raises(FieldInvalid):
        accept(admin, one, outcome_id=one.pk)
    benign = second.outcomes.get()
    made = accept(admin, one, outcome_id=benign.pk)
    assert (made.label, made.outcome_id, made.conflict) == ("benign", benign.pk, "findings")
    # Opened again it has no label again.
    reject(admin, one)
    one.refresh_from_db()
    candidate_reopen(actor=admin, candidate_id=one.pk, version=one.version, reason=WHY)
    assert told(one) == ("PENDING", "", "findings")


def test_pictures_that_look_the_same_under_two_labels_are_settled_first(
    reader: Actor, admin: Actor
) -> None:
    one = found(reader=reader, phash=0b1000, patient_id="P-1")
    other = found(reader=reader, phash=0b1011, patient_id="P-2", content=INVASIVE)
    far = found(reader=reader, phash=0xFFFF, patient_id="P-2", content=INVASIVE)
    (look,) = lookalikes_of(one)
    assert (look.image_id, look.bits, look.same_patient) == (other.image_id, 2, False)
    for candidate in (one, other):
        with pytest.raises(StateConflict, match="Reject one of the two first"):
            accept(admin, candidate)
    accept(admin, far)
    reject(admin, other)
    assert hindrances(one, lookalikes_of(one)) == []
    accept(admin, one)
    # The other way round now: what is accepted speaks.
    other.refresh_from_db()
    candidate_reopen(actor=admin, candidate_id=other.pk, version=other.version, reason=WHY)
    with pytest.raises(StateConflict, match="accepted as benign"):
        accept(admin, other)


def test_images_that_look_the_same_with_one_label_are_shown_and_do_not_hinder(
    reader: Actor, admin: Actor
) -> None:
    one = found(reader=reader, phash=0b1000, patient_id="P-1")
    found(reader=reader, phash=0b1000, patient_id="P-1")
    (look,) = lookalikes_of(one)
    assert (look.label, look.same_patient) == ("benign", True)
    assert accept(admin, one).state == CandidateState.ACCEPTED


def test_who_opted_out_or_whose_answer_was_withdrawn_is_not_accepted(
    reader: Actor, admin: Actor
) -> None:
    candidate = found(reader=reader)
    patient = candidate.image.case.patient
    patient_research_set(actor=reader, patient_id=patient.pk, opted_out=True)
    with pytest.raises(StateConflict, match="no part in research"):
        accept(admin, candidate)
    patient_research_set(actor=reader, patient_id=patient.pk, opted_out=False)
    result = candidate.image.results.get()
    result_withdraw(actor=admin, result_id=result.pk, reason="Wrong picture.")
    with pytest.raises(StateConflict, match="withdrawn"):
        accept(admin, candidate)
    job_rerun(actor=reader, job_id=result.job_id)
    read_image(candidate.image)
    assert accept(admin, candidate).state == CandidateState.ACCEPTED


# Who, and at once


@pytest.mark.parametrize("role", ["sonographer", "radiologist", "approver", "auditor"])
def test_only_administrators_see_and_decide(reader: Actor, site: Site, role: str) -> None:
    candidate = found(reader=reader)
    other = make_actor(roles=[role], site=site)
    with pytest.raises(PermissionDenied):
        candidate_list(actor=other)
    with pytest.raises(PermissionDenied):
        accept(other, candidate)
    with pytest.raises(PermissionDenied):
        reject(other, candidate)


def test_no_token_decides_whatever_its_scopes(reader: Actor, site: Site) -> None:
    candidate = found(reader=reader)
    token, _ = make_token(roles=["admin"], scopes=["admin", "read"], site=site)
    actor = actor_for_token(token)
    assert candidate_list(actor=actor).count() == 1
    for decide in (accept, reject):
        with pytest.raises(PermissionDenied, match="a person at the portal"):
            decide(actor, candidate)


def test_another_sites_candidates_are_not_there(reader: Actor) -> None:
    candidate = found(reader=reader)
    stranger = actors(make_site())[1]
    assert not candidate_list(actor=stranger).exists()
    with pytest.raises(NotFound):
        accept(stranger, candidate)
    with pytest.raises(NotFound):
        candidate_get(actor=stranger, candidate_id=candidate.pk)


def test_lists_are_filtered_and_counted(reader: Actor, admin: Actor) -> None:
    kept = accepted(reader=reader, admin=admin)
    found(reader=reader, content=replace(INVASIVE, basis=READER))
    counts = candidate_counts(actor=admin)
    assert (counts["PENDING"], counts["ACCEPTED"], counts["unfrozen"]) == (1, 1, 1)
    assert list(candidate_list(actor=admin, state="ACCEPTED")) == [kept]
    assert list(candidate_list(actor=admin, basis="reader_only", label="benign")) == []
    assert candidate_list(actor=admin, only="unfrozen").count() == 2
    assert candidate_list(actor=admin, only="conflict").count() == 0


@pytest.mark.django_db(transaction=True)
def test_of_two_administrators_at_once_one_decides(reader: Actor, site: Site) -> None:
    candidate = found(reader=reader)
    admin = actors(site)[1]
    seen = candidate.version

    def decide() -> TrainingCandidate:
        return candidate_accept(
            actor=admin,
            candidate_id=candidate.pk,
            version=seen,
            box=BOX,
            reason=WHY,
            identity_checked=True,
        )

    results = at_once(3, decide)
    assert sorted(type(result).__name__ for result in results) == [
        "StateConflict",
        "StateConflict",
        "TrainingCandidate",
    ]
    assert states(candidate) == ["PENDING", "ACCEPTED"]


@pytest.mark.django_db(transaction=True)
def test_two_pictures_that_contradict_are_not_both_accepted_at_once(
    reader: Actor, site: Site
) -> None:
    admin = actors(site)[1]
    pair = [
        found(reader=reader, phash=7, patient_id="P-1"),
        found(reader=reader, phash=7, patient_id="P-2"),
    ]
    # Each alone may be accepted; one of them turns while the other is.
    turned = iter([lambda: record(reader, pair[1].image.finding, INVASIVE, "Excision.")])
    work = iter([lambda: accept(admin, pair[0]), next(turned)])
    at_once(2, lambda: next(work)())
    with pytest.raises(StateConflict):
        accept(admin, pair[1])


# The database holds the same rules


def test_every_move_of_a_candidate_is_legal_or_refused(reader: Actor, admin: Actor) -> None:
    candidate = found(reader=reader)
    for target in CandidateState:
        if not CANDIDATE.allows(CandidateState.PENDING, target):
            with pytest.raises(StateConflict):
                candidate_move(candidate, to=target, actor=SYSTEM, changes={})
    assert CANDIDATE.final == frozenset()


@pytest.mark.parametrize(
    "change",
    [
        {"state": "ACCEPTED"},
        {"state": "REJECTED"},
        {"state": "LAPSED"},
        {"state": "GONE"},
        {"label": "normal"},
        {"label": ""},
        {"conflict": "findings"},
        {"identity_checked": True},
    ],
)
def test_the_database_refuses_a_candidate_that_breaks_the_rules(
    reader: Actor, change: dict[str, Any]
) -> None:
    candidate = found(reader=reader)
    with pytest.raises(IntegrityError), transaction.atomic():
        TrainingCandidate.objects.filter(pk=candidate.pk).update(**change)


def test_the_trail_of_a_candidate_is_append_only(reader: Actor, admin: Actor) -> None:
    accepted(reader=reader, admin=admin)
    events = CandidateEvent.objects.all()
    for change in (lambda: events.update(reason=""), events.delete):
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
            change()
