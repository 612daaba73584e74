"""`Idempotency-Key`: the same request again is the same submission, also at the same moment."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from cases.models import IDEMPOTENCY_LIFE, Site, Submission
from tests.api.contract import Api, problem
from tests.factories import live_model, make_site, make_token, make_user, phantom_jpeg

pytestmark = pytest.mark.django_db


def test_the_same_request_again_gives_the_same_submission(api: Api) -> None:
    data = phantom_jpeg()
    first = api.submit([data], key="order-17", patient_id="P1")
    second = api.submit([data], key="order-17", patient_id="P1")
    assert (first.status_code, second.status_code) == (202, 202)
    assert second.json() == first.json()
    assert second.headers["Location"] == first.headers["Location"]
    assert Submission.objects.count() == 1


def test_fields_are_compared_as_they_are_meant(api: Api) -> None:
    data = phantom_jpeg()
    first = api.submit([data], key="k", patient_id=" P1 ", clock_position="03")
    second = api.submit([("other name.jpg", data)], key="k", clock_position="3", patient_id="P1")
    assert second.json()["id"] == first.json()["id"]


@pytest.mark.parametrize("other", ["fields", "files"])
def test_another_request_under_the_same_key_is_refused(api: Api, other: str) -> None:
    data = phantom_jpeg()
    api.submit([data], key="k", patient_id="P1")
    if other == "fields":
        response = api.submit([data], key="k", patient_id="P1", sex="F")
    else:
        response = api.submit([phantom_jpeg()], key="k", patient_id="P1")
    problem(response, 422, "idempotency_conflict")
    assert Submission.objects.count() == 1


def test_a_key_belongs_to_its_token(api: Api, site: Site) -> None:
    data = phantom_jpeg()
    first = api.submit([data], key="k", patient_id="P1").json()
    other = Api(make_token(site=site)[1])
    assert other.submit([data], key="k", patient_id="P1").json()["id"] != first["id"]


def test_two_tokens_of_one_user_do_not_share_keys(site: Site) -> None:
    user = make_user(roles=["integration"], site=site)
    data = phantom_jpeg()
    ids = {
        Api(make_token(user=user)[1]).submit([data], key="k", patient_id="P1").json()["id"]
        for _ in range(2)
    }
    assert len(ids) == 2


def test_a_key_is_forgotten_after_a_day(api: Api) -> None:
    first = api.submit([phantom_jpeg()], key="k", patient_id="P1").json()
    Submission.objects.update(created_at=timezone.now() - IDEMPOTENCY_LIFE)
    second = api.submit([phantom_jpeg()], key="k", patient_id="P2")
    assert second.status_code == 202
    assert second.json()["id"] != first["id"]


def test_a_refused_request_does_not_use_up_its_key(api: Api) -> None:
    assert api.submit([b"text"], key="k", patient_id="P1").status_code == 415
    assert api.submit([phantom_jpeg()], key="k", patient_id="P1").status_code == 202


@pytest.mark.parametrize("key", ["", "x" * 201, "Schlüssel", " ", "a\tb"])
def test_a_key_that_is_none_is_a_field_error(api: Api, key: str) -> None:
    response = api.submit([phantom_jpeg()], key=key, patient_id="P1")
    assert list(problem(response, 422, "field_invalid")["errors"]) == ["Idempotency-Key"]


def test_a_key_of_200_characters_is_taken(api: Api) -> None:
    assert api.submit([phantom_jpeg()], key="x y" + "~" * 197, patient_id="P1").status_code == 202


@pytest.mark.django_db(transaction=True)
def test_the_same_request_at_the_same_moment_makes_one_submission() -> None:
    live_model()
    secret = make_token(site=make_site())[1]
    data = phantom_jpeg()
    start = threading.Barrier(4)
    answers: list[Any] = []

    def send() -> None:
        start.wait()
        try:
            answers.append(Api(secret).submit([data], key="k", patient_id="P1"))
        finally:
            connection.close()

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 4
    taken = [response for response in answers if response.status_code == 202]
    assert len({response.json()["id"] for response in taken}) == 1
    for response in answers:
        if response.status_code != 202:
            problem(response, 409, "state_conflict")
            assert response.headers["Retry-After"] == "1"
    assert Submission.objects.count() == 1
