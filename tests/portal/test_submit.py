"""Submitting at the portal: taken in once, refused without losing what was typed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from django.test import Client
from django.urls import reverse

from cases.errors import IdentityMismatch
from cases.models import Case, Image, Job, Patient, Submission
from cases.portal.forms import refused_form
from tests.factories import live_model, phantom_jpeg
from tests.phantoms import bmode_phantom, dicom_bytes, png_bytes
from tests.portal.conftest import SignIn
from tests.portal.submitting import TYPED, URL, file, nothing_stored, page_of, post, summary

pytestmark = pytest.mark.django_db


@pytest.fixture
def client(sign_in: SignIn) -> Client:
    live_model()
    return sign_in(role="sonographer")


def test_the_form_has_every_field_of_the_contract_with_a_label(client: Client) -> None:
    page = page_of(client.get(URL))
    names = {tag.attrs.get("name") for tag in page.tags if tag.name in ("input", "select")}
    assert names >= {*TYPED, "file", "idempotency_key"}
    assert "override_reason" not in names
    chosen = page.one("input", type="file", id="file")
    assert "multiple" in chosen.attrs
    label, button = page.all("label", for_="file")
    # The button comes with the script, and is no part of the field's name.
    assert (label.text, button.text.strip()) == ("Files", "Choose files")
    assert "hidden" in button.attrs


def test_a_complete_case_is_taken_in_and_leads_to_its_page(client: Client) -> None:
    response = post(client, file(), file(), **TYPED)
    case = Case.objects.get()
    assert response.status_code == 302
    assert response.headers["Location"] == reverse("case-detail", args=[case.pk])
    assert (case.accession_number, case.accession_issuer, case.indication) == (
        "A-1",
        "RIS",
        "recall",
    )
    assert case.patient.name == "Doe^Jane"
    assert str(case.patient.birth_date) == "1968-04-30"
    assert case.findings.get().clock_position == 2
    assert Job.objects.filter(state="PENDING").count() == 2
    text = page_of(client.get(response.headers["Location"])).text
    assert "2 images submitted." in text


def test_the_script_is_told_where_to_go_in_its_own_way(client: Client) -> None:
    response = client.post(
        URL,
        {"idempotency_key": "form-key-0001", "patient_id": "P", "file": file()},
        headers={"HX-Request": "true"},
    )
    assert response.status_code == 204
    assert response.headers["HX-Redirect"] == reverse("case-detail", args=[Case.objects.get().pk])


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("Doe, Jane", "Doe^Jane"),
        ("Doe^Jane^Q", "Doe^Jane^Q"),
        ("Doe", "Doe"),
        ("Doe,", "Doe"),
        ("", ""),
    ],
)
def test_a_name_is_taken_as_people_write_it(typed: str, kept: str, client: Client) -> None:
    post(client, file(), patient_id="P", patient_name=typed)
    assert Patient.objects.get().name == kept


def test_a_dicom_file_fills_in_what_was_left_out(client: Client) -> None:
    post(client, file(dicom_bytes(bmode_phantom(seed=5)), "US0001"))
    assert Patient.objects.get().patient_id == "PHANTOM-1"


def test_every_field_error_is_summed_up_linked_and_shown_beside_its_field(client: Client) -> None:
    wrong = {
        "patient_id": "x" * 65,
        "birth_date": "30.04.1968",
        "sex": "Q",
        "clock_position": "13",
        "nipple_distance_mm": "far",
        "priority": "now",
    }
    response = post(client, file(), **{**TYPED, **wrong})
    assert response.status_code == 422
    page = page_of(response)
    assert page.one("title").text.startswith("Error: ")
    links = {tag.attrs["href"] for tag in page.all("a") if tag.attrs.get("href", "")[:1] == "#"}
    for name in wrong:
        assert f"#{name}" in links
        assert page.one("p", id=f"{name}-error").text
    assert "Write the date as YYYY-MM-DD" in summary(page)
    assert page.one("input", id="birth_date").attrs["aria-invalid"] == "true"
    assert "birth_date-error" in page.one("input", id="birth_date").attrs["aria-describedby"]
    assert nothing_stored()


def test_nothing_typed_is_lost_on_an_error(client: Client) -> None:
    response = post(client, file(), **{**TYPED, "birth_date": "2999-01-01"})
    held = page_of(response).values()
    assert {name: held[name] for name in TYPED} == {**TYPED, "birth_date": "2999-01-01"}
    assert held["idempotency_key"] == "form-key-0001"


def test_typed_text_is_never_taken_for_markup(client: Client) -> None:
    response = post(client, patient_id='"><script>alert(1)</script>')
    html = response.content.decode()
    assert "<script>alert(1)" not in html
    assert page_of(response).values()["patient_id"] == '"><script>alert(1)</script>'


def test_a_form_without_a_file_says_so_at_the_file_field(client: Client) -> None:
    response = post(client, **TYPED)
    page = page_of(response)
    assert response.status_code == 422
    assert "Files: Choose at least one file." in summary(page)
    assert page.one("p", id="file-error").text.strip() == "Choose at least one file."


def test_a_raster_without_a_patient_id_asks_for_one(client: Client) -> None:
    page = page_of(post(client, file()))
    assert "Patient id: Enter the patient id;" in summary(page)
    assert nothing_stored()


def bad_files() -> dict[str, tuple[bytes, int, str]]:
    """Bytes, status and a word of the sentence, by name."""
    dicom = dicom_bytes(bmode_phantom(seed=1, size=(64, 64)))
    return {
        "empty.jpg": (b"", 422, "holds no data"),
        "text.png": (b"this is text", 415, "JPEG, PNG, BMP, TIFF, WebP or DICOM"),
        "cut.jpg": (phantom_jpeg()[:4000], 422, "cut off"),
        "small.png": (png_bytes(np.zeros((20, 20), np.uint8)), 422, "20 x 20 pixels"),
        "cut.dcm": (dicom[: len(dicom) // 2], 422, ""),
    }


@pytest.mark.parametrize("name", bad_files())
def test_a_bad_file_is_named_with_its_reason_and_nothing_is_stored(
    name: str, client: Client
) -> None:
    data, status, word = bad_files()[name]
    response = post(client, file(), file(data, name), patient_id="P")
    page = page_of(response)
    assert response.status_code == status
    assert f"“{name}”:" in summary(page)
    assert word in summary(page)
    assert "Remove or replace this file" in summary(page)
    assert page.values()["patient_id"] == "P"
    assert nothing_stored()


def test_skipped_files_are_reported_on_the_case_page(client: Client) -> None:
    response = post(
        client,
        file(),
        file(b"text", "notes.png"),
        patient_id="P",
        on_bad_file="skip",
        follow=True,
    )
    text = page_of(response).text
    assert "1 image submitted. 1 file skipped; see below." in text
    assert "1 file sent for this case was skipped" in text
    assert "notes.png" in text


def test_a_later_delivery_hides_neither_skipped_files_nor_a_reason(client: Client) -> None:
    data = dicom_bytes(bmode_phantom(seed=8))
    told = {"patient_id": "OTHER", "accession_number": "A-9", "on_bad_file": "skip"}
    post(
        client,
        file(data, "US1"),
        file(b"text", "notes.png"),
        override_reason="Wristband checked.",
        **told,
    )
    response = post(client, file(), idempotency_key="form-key-0002", follow=True, **told)
    text = page_of(response).text
    assert Case.objects.get().submissions.count() == 2
    assert "notes.png" in text
    assert text.count("Form kept over the DICOM header: Wristband checked.") == 1


def test_a_file_over_the_limit_is_refused_in_words(client: Client, settings: Any) -> None:
    settings.BCWEB_MAX_UPLOAD_BYTES = 2048
    response = post(client, file(name="large.jpg"), patient_id="P")
    assert response.status_code == 413
    assert "“large.jpg”:" in summary(page_of(response))
    assert nothing_stored()


def test_more_files_than_allowed_are_refused(client: Client, settings: Any) -> None:
    settings.DATA_UPLOAD_MAX_NUMBER_FILES = 2
    response = post(client, *(file() for _ in range(3)), patient_id="P")
    assert response.status_code == 400
    assert nothing_stored()


def test_a_header_that_disagrees_asks_for_a_reason_and_takes_it(client: Client) -> None:
    data = dicom_bytes(bmode_phantom(seed=6))
    response = post(client, file(data, "US0002"), patient_id="OTHER", accession_number="A-9")
    page = page_of(response)
    assert response.status_code == 422
    assert "“US0002”:" in summary(page)
    assert "patient id" in summary(page)
    assert "PHANTOM-1" not in response.content.decode()
    assert page.one("p", id="patient_id-error").text.strip() == "Differs from the DICOM header."
    assert page.one("input", id="override_reason")
    assert nothing_stored()
    response = post(
        client,
        file(data, "US0002"),
        patient_id="OTHER",
        accession_number="A-9",
        override_reason="Wristband checked; the device kept the patient before.",
        follow=True,
    )
    assert "Wristband checked" in page_of(response).text
    assert Patient.objects.get().patient_id == "OTHER"
    assert Submission.objects.get().override_reason.startswith("Wristband")


def test_a_header_of_the_other_breast_asks_for_a_reason_and_takes_it(client: Client) -> None:
    data = dicom_bytes(bmode_phantom(seed=7), laterality="R")
    response = post(client, file(data, "US0003"), laterality="L")
    page = page_of(response)
    assert response.status_code == 422
    assert "If the form is right, say why below the files" in summary(page)
    assert page.one("input", id="override_reason")
    post(client, file(data, "US0003"), laterality="L", override_reason="The mark was wrong.")
    assert Image.objects.get().laterality == "L"


def test_two_headers_that_differ_cannot_be_overruled() -> None:
    error = IdentityMismatch("The files name different patients.", file="US0004")
    form = refused_form({"patient_id": "P"}, key="form-key-0001", error=error)
    assert form.override is None
    assert "say why" not in form.problems[0].text


def test_a_birth_date_against_the_record_cannot_be_overruled_here(client: Client) -> None:
    post(client, file(), patient_id="P", birth_date="1968-04-30")
    response = post(
        client, file(), patient_id="P", birth_date="1969-04-30", idempotency_key="form-key-0002"
    )
    page = page_of(response)
    assert response.status_code == 422
    assert "Differs from the patient on record." in summary(page)
    assert not page.all("input", id="override_reason")


def test_an_accession_of_another_patient_is_told_at_the_field(client: Client) -> None:
    post(client, file(), patient_id="P-1", accession_number="A-1")
    response = post(
        client, file(), patient_id="P-2", accession_number="A-1", idempotency_key="form-key-0002"
    )
    assert response.status_code == 409
    page = page_of(response)
    assert "already in use for another patient" in page.one("p", id="accession_number-error").text
    assert "P-1" not in response.content.decode()


def test_the_same_image_under_another_patient_tells_nothing_of_the_other(client: Client) -> None:
    data = phantom_jpeg()
    post(client, file(data), patient_id="P-1", patient_name="Zebrafish, Quilla")
    response = post(client, file(data), patient_id="P-2", idempotency_key="form-key-0002")
    assert response.status_code == 409
    html = response.content.decode()
    assert "sent before under another patient" in html
    assert "P-1" not in html
    assert "Zebrafish" not in html
