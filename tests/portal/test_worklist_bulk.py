"""Acts on chosen rows: the numbers first, then the act, once, with what failed by name."""

from __future__ import annotations

import csv
import io
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from cases.errors import FieldInvalid, NotFound, Overloaded, PermissionDenied, StateConflict
from cases.models import AuditEvent, Case, Job, Site
from cases.services import bulk
from cases.services.bulk import BulkAct, bulk_do, bulk_plan
from cases.services.jobs import job_cancel
from cases.services.people import actor_for_user
from tests.cases.erasing import erase
from tests.factories import (
    at_once,
    make_actor,
    make_site,
    make_user,
    phantom_jpeg,
    stored_result,
    submit,
)
from tests.portal.conftest import SignIn
from tests.portal.markup import Markup, csp_faults, read, structure_faults

pytestmark = pytest.mark.django_db
URL = "/cases/bulk/"


@pytest.fixture
def site() -> Site:
    return make_site()


@pytest.fixture
def done(site: Site) -> list[Case]:
    """Two answered cases, the first of two images, and one that waits."""
    nurse = make_actor(roles=["sonographer"], site=site)
    cases = []
    for name, count in (("A-1", 2), ("A-2", 1)):
        submission = submit(
            actor=nurse, accession_number=name, files=[phantom_jpeg() for _ in range(count)]
        )
        for job in submission.jobs.order_by("due_at", "id"):
            stored_result(job)
        cases.append(submission.case)
    return [*cases, submit(actor=nurse, accession_number="A-3").case]


def ask(client: Client, act: str, cases: list[Case]) -> Markup:
    response = client.post(URL, {"act": act, "case": [case.pk for case in cases], "back": ""})
    assert response.status_code == 200
    page = read(response.content)
    assert (csp_faults(page), structure_faults(page)) == ([], [])
    return page


def agreed(page: Markup) -> dict[str, Any]:
    def held(name: str) -> list[str]:
        return [tag.attrs["value"] for tag in page.all("input", type="hidden", name_=name)]

    return {"act": held("act")[0], "token": held("token")[0], "case": held("case")}


def test_the_page_says_in_numbers_what_will_happen_and_the_act_does_it_once(
    done: list[Case], site: Site, sign_in: SignIn
) -> None:
    client = sign_in(site=site)
    page = ask(client, "rerun", done)
    assert "3 images of 2 cases will be run again with the model that is live now." in page.text
    assert "1 case left out" in page.text
    assert "A-3: Its images wait or are being read already." in page.text
    before = Job.objects.count()
    response = client.post(f"{URL}confirm/", agreed(page))
    told = read(response.content)
    assert "3 images of 2 cases asked for again. They wait now." in told.text
    assert (csp_faults(told), structure_faults(told)) == ([], [])
    assert Job.objects.count() == before + 3
    events = AuditEvent.objects.filter(action="case.rerun").order_by("id")
    assert [(e.case_id, e.detail) for e in events] == [
        (done[0].pk, {"images": 2}),
        (done[1].pk, {"images": 1}),
    ]
    # The same once more, as by a page that is loaded again.
    again = client.post(f"{URL}confirm/", agreed(page))
    assert again.status_code == 409
    assert "nothing was done" in read(again.content).text
    assert Job.objects.count() == before + 3


def test_readings_that_wait_are_called_off_and_the_rest_is_left_alone(
    done: list[Case], site: Site, sign_in: SignIn
) -> None:
    client = sign_in(role="admin", site=site)
    page = ask(client, "cancel", done)
    assert "1 image of 1 case will get no answer from the model." in page.text
    told = read(client.post(f"{URL}confirm/", agreed(page)).content)
    assert "Runs on 1 image of 1 case cancelled." in told.text
    assert Job.objects.get(image__case=done[2]).state == "CANCELLED"
    assert Job.objects.filter(state="SUCCEEDED").count() == 3
    assert AuditEvent.objects.get(action="case.called_off").case_id == done[2].pk


def test_what_cannot_be_done_is_named_and_keeps_nothing_else_from_it(
    done: list[Case], site: Site, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = bulk.job_rerun
    second = Job.objects.get(image__case=done[1])

    def refuse(**kwargs: Any) -> Job:
        if kwargs["job_id"] == second.pk:
            raise StateConflict("This image is already waiting for an answer.")
        return real(**kwargs)

    monkeypatch.setattr(bulk, "job_rerun", refuse)
    client = sign_in(site=site)
    told = read(client.post(f"{URL}confirm/", agreed(ask(client, "rerun", done))).content)
    assert "2 images of 1 case asked for again." in told.text
    assert "1 case not" in told.text
    assert "A-2: This image is already waiting for an answer." in told.text


def test_a_case_is_done_as_a_whole_or_not_at_all_and_a_full_queue_ends_it(
    done: list[Case], site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    actor, calls = make_actor(site=site), []
    real = bulk.job_rerun

    def full(**kwargs: Any) -> Job:
        calls.append(kwargs)
        if len(calls) == 2:
            raise Overloaded()
        return real(**kwargs)

    monkeypatch.setattr(bulk, "job_rerun", full)
    ids = [case.pk for case in done]
    before = Job.objects.count()
    token = bulk_plan(actor=actor, act=BulkAct.RERUN, case_ids=ids).token
    told = bulk_do(actor=actor, act=BulkAct.RERUN, case_ids=ids, token=token)
    assert [type(outcome.error) for outcome in told] == [Overloaded, Overloaded]
    assert len(calls) == 2
    assert Job.objects.count() == before
    assert not AuditEvent.objects.filter(action="case.rerun").exists()


def test_nothing_ticked_says_what_to_do(sign_in: SignIn) -> None:
    response = sign_in().post(URL, {"act": "rerun"})
    assert response.status_code == 422
    page = read(response.content)
    assert "Nothing is ticked" in page.text
    assert (csp_faults(page), structure_faults(page)) == ([], [])


@pytest.mark.parametrize("act", ["", "delete", "RERUN"])
def test_an_act_that_is_none_is_not_found(
    act: str, done: list[Case], site: Site, sign_in: SignIn
) -> None:
    client = sign_in(site=site)
    data = {"act": act, "case": [done[0].pk], "token": "x"}
    assert client.post(URL, data).status_code == 404
    assert client.post(f"{URL}confirm/", data).status_code == 404
    assert client.post(URL, {"act": "rerun", "case": "nonsense"}).status_code == 404
    assert client.get(URL).status_code == 405


def test_another_sites_case_is_not_found_whatever_else_is_chosen(
    done: list[Case], sign_in: SignIn
) -> None:
    client = sign_in(site=make_site())
    for act in ("rerun", "cancel", "csv"):
        assert client.post(URL, {"act": act, "case": [done[0].pk]}).status_code == 404
    actor = make_actor()
    with pytest.raises(NotFound):
        bulk_do(actor=actor, act=BulkAct.RERUN, case_ids=[done[0].pk], token="")
    with pytest.raises(FieldInvalid):
        bulk_plan(actor=actor, act=BulkAct.RERUN, case_ids=[uuid4() for _ in range(201)])
    with pytest.raises(FieldInvalid):
        bulk_plan(actor=actor, act=BulkAct.RERUN, case_ids=[])


def test_only_those_who_submit_or_operate_act(done: list[Case], site: Site) -> None:
    for role in ("approver", "auditor"):
        with pytest.raises(PermissionDenied):
            bulk_plan(
                actor=make_actor(roles=[role], site=site),
                act=BulkAct.CANCEL,
                case_ids=[done[2].pk],
            )


def test_an_erased_case_is_left_out(done: list[Case], site: Site, sign_in: SignIn) -> None:
    erase(actor_for_user(make_user(roles=["admin"], site=site)), done[0])
    page = ask(sign_in(site=site), "rerun", done[:2])
    assert "1 image of 1 case" in page.text
    assert "The data of this patient was erased" in page.text


def test_the_plan_costs_the_same_queries_for_any_number(done: list[Case], site: Site) -> None:
    actor = make_actor(site=site)

    def queries(cases: list[Case]) -> int:
        with CaptureQueriesContext(connection) as caught:
            bulk_plan(actor=actor, act=BulkAct.RERUN, case_ids=[case.pk for case in cases])
        return len(caught)

    assert queries(done) == queries(done[:1]) == 2


def test_chosen_rows_are_taken_away_as_csv_safe_for_a_spreadsheet(
    site: Site, sign_in: SignIn
) -> None:
    nurse = make_actor(roles=["sonographer"], site=site)
    submission = submit(
        actor=nurse, accession_number="A-1", patient_id="=HYPERLINK", patient_name="Doe^Jane"
    )
    stored_result(submission.jobs.get(), 0.75)
    client = sign_in(site=site)
    response = client.post(URL, {"act": "csv", "case": [submission.case.pk]})
    assert response.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert "attachment" in response.headers["Content-Disposition"]
    (row,) = csv.DictReader(io.StringIO(response.content.decode()))
    assert (row["accession_number"], row["patient_id"], row["patient_name"]) == (
        "A-1",
        "'=HYPERLINK",
        "Doe, Jane",
    )
    assert (row["state"], row["answer"], row["malignant_score"]) == ("done", "above", "0.75")
    event = AuditEvent.objects.get(action="case.exported")
    assert event.case_id == submission.case_id
    # A score in a file was seen, as one on a page.
    assert AuditEvent.objects.filter(action="result.read").count() == 1
    hidden = sign_in(role="admin", site=site).post(URL, {"act": "csv", "case": [event.case_id]})
    assert "Doe" not in hidden.content.decode()


@pytest.mark.django_db(transaction=True)
def test_the_same_act_twice_at_once_is_done_once() -> None:
    site = make_site()
    submission = submit(actor=make_actor(roles=["sonographer"], site=site))
    job = submission.jobs.get()
    actor = make_actor(site=site)
    job_cancel(actor=actor, job_id=job.pk)
    ids = [submission.case_id]
    token = bulk_plan(actor=actor, act=BulkAct.RERUN, case_ids=ids).token
    told = at_once(2, lambda: bulk_do(actor=actor, act=BulkAct.RERUN, case_ids=ids, token=token))
    done = [outcome for outcomes in told if isinstance(outcomes, list) for outcome in outcomes]
    assert sum(outcome.done for outcome in done) == 1
    assert Job.objects.filter(state="PENDING").count() == 1
