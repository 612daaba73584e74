"""A site reads first: the switch, who sees what until when, and what is marked as after it."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import DatabaseError, transaction

from cases.access import SYSTEM, Actor, OpenedBy
from cases.errors import (
    AnswerWithheld,
    FieldInvalid,
    PermissionDenied,
    StateConflict,
    UserFacingError,
)
from cases.models import AuditEvent, Case, ReaderFirstEvent, Reading, Result, Site, User
from cases.reports.answers import case_summary
from cases.selectors.cases import case_get, image_get, result_get
from cases.selectors.jobs import glance_of, job_get, job_glance
from cases.selectors.portal import case_steps
from cases.selectors.reader_first import (
    answers_rank,
    answers_withheld,
    answers_withheld_beside,
    cases_withheld_count,
    reader_first_history,
    reader_first_now,
    shown_beside,
)
from cases.selectors.readings import case_readings
from cases.selectors.recall import recall_results, recall_withheld
from cases.selectors.replays import replayable_get
from cases.selectors.watch import watch
from cases.selectors.worklist import worklist_rows
from cases.services.people import actor_for_token, actor_for_user
from cases.services.reader_first import reader_first_switch
from cases.services.readings import Place, reading_content_parse, reading_sign
from cases.services.results import result_read_note
from cases.services.withdrawals import result_withdraw
from cases.services.worklist import worklist_fold
from tests.factories import (
    at_once,
    make_actor,
    make_site,
    make_token,
    make_user,
    stored_result,
    submit,
)

pytestmark = pytest.mark.django_db
WHOLE = Place()


def switched(site: Site, *, on: bool = True) -> None:
    reader_first_switch(
        actor=make_actor(roles=["admin"], site=site), on=on, reason="We begin a study."
    )


def person(site: Site, *roles: str) -> Actor:
    """Somebody of a site whose mode is switched already."""
    return make_actor(roles=roles or ["radiologist"], site=site)


def sign(actor: Actor, case: Case, place: Place = WHOLE, **raw: Any) -> Reading:
    content = reading_content_parse({"category": "4A", **raw})
    return reading_sign(actor=actor, case_id=case.pk, place=place, content=content, version=0)


@pytest.fixture
def site(db: None) -> Site:
    site = make_site()
    switched(site)
    return site


@pytest.fixture
def result(site: Site) -> Result:
    """An answer for an image of a finding."""
    submission = submit(actor=person(site, "sonographer"), laterality="L", clock_position="2")
    return stored_result(submission.jobs.get(), 0.81)


@pytest.fixture
def case(result: Result) -> Case:
    return result.image.case


def sees(actor: Actor, case: Case) -> bool:
    """Whether the case as this actor gets it has any answer; all ways must say the same."""
    answer = case_summary(case_get(actor=actor, case_id=case.pk))
    worklist_fold()
    (row,) = worklist_rows(actor=actor, case_ids=[case.pk])
    image = case.images.get()
    job = job_get(actor=actor, job_id=image.jobs.get().pk)
    told = {
        answer.top is not None,
        not answer.withheld,
        case_summary(row.case).top is not None,
        getattr(image_get(actor=actor, image_id=image.pk).jobs.all()[0], "result", None)
        is not None,
        getattr(job, "result", None) is not None,
        not answers_withheld(actor=actor, case_ids=[case.pk]),
    }
    glance = job_glance(actor=actor, job_id=job.pk)
    assert glance == glance_of(job)
    told.add(not glance.withheld)
    assert len(told) == 1, told
    return told.pop()


# The switch


def test_an_administrator_switches_it_with_a_reason(db: None) -> None:
    site = make_site()
    admin = make_actor(roles=["admin"], site=site)
    assert not reader_first_now(site_id=site.pk)
    reader_first_switch(actor=admin, on=True, reason="  We begin\na study. ")
    assert reader_first_now(site_id=site.pk)
    reader_first_switch(actor=admin, on=False, reason="It ended.")
    assert not reader_first_now(site_id=site.pk)
    history = reader_first_history(actor=admin)
    assert [(event.on, event.reason) for event in history] == [
        (False, "It ended."),
        (True, "We begin a study."),
    ]
    events = AuditEvent.objects.filter(action__startswith="reader_first.").order_by("id")
    assert [(event.action, event.detail["reason"]) for event in events] == [
        ("reader_first.on", "We begin a study."),
        ("reader_first.off", "It ended."),
    ]


def test_it_is_refused_without_a_reason_twice_and_to_tokens(site: Site) -> None:
    admin = make_user(roles=["admin"], site=site)
    actor = actor_for_user(admin)
    with pytest.raises(FieldInvalid):
        reader_first_switch(actor=actor, on=False, reason=" ")
    with pytest.raises(StateConflict):
        reader_first_switch(actor=actor, on=True, reason="Again.")
    token = actor_for_token(make_token(user=admin, scopes=["admin"])[0])
    with pytest.raises(PermissionDenied):
        reader_first_switch(actor=token, on=False, reason="By a program.")
    assert reader_first_now(site_id=site.pk)


@pytest.mark.parametrize(
    "role", ["sonographer", "radiologist", "approver", "auditor", "integration"]
)
def test_nobody_but_an_administrator_switches_it(role: str, site: Site) -> None:
    with pytest.raises(PermissionDenied):
        reader_first_switch(actor=person(site, role), on=False, reason="I want to see.")
    with pytest.raises(PermissionDenied):
        reader_first_history(actor=person(site, role))


def test_its_history_is_refused_every_change_by_the_database(site: Site) -> None:
    rows = ReaderFirstEvent.objects.filter(site=site)
    for change in (lambda: rows.update(on=False), rows.delete):
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
            change()


@pytest.mark.django_db(transaction=True)
def test_of_two_who_switch_at_once_one_is_told() -> None:
    site = make_site()
    admins = [make_actor(roles=["admin"], site=site) for _ in range(3)]
    outcomes = at_once(
        3, lambda: reader_first_switch(actor=admins.pop(), on=True, reason="At once.")
    )
    assert sum(isinstance(outcome, ReaderFirstEvent) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, StateConflict) for outcome in outcomes) == 2


def test_another_sites_switch_is_not_this_ones(site: Site) -> None:
    assert make_actor().opened_by is None
    assert person(site).opened_by is OpenedBy.OWN


# The gate


def test_without_the_mode_answers_are_open(db: None) -> None:
    actor = make_actor()
    case = submit(actor=actor).case
    stored_result(case.images.get().jobs.get())
    assert sees(actor, case)
    assert answers_rank(actor)


def test_a_reader_sees_the_answer_once_their_own_reading_of_the_case_is_signed(
    site: Site, case: Case, result: Result
) -> None:
    reader, colleague = person(site), person(site)
    assert not sees(reader, case)
    assert case_summary(case_get(actor=reader, case_id=case.pk)).key == "withheld"
    for get in (result_get, replayable_get):
        with pytest.raises(AnswerWithheld):
            get(actor=reader, result_id=result.pk)
    sign(reader, case, Place(finding_id=case.findings.get().pk))
    assert not sees(reader, case)
    sign(colleague, case)
    assert not sees(reader, case)
    assert sees(colleague, case)
    sign(reader, case)
    assert sees(reader, case)
    assert result_get(actor=reader, result_id=result.pk).pk == result.pk


@pytest.mark.parametrize("role", ["sonographer", "admin", "integration"])
def test_who_reads_no_cases_sees_it_once_anybody_has(role: str, site: Site, case: Case) -> None:
    other = person(site, role)
    assert not sees(other, case)
    sign(person(site), case, Place(finding_id=case.findings.get().pk))
    assert not sees(other, case)
    sign(person(site), case)
    assert sees(other, case)


def test_a_draft_opens_nothing_and_an_addendum_by_a_colleague_neither(
    site: Site, case: Case
) -> None:
    reader = person(site)
    root = sign(person(site), case)
    sign(reader, case, Place(addendum_to_id=root.pk))
    assert not sees(reader, case)


def test_switched_off_everything_is_open_again(site: Site, case: Case) -> None:
    reader = User.objects.get(pk=person(site).user_id)
    assert not sees(actor_for_user(reader), case)
    switched(site, on=False)
    assert sees(actor_for_user(reader), case)


def test_a_systems_token_gets_answers_unless_the_setting_says_otherwise(
    site: Site, case: Case, settings: Any
) -> None:
    token, _ = make_token(site=site)
    assert sees(actor_for_token(token), case)
    settings.BCWEB_READER_FIRST_TOKENS = True
    assert not sees(actor_for_token(token), case)
    sign(person(site), case)
    assert sees(actor_for_token(token), case)


def test_a_readers_own_token_opens_no_more_than_the_reader(site: Site, case: Case) -> None:
    reader = User.objects.get(pk=person(site).user_id)
    token, _ = make_token(user=reader, scopes=["read"])
    assert not sees(actor_for_token(token), case)
    sign(actor_for_user(reader), case)
    assert sees(actor_for_token(token), case)


@pytest.mark.parametrize("role", ["sonographer", "admin"])
def test_a_persons_own_token_opens_no_more_than_the_person(
    role: str, site: Site, case: Case
) -> None:
    token, _ = make_token(user=User.objects.get(pk=person(site, role).user_id), scopes=["read"])
    assert not sees(actor_for_token(token), case)
    sign(person(site), case)
    assert sees(actor_for_token(token), case)


def test_the_services_own_hands_are_not_held(site: Site, case: Case) -> None:
    assert SYSTEM.opened_by is None


@pytest.mark.parametrize("outcome", ["answered", "abstained", "refused"])
def test_whatever_the_outcome_the_case_looks_the_same(outcome: str, site: Site) -> None:
    submission = submit(actor=person(site, "sonographer"))
    stored_result(submission.jobs.get(), 0.81, outcome=outcome, reason="Zebra stripes")
    reader = person(site)
    summary = case_summary(case_get(actor=reader, case_id=submission.case_id))
    steps = case_steps(actor=reader, case_id=submission.case_id, limit=9)
    told = (summary.key, summary.words, summary.coverage, summary.answered, summary.is_final)
    assert told == ("withheld", "Answer withheld", "withheld until the case is read", 0, True)
    assert {str(event.detail) for event in steps if event.action == "result.stored"} == {
        str({"job": str(submission.jobs.get().pk)})
    }


def test_a_withdrawn_answer_looks_as_any_other(site: Site, case: Case, result: Result) -> None:
    # Withdrawing takes no look at the answer, so it is possible before anybody has read.
    result_withdraw(actor=person(site, "admin"), result_id=result.pk, reason="The wrong preset.")
    assert not sees(person(site), case)


def test_a_case_that_failed_says_so(site: Site, case: Case) -> None:
    waiting = submit(actor=person(site, "sonographer"))
    reader = person(site)
    assert case_summary(case_get(actor=reader, case_id=waiting.case_id)).key == "waiting"


def test_earlier_cases_are_withheld_with_the_one_they_stand_beside(site: Site, case: Case) -> None:
    reader = person(site)
    earlier = submit(actor=person(site, "sonographer"))
    stored_result(earlier.jobs.get())
    sign(reader, earlier.case)

    def withheld() -> frozenset[Any]:
        return answers_withheld_beside(actor=reader, case_id=case.pk, others=[earlier.case_id])

    def shown() -> bool:
        beside = [case_get(actor=reader, case_id=earlier.case_id)]
        (told,) = shown_beside(actor=reader, case_id=case.pk, others=beside)
        return case_summary(told).top is not None

    assert (withheld(), shown()) == ({earlier.case_id}, False)
    sign(reader, case)
    assert (withheld(), shown()) == (frozenset(), True)


def test_lists_are_not_ranked_by_what_is_withheld(site: Site) -> None:
    assert not answers_rank(person(site))
    assert not answers_rank(person(site, "admin"))


def test_a_recall_list_leaves_out_what_is_withheld_and_says_how_much(
    site: Site, case: Case, result: Result
) -> None:
    reader = person(site)
    asked: dict[str, Any] = {"model": result.model_version, "since": None, "until": None}
    assert not recall_results(actor=reader, **asked).exists()
    assert recall_withheld(actor=reader, **asked) == 1
    sign(reader, case)
    assert [row.pk for row in recall_results(actor=reader, **asked)] == [result.pk]
    assert recall_withheld(actor=reader, **asked) == 0


def test_figures_over_many_cases_are_not_for_who_reads(site: Site) -> None:
    with pytest.raises(PermissionDenied):
        watch(actor=person(site, "radiologist", "admin"))
    watch(actor=person(site, "admin"))


def test_what_a_colleague_said_who_had_seen_is_kept_back(site: Site, case: Case) -> None:
    reader, colleague = person(site), person(site)
    root = sign(colleague, case, text="Before.")
    sign(colleague, case, Place(addendum_to_id=root.pk), text="The model says 0.81.")
    told = case_readings(actor=reader, case_id=case.pk)
    assert [reading.text for reading in told] == ["Before."]
    sign(reader, case)
    assert len(case_readings(actor=reader, case_id=case.pk)) == 3


def test_how_many_cases_would_be_withheld_is_told(site: Site, case: Case) -> None:
    admin = person(site, "admin")
    assert cases_withheld_count(actor=admin) == 1
    sign(person(site), case)
    assert cases_withheld_count(actor=admin) == 0


# What is marked


def test_what_is_signed_after_the_answer_was_open_says_so(site: Site, case: Case) -> None:
    reader = person(site)
    finding = Place(finding_id=case.findings.get().pk)
    before = sign(reader, case, finding)
    whole = sign(reader, case)
    added = sign(reader, case, Place(addendum_to_id=whole.pk), category="5")
    of_finding = sign(
        reader, case, Place(finding_id=finding.finding_id, addendum_to_id=before.pk), category="5"
    )
    assert [row.after_reveal for row in (before, whole, added, of_finding)] == [
        False,
        False,
        True,
        True,
    ]
    event = AuditEvent.objects.filter(action="reading.signed").latest("id")
    assert event.detail["after_reveal"] is False


def test_without_the_mode_nothing_is_marked(db: None) -> None:
    reader = make_actor()
    case = submit(actor=reader).case
    assert sign(reader, case).after_reveal is None


def test_who_had_seen_an_answer_before_the_mode_is_known(db: None) -> None:
    site = make_site()
    reader = make_actor(site=site)
    result = stored_result(submit(actor=reader).jobs.get())
    result_read_note(actor=reader, result=result, case_id=result.image.case_id)
    switched(site)
    signed = sign(reader, result.image.case)
    assert (signed.after_reveal, signed.ai_seen) == (False, True)


@pytest.mark.django_db(transaction=True)
def test_of_signatures_at_once_one_is_before_and_the_others_are_refused() -> None:
    site = make_site()
    switched(site)
    reader = person(site)
    submission = submit(actor=person(site, "sonographer"), laterality="L", clock_position="2")
    case = submission.case
    stored_result(submission.jobs.get())
    finding = Place(finding_id=case.findings.get().pk)
    places = [WHOLE, WHOLE, finding, finding]
    outcomes = at_once(4, lambda: sign(reader, case, places.pop()))
    signed = [outcome for outcome in outcomes if isinstance(outcome, Reading)]
    assert len(signed) == 2
    assert sum(isinstance(outcome, UserFacingError) for outcome in outcomes) == 2
    by_place = {reading.finding_id: reading for reading in signed}
    whole, of_finding = by_place[None], by_place[finding.finding_id]
    assert whole.after_reveal is False
    # Whichever was signed second knew.
    assert of_finding.after_reveal is (of_finding.signed_at > whole.signed_at)
    assert sees(reader, case)
