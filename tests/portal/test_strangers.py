"""What strangers send is read past, never stored."""

from __future__ import annotations

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from cases.intake import upload as upload_module
from tests.factories import PASSWORD, make_user, phantom_jpeg

pytestmark = pytest.mark.django_db


@pytest.fixture
def spools(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The temporary files that uploads made."""
    made: list[object] = []
    real = upload_module.Spool

    def counted(*args: object, **kwargs: object) -> object:
        made.append(real(*args, **kwargs))
        return made[-1]

    monkeypatch.setattr(upload_module, "Spool", counted)
    return made


@pytest.mark.parametrize("path", ["/submit/", "/sign-in/"])
def test_a_strangers_file_never_reaches_the_disk(path: str, spools: list[object]) -> None:
    response = Client().post(path, {"file": _file()})
    assert response.status_code in (200, 302)
    assert spools == []


def test_an_anonymous_api_call_is_refused_before_its_file_is_read(spools: list[object]) -> None:
    response = Client().post("/api/v1/submissions/", {"file": _file(), "patient_id": "P1"})
    assert response.status_code == 401
    assert spools == []


def test_the_file_of_a_signed_in_sender_does(spools: list[object]) -> None:
    user = make_user(roles=["radiologist"])
    client = Client()
    client.login(username=user.username, password=PASSWORD)
    client.post("/submit/", {"file": _file(), "patient_id": "P1"})
    assert len(spools) == 1


def _file() -> SimpleUploadedFile:
    return SimpleUploadedFile("a.jpg", phantom_jpeg())
