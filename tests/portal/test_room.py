"""Back-pressure as people see it: kindly, with nothing lost and nothing stored."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from cases.models import Case, Job, Submission
from tests.factories import stored_result, submit
from tests.portal.conftest import SignIn, World
from tests.portal.markup import read
from tests.portal.pages import url_of
from tests.portal.submitting import URL, file, post

pytestmark = pytest.mark.django_db


def test_a_full_queue_is_told_in_words_and_nothing_is_stored(
    sign_in: SignIn, settings: Any
) -> None:
    settings.BCWEB_MAX_QUEUE = 1
    submit()
    submit(priority="stat")
    before = Submission.objects.count()
    response = post(sign_in(role="sonographer"), file(), patient_id="P")
    assert response.status_code == 503
    assert response.headers["Retry-After"] == "30"
    words = read(response.content).one("main", id="main").text
    assert "More images are waiting than this service takes on at once." in words
    assert "what you typed is still there" in words
    assert Submission.objects.count() == before


def test_what_is_not_stat_is_refused_on_the_form_and_stat_is_taken_in(
    sign_in: SignIn, settings: Any
) -> None:
    settings.BCWEB_MAX_QUEUE = 1
    submit()
    client = sign_in(role="sonographer")
    response = post(client, file(), patient_id="PATIENT-7", priority="urgent")
    assert (response.status_code, response.headers["Retry-After"]) == (503, "30")
    page = read(response.content)
    assert "More images are waiting than this service takes on at once." in page.text
    assert page.values()["patient_id"] == "PATIENT-7"
    assert post(client, file(), patient_id="PATIENT-7", priority="stat").status_code == 302
    assert Submission.objects.count() == 2


def test_nobody_reads_the_form_of_a_refused_upload(settings: Any) -> None:
    settings.BCWEB_MAX_QUEUE = 1
    submit()
    submit(priority="stat")

    class Untouched:
        def read(self, *_: Any) -> bytes:
            raise AssertionError("the body was read")

        readline = read

    # With the check for forged forms, as in life: it would read the whole body.
    response = Client(enforce_csrf_checks=True).post(
        URL,
        data=b"",
        content_type="multipart/form-data; boundary=x",
        **{"wsgi.input": Untouched(), "CONTENT_LENGTH": "100000"},
    )
    assert response.status_code == 503


def test_the_form_itself_opens_while_the_queue_is_full(sign_in: SignIn, settings: Any) -> None:
    settings.BCWEB_MAX_QUEUE = 1
    submit()
    client = sign_in(role="sonographer")
    response = client.get(URL)
    assert response.status_code == 200
    assert "takes nothing in just now" in read(response.content).text
    settings.BCWEB_MAX_QUEUE = 2
    assert "takes nothing in just now" not in read(client.get(URL).content).text


def test_a_rerun_refused_for_want_of_room_says_so_on_the_case(
    world: World, sign_in: SignIn, settings: Any
) -> None:
    settings.BCWEB_MAX_QUEUE = 1
    submit()
    page = sign_in(world.sonographer).post(f"/jobs/{world.job.pk}/rerun/", follow=True)
    assert "More images are waiting" in page.content.decode()
    assert not Job.objects.filter(rerun_of=world.job).exists()
    assert Case.objects.filter(pk=world.case.pk).exists()
    assert url_of(world.case) in page.redirect_chain[0][0]
    stored_result(Job.objects.get(state="PENDING"))
    page = sign_in(world.sonographer).post(f"/jobs/{world.job.pk}/rerun/", follow=True)
    assert Job.objects.filter(rerun_of=world.job).count() == 1
