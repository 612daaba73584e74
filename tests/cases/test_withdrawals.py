"""Withdrawn answers: kept, struck through, counted no longer; in page, worklist and API."""

from __future__ import annotations

import pytest
from django.db import DatabaseError, transaction

from cases.access import Actor
from cases.errors import FieldInvalid, NotFound, PermissionDenied, StateConflict
from cases.models import AuditEvent, Case, Result, ResultWithdrawal, Site, User
from cases.reports.answers import case_summary
from cases.selectors.cases import case_get
from cases.services.jobs import job_rerun
from cases.services.leases import engine_jobs_claim
from cases.services.people import actor_for_token
from cases.services.readings import results_of_record
from cases.services.results import result_store
from cases.services.withdrawals import result_withdraw
from tests.factories import (
    WORKER,
    answer,
    make_actor,
    make_site,
    make_token,
    phantom_jpeg,
    stored_result,
    submit,
)

pytestmark = pytest.mark.django_db

WHY = "The wrong probe setting was used."


@pytest.fixture
def site(db: None) -> Site:
    return make_site()


@pytest.fixture
def admin(site: Site) -> Actor:
    return make_actor(roles=["admin"], site=site)


@pytest.fixture
def case(site: Site) -> Case:
    return submit(actor=make_actor(site=site), files=[phantom_jpeg(), phantom_jpeg()]).case


def answered(case: Case, *scores: float) -> list[Result]:
    """Answer the images of the case with these scores, as a worker would."""
    told = dict(zip((image.pk for image in case.images.all()), scores, strict=True))
    by_image = {}
    for claim in engine_jobs_claim(actor=WORKER, limit=8):
        by_image[claim.image_id] = result_store(
            actor=WORKER,
            job_id=claim.job_id,
            attempt=claim.attempt,
            answer=answer(told[claim.image_id]),
        )
    return [by_image[image_id] for image_id in told]


def test_a_withdrawn_answer_stays_and_counts_no_longer(admin: Actor, case: Case) -> None:
    high, low = answered(case, 0.9, 0.1)
    assert case_summary(case_get(actor=admin, case_id=case.pk)).key == "above"
    withdrawal = result_withdraw(actor=admin, result_id=high.pk, reason=WHY)
    summary = case_summary(case_get(actor=admin, case_id=case.pk))
    assert (summary.key, summary.words) == ("withdrawn", "Answer withdrawn")
    assert (summary.top, summary.withdrawn_top) == (low, high)
    assert summary.coverage == "in 1 of 2 images answered"
    assert [answer.key for answer in summary.answers] == ["withdrawn", "below"]
    assert summary.answers[0].results == (high,)
    assert results_of_record(case) == [low]
    event = AuditEvent.objects.get(action="result.withdrawn")
    assert (event.object_id, event.user_id, event.detail) == (str(high.pk), admin.user_id, {})
    assert withdrawal.reason == WHY
    high.refresh_from_db()
    assert high.score_malignant == 0.9


def test_a_new_reading_takes_its_place(admin: Actor, case: Case) -> None:
    high, _ = answered(case, 0.9, 0.1)
    result_withdraw(actor=admin, result_id=high.pk, reason=WHY)
    again = stored_result(job_rerun(actor=admin, job_id=high.job_id), 0.2)
    summary = case_summary(case_get(actor=admin, case_id=case.pk))
    assert (summary.key, summary.top) == ("below", again)


def test_there_is_no_second_withdrawal_and_no_way_back(admin: Actor, case: Case) -> None:
    high, _ = answered(case, 0.9, 0.1)
    for reason in ("", "  ", "x" * 501):
        with pytest.raises(FieldInvalid):
            result_withdraw(actor=admin, result_id=high.pk, reason=reason)
    result_withdraw(actor=admin, result_id=high.pk, reason=WHY)
    with pytest.raises(StateConflict):
        result_withdraw(actor=admin, result_id=high.pk, reason="Again.")
    rows = ResultWithdrawal.objects.all()
    for change in (lambda: rows.update(reason=""), rows.delete):
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
            change()
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        Result.objects.filter(pk=high.pk).update(heatmap=None)


@pytest.mark.parametrize("role", ["sonographer", "radiologist", "approver", "auditor"])
def test_only_administrators_withdraw(role: str, site: Site, case: Case) -> None:
    high, _ = answered(case, 0.9, 0.1)
    with pytest.raises(PermissionDenied):
        result_withdraw(actor=make_actor(roles=[role], site=site), result_id=high.pk, reason=WHY)
    assert not ResultWithdrawal.objects.exists()


def test_no_token_withdraws_and_nobody_elsewhere(admin: Actor, case: Case) -> None:
    high, _ = answered(case, 0.9, 0.1)
    owner = User.objects.get(pk=admin.user_id)
    token = actor_for_token(make_token(user=owner, scopes=["admin", "read"])[0])
    with pytest.raises(PermissionDenied):
        result_withdraw(actor=token, result_id=high.pk, reason=WHY)
    with pytest.raises(NotFound):
        result_withdraw(actor=make_actor(roles=["admin"]), result_id=high.pk, reason=WHY)
