"""Deciding about candidates: who, what hinders, two at once, and what the database holds."""

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
from cases.services.consent import patient_research_set
from cases.services.curation import candidate_accept, candidate_reopen
from cases.services.jobs import job_rerun
from cases.services.people import actor_for_token
from cases.services.withdrawals import result_withdraw
from cases.states import CANDIDATE, CandidateState
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
    reject,
    states,
    told,
    two_findings,
)
from tests.factories import at_once, make_actor, make_site, make_token, submit

pytestmark = pytest.mark.django_db

WHY = "Looked at it."


@pytest.fixture
def site(db: None) -> Site:
    return make_site()


@pytest.fixture
def reader(site: Site) -> Actor:
    return actors(site)[0]


@pytest.fixture
def admin(site: Site) -> Actor:
    return actors(site)[1]


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
def test_of_two_pictures_that_look_the_same_only_one_label_is_accepted_at_once(
    reader: Actor, site: Site
) -> None:
    admin = actors(site)[1]
    pair = []
    for name in ("P-1", "P-2"):
        place = {"accession_number": name, "patient_id": name}
        pair.append(found(reader=reader, phash=7, **place))
        # Findings that conflict: either label may be chosen.
        found(reader=reader, content=INVASIVE, clock_position="9", **place)
    choices = []
    for candidate, pathology in zip(pair, ("benign", "invasive"), strict=True):
        outcome = FindingOutcome.objects.get(case=candidate.image.case, pathology=pathology)
        choices.append((candidate, outcome.pk))
    todo = iter(choices)
    results = at_once(2, lambda: accept(admin, *next(todo)))
    assert sorted(type(result).__name__ for result in results) == [
        "StateConflict",
        "TrainingCandidate",
    ]


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
