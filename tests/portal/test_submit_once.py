"""One press or two, a lost connection, another person: a form is taken in once."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from django.db import connection, transaction
from django.test import Client
from django.urls import reverse

from cases import intake
from cases.models import Image, Job, Submission
from cases.services.locks import advisory_lock
from tests.factories import live_model, make_site, make_user, phantom_jpeg
from tests.portal.conftest import SignIn
from tests.portal.submitting import URL, file, page_of, post, summary

pytestmark = pytest.mark.django_db


@pytest.fixture
def client(sign_in: SignIn) -> Client:
    live_model()
    return sign_in(role="sonographer")


def test_sending_the_same_form_twice_makes_one_submission(client: Client) -> None:
    data = phantom_jpeg()
    first = post(client, file(data), patient_id="P")
    second = post(client, file(data), patient_id="P")
    assert first.headers["Location"] == second.headers["Location"]
    assert Submission.objects.count() == Image.objects.count() == Job.objects.count() == 1


def test_each_rendered_form_has_a_key_of_its_own(client: Client) -> None:
    keys = {page_of(client.get(URL)).values()["idempotency_key"] for _ in range(3)}
    assert len(keys) == 3


def test_a_form_without_a_usable_key_is_still_taken_in(client: Client) -> None:
    response = post(client, file(), patient_id="P", idempotency_key="' OR 1")
    assert response.status_code == 302
    assert re.fullmatch(r"[0-9a-f-]{36}", Submission.objects.get().idempotency_key)


def test_the_form_of_before_with_other_content_is_offered_as_a_new_one(client: Client) -> None:
    post(client, file(), patient_id="P")
    response = post(client, file(), patient_id="P-2")
    page = page_of(response)
    assert response.status_code == 422
    assert "press Submit case again" in summary(page)
    key = page.values()["idempotency_key"]
    assert key != "form-key-0001"
    assert post(client, file(), patient_id="P-2", idempotency_key=key).status_code == 302


@pytest.mark.django_db(transaction=True)
def test_a_double_click_waits_for_the_first_press_and_finds_its_case(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    live_model()
    user = make_user(roles=["sonographer"], site=make_site())
    first, second = Client(), Client()
    first.force_login(user)
    second.force_login(user)
    data = phantom_jpeg()
    meanwhile: list[Any] = []
    inspect = intake.inspect

    def pressed_again_meanwhile(*args: Any, **kwargs: Any) -> Any:
        if not meanwhile:
            meanwhile.append(
                _in_another_connection(lambda: post(second, file(data), patient_id="P"))
            )
        return inspect(*args, **kwargs)

    monkeypatch.setattr(intake, "inspect", pressed_again_meanwhile)
    taken_in = post(first, file(data), patient_id="P")
    waiting = meanwhile[0].headers["Location"]
    assert waiting == reverse("submission-pending", args=["form-key-0001"])
    assert second.get(waiting).headers["Location"] == taken_in.headers["Location"]
    assert Submission.objects.count() == 1


def _in_another_connection(act: Any) -> Any:
    found: list[Any] = []

    def run() -> None:
        try:
            found.append(act())
        finally:
            connection.close()

    thread = Thread(target=run)
    thread.start()
    thread.join(60)
    return found[0]


def test_the_waiting_page_looks_again_and_at_last_says_that_nothing_came(client: Client) -> None:
    url = reverse("submission-pending", args=["form-key-0001"])
    page = page_of(client.get(url))
    (refresh,) = page.all("meta", http_equiv="refresh")
    assert refresh.attrs["content"] == f"2;url={url}?looks=1"
    page = page_of(client.get(url, {"looks": "1000"}))
    assert "Nothing was stored" in page.text
    assert not page.all("meta", http_equiv="refresh")


def test_the_waiting_page_goes_on_while_the_first_press_is_still_taken_in(
    client: Client,
) -> None:
    url = reverse("submission-pending", args=["form-key-0001"])
    user_id = client.session["_auth_user_id"]

    locked, looked = Event(), Event()

    def taken_in() -> None:
        try:
            with transaction.atomic():
                assert advisory_lock("idempotency", user_id, "form-key-0001", wait=False)
                locked.set()
                assert looked.wait(60)
        finally:
            connection.close()

    first = Thread(target=taken_in)
    first.start()
    assert locked.wait(60)
    page = page_of(client.get(url, {"looks": "45"}))
    looked.set()
    first.join(60)
    assert "Taking in your case" in page.text
    assert "Nothing was stored" in page_of(client.get(url, {"looks": "45"})).text


def test_nobody_finds_the_case_of_another_persons_key(client: Client, sign_in: SignIn) -> None:
    post(client, file(), patient_id="P")
    other = sign_in(role="sonographer")
    response = other.get(reverse("submission-pending", args=["form-key-0001"]))
    assert response.status_code == 200
    assert "Taking in your case" in page_of(response).text


@pytest.mark.parametrize("good", [True, False])
def test_no_temporary_file_is_left(good: bool, client: Client, tmp_path: Path) -> None:
    previous, tempfile.tempdir = tempfile.tempdir, str(tmp_path)
    try:
        post(client, file(), file(None if good else b"text", "b.png"), patient_id="P")
    finally:
        tempfile.tempdir = previous
    assert list(tmp_path.iterdir()) == []


def test_without_a_live_model_the_form_comes_back_and_says_so(sign_in: SignIn) -> None:
    response = post(sign_in(role="sonographer"), file(), patient_id="P")
    page = page_of(response)
    assert response.status_code == 503
    assert "No model is live at the moment. Nothing was taken in." in summary(page)
    assert page.values()["patient_id"] == "P"
