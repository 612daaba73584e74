"""The list of whose images a model answered, as people take it from the portal."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from cases.models import (
    AuditEvent,
    Result,
    ResultWithdrawal,
)
from cases.services.erasure import erasure_plan, patient_erase
from cases.services.people import actor_for_user
from cases.services.withdrawals import result_withdraw
from cases.vocabulary import Outcome
from tests.cases.governing import admin
from tests.factories import (
    make_site,
    make_user,
    stored_result,
    submit,
)
from tests.portal.conftest import SignIn, World
from tests.portal.markup import csp_faults, read, structure_faults, text_of

pytestmark = pytest.mark.django_db


def recall(client: Client, model_id: Any, **query: str) -> list[dict[str, str]]:
    response = client.get(reverse("model-recall-csv", args=[model_id]), query)
    assert response.streaming
    text = b"".join(response.streaming_content).decode()  # type: ignore[arg-type]
    return list(csv.DictReader(io.StringIO(text)))


def test_the_recall_list_counts_what_got_no_answer_and_says_who_has_no_name(
    world: World, sign_in: SignIn
) -> None:
    job = submit(
        actor=actor_for_user(world.sonographer), patient_id="NAMELESS-1", patient_name=""
    ).jobs.get()
    refused = stored_result(job, outcome=Outcome.REFUSED, reason="empty_frame")
    url = reverse("model-recall", args=[refused.model_version_id])
    text = text_of(sign_in(world.sonographer).get(url))
    assert "2 cases of your site, 2 results, 1 of them without an answer. Looking" in text
    assert "No name NAMELESS-1" in text
    hidden = text_of(sign_in(role="admin", site=world.site).get(url))
    assert "NAMELESS-1" not in hidden
    assert "No name" not in hidden


def test_the_recall_list_names_patients_to_those_who_care_for_them(
    world: World, sign_in: SignIn
) -> None:
    model = world.result.model_version_id
    carer, blind = sign_in(world.sonographer), sign_in(role="admin", site=world.site)
    (row,) = recall(carer, model)
    assert (row["patient_id"], row["result_id"]) == ("SECRET-ID-77", str(world.result.pk))
    (row,) = recall(blind, model)
    assert "patient_id" not in row
    assert "Zebrafish" not in str(row)
    assert recall(sign_in(role="admin", site=make_site()), model) == []
    url = reverse("model-recall", args=[model])
    assert "Zebrafish" in text_of(carer.get(url))
    assert "Zebrafish" not in text_of(blind.get(url))
    assert "1 case of your site, 1 result. Looking" in text_of(carer.get(url))
    assert "No answers in this time" in text_of(carer.get(url, {"until": "1999-01-01T00:00"}))
    assert carer.get(url, {"since": "soon"}).status_code == 422
    trail = AuditEvent.objects.filter(action__startswith="recall.").order_by("id")
    assert [event.action for event in trail][:3] == ["recall.exported"] * 3
    assert "SECRET" not in str([event.detail for event in trail])


def test_a_recall_list_tells_which_answers_were_withdrawn_and_whose_patient_is_gone(
    world: World, sign_in: SignIn
) -> None:
    carer, blind = sign_in(world.sonographer), sign_in(role="admin", site=world.site)
    model, admin_here = world.result.model_version_id, admin(world.site)
    url = reverse("model-recall", args=[model])
    (row,) = recall(carer, model)
    assert (row["withdrawn_at"], row["withdrawn_reason"], row["erased_at"]) == ("", "", "")
    result_withdraw(actor=admin_here, result_id=world.result.pk, reason="=Wrong probe.")
    (row,) = recall(carer, model)
    withdrawal = ResultWithdrawal.objects.get()
    assert row["withdrawn_at"] == withdrawal.at.isoformat()
    assert (row["withdrawn_reason"], row["label"]) == ("'=Wrong probe.", "malignant")
    page = read(carer.get(url).content)
    assert [tag.text for tag in page.all("s")] == ["Above the malignant threshold", "0.88"]
    assert "withdrawn" in page.one("strong").text
    assert (csp_faults(page), structure_faults(page)) == ([], [])
    plan = erasure_plan(actor=admin_here, case_id=world.case.pk)
    patient_erase(actor=admin_here, case_id=world.case.pk, reason="Asked.", token=plan.token)
    world.case.patient.refresh_from_db()
    erased_at = world.case.patient.erased_at
    assert erased_at is not None
    for client, words in ((carer, "erased"), (blind, "patient erased")):
        (row,) = recall(client, model)
        assert (row["erased_at"], row["withdrawn_reason"]) == (erased_at.isoformat(), "")
        page = read(client.get(url).content)
        assert words in {tag.text for tag in page.all("span")}
        assert (csp_faults(page), structure_faults(page)) == ([], [])


def test_a_name_cannot_become_a_formula(sign_in: SignIn) -> None:
    user = make_user(roles=["radiologist"])
    job = submit(
        actor=actor_for_user(user), patient_id="=1+1", patient_name="@SUM(A1)", files=None
    ).jobs.get()
    result = stored_result(job)
    (row,) = recall(sign_in(user), result.model_version_id)
    assert (row["patient_id"], row["patient_name"]) == ("'=1+1", "'@SUM(A1)")


def test_the_recall_list_is_sent_row_by_row_whatever_its_length(
    sign_in: SignIn, django_assert_max_num_queries: Any
) -> None:
    user = make_user(roles=["radiologist"])
    results = [stored_result(submit(actor=actor_for_user(user)).jobs.get()) for _ in range(6)]
    client = sign_in(user)
    with django_assert_max_num_queries(17):
        assert len(recall(client, results[0].model_version_id)) == Result.objects.count() == 6


# Who may what
