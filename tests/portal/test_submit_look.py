"""A look at a chosen file before it is submitted: the reason or the header, and nothing kept."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from cases.errors import PermissionDenied
from cases.intake import upload as upload_module
from cases.models import AuditEvent
from cases.portal.forms import name_as_dicom, name_as_typed
from cases.services.looking import file_look
from tests.factories import make_actor, phantom_jpeg, upload
from tests.phantoms import bmode_phantom, dicom_bytes
from tests.portal.conftest import SignIn
from tests.portal.submitting import file, nothing_stored, post
from tests.portal.test_submit import bad_files

pytestmark = pytest.mark.django_db
URL = "/submit/look/"


@pytest.fixture
def client(sign_in: SignIn) -> Client:
    return sign_in(role="sonographer")


def look(client: Client, *files: Any) -> Any:
    return client.post(URL, {"file": list(files)}, headers={"HX-Request": "true"})


def test_a_good_picture_says_what_it_is_and_leaves_nothing(client: Client) -> None:
    before = AuditEvent.objects.count()
    response = look(client, file())
    assert response.status_code == 200
    told = response.json()
    assert (told["ok"], told["format"], told["frames"], told["header"]) == (True, "JPEG", 1, None)
    assert told["width"] > 0 and told["height"] > 0
    assert response.headers["Cache-Control"] == "no-store, private"
    assert nothing_stored()
    assert AuditEvent.objects.count() == before


def test_a_header_is_told_in_the_words_of_the_form(client: Client) -> None:
    data = dicom_bytes(
        bmode_phantom(seed=1), issuer="ELSEWHERE", laterality="L", accession_issuer="RIS"
    )
    assert look(client, file(data, "US1")).json()["header"] == {
        "patient_id": "PHANTOM-1",
        "patient_issuer": "ELSEWHERE",
        "patient_name": "Phantom, Anna",
        "birth_date": "1970-01-02",
        "sex": "F",
        "accession_number": "ACC-1",
        "accession_issuer": "RIS",
        "laterality": "L",
    }


def test_what_the_form_takes_from_the_header_is_taken_in_with_it(client: Client) -> None:
    data = dicom_bytes(bmode_phantom(seed=2), laterality="R")
    header = look(client, file(data)).json()["header"]
    assert post(client, file(data), **header).status_code in (302, 503)


def test_a_header_without_patient_id_tells_nothing_of_a_patient(client: Client) -> None:
    told = look(client, file(dicom_bytes(bmode_phantom(seed=3), patient_id=""))).json()["header"]
    assert "patient_name" not in told
    assert told["accession_number"] == "ACC-1"


@pytest.mark.parametrize("name", bad_files())
def test_a_bad_file_is_told_with_the_reason_of_a_submission(name: str, client: Client) -> None:
    data, _, word = bad_files()[name]
    response = look(client, file(data, name))
    assert response.status_code == 200
    told = response.json()
    assert told["ok"] is False
    assert word in told["detail"]
    assert nothing_stored()


def test_a_file_over_the_limit_is_told_so(client: Client, settings: Any) -> None:
    settings.BCWEB_MAX_UPLOAD_BYTES = 2048
    assert look(client, file()).json()["code"] == "file_too_large"


def test_one_file_is_looked_at_at_a_time(client: Client) -> None:
    assert look(client).status_code == 422
    assert look(client, file(), file()).status_code == 422


@pytest.mark.parametrize(
    ("role", "status"), [("radiologist", 200), ("admin", 403), ("auditor", 403)]
)
def test_only_those_who_submit_may_look(role: str, status: int, sign_in: SignIn) -> None:
    assert look(sign_in(role=role), file()).status_code == status
    assert sign_in(role=role).get(URL).status_code in (403, 405)
    if status == 403:
        with pytest.raises(PermissionDenied):
            file_look(actor=make_actor(roles=[role]), upload=upload(phantom_jpeg()))


def test_a_strangers_file_is_not_even_spooled(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []
    monkeypatch.setattr(upload_module, "Spool", lambda *a, **k: made.append(a))
    response = look(Client(), file())
    # The script is told to sign in.
    assert (response.status_code, response.headers["HX-Refresh"]) == (204, "true")
    assert made == []


@pytest.mark.parametrize(
    ("name", "typed"),
    [
        ("Doe^Jane", "Doe, Jane"),
        ("Doe", "Doe"),
        ("Doe^Jane^Q", "Doe^Jane^Q"),
        ("Doe^Jane=Ideographic", "Doe, Jane=Ideographic"),
        ("Smith, Jr^Bob", "Smith, Jr^Bob"),
        ("^Jane", "^Jane"),
        ("", ""),
    ],
)
def test_a_name_is_told_as_people_write_it_and_comes_back_the_same(name: str, typed: str) -> None:
    assert name_as_typed(name) == typed
    assert name_as_dicom(typed) == name
