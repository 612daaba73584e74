"""Sending the submit form, and reading the page that comes back."""

from __future__ import annotations

from typing import Any

from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from cases.models import Blob, Case, Image, Job, Patient, Submission
from tests.factories import phantom_jpeg
from tests.portal.markup import Markup, read

URL = "/submit/"
TYPED = {
    "patient_id": "P-1",
    "patient_issuer": "ELSEWHERE",
    "patient_name": "Doe, Jane",
    "birth_date": "1968-04-30",
    "sex": "F",
    "accession_number": "A-1",
    "accession_issuer": "RIS",
    "indication": "recall",
    "laterality": "L",
    "clock_position": "2",
    "quadrant": "upper_outer",
    "nipple_distance_mm": "25",
    "priority": "urgent",
    "on_bad_file": "skip",
}


def file(data: bytes | None = None, name: str = "scan.jpg") -> SimpleUploadedFile:
    return SimpleUploadedFile(name, phantom_jpeg() if data is None else data)


def post(client: Client, *files: Any, follow: Any = False, **fields: str) -> Any:
    data: dict[str, Any] = {"idempotency_key": "form-key-0001", **fields}
    if files:
        data["file"] = list(files)
    return client.post(URL, data, follow=follow)


def page_of(response: Any) -> Markup:
    return read(response.content)


def summary(page: Markup) -> str:
    return page.one("div", id="error-summary").text


def nothing_stored() -> bool:
    return (
        not any(model.objects.exists() for model in (Submission, Case, Patient, Image, Job))
        and not Blob.objects.filter(name__startswith="blobs/").exists()
    )
