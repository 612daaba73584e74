"""Error pages: a sentence and a reference, with nothing of the inside, database or not."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from cases.errors import Overloaded
from cases.portal.views import worklist
from tests.portal.conftest import SignIn
from tests.portal.markup import csp_faults, read, structure_faults
from tests.told import tells


@pytest.mark.django_db
def test_a_wrong_address_is_told_with_a_reference() -> None:
    response = Client().get("/nowhere/")
    page = read(response.content)
    assert response.status_code == 404
    assert "There is nothing here, or you have no access to it." in page.text
    assert response.headers["X-Request-ID"] in page.text


@pytest.mark.django_db
def test_an_unforeseen_error_tells_one_sentence_and_a_reference(
    sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(**_: Any) -> None:
        raise RuntimeError("patient Doe in table cases_patient")

    monkeypatch.setattr(worklist, "worklist_page", broken)
    client = sign_in()
    client.raise_request_exception = False
    response = client.get(reverse("worklist"))
    page = read(response.content)
    assert response.status_code == 500
    assert "Something went wrong on our side" in page.text
    assert response.headers["X-Request-ID"] in page.text
    assert not tells(response.content.decode(), "Doe")
    assert (csp_faults(page), structure_faults(page)) == ([], [])


def test_the_error_page_asks_no_database() -> None:
    # Without the database mark every query raises.
    client = Client(raise_request_exception=False)
    client.cookies["sessionid"] = "of-somebody"
    response = client.get(reverse("worklist"))
    assert response.status_code == 500
    assert "Something went wrong on our side" in read(response.content).text


@pytest.mark.django_db
def test_an_overloaded_service_tells_when_to_come_back(
    sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(**_: Any) -> None:
        raise Overloaded(retry_after=7)

    monkeypatch.setattr(worklist, "worklist_page", busy)
    response = sign_in().get(reverse("worklist"))
    assert response.status_code == 503
    assert response.headers["Retry-After"] == "7"
