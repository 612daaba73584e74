"""`POST /submissions/` and `GET /submissions/{id}/`: the receipt, and what is refused."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from cases.errors import FILE_ERROR_CODES
from cases.models import Case, Image, Job, Patient, Site, Submission
from cases.services.fields import FIELD_NAMES
from tests.api.conftest import answer_waiting
from tests.api.contract import Api, problem, schema
from tests.cases.intake.test_bad_input import ROWS
from tests.factories import make_token, phantom_jpeg, submit
from tests.phantoms import dicom_bytes

pytestmark = pytest.mark.django_db

BAD_FILES = {row.code: row.bad() for row in reversed(ROWS)}


def nothing_stored() -> bool:
    return not any(model.objects.exists() for model in (Patient, Case, Submission, Image, Job))


def test_the_receipt_is_the_contracts(api: Api) -> None:
    data = phantom_jpeg()
    response = api.submit([data], patient_id="P1", accession_number="A1", laterality="L")
    assert response.status_code == 202
    body = response.json()
    submission = Submission.objects.get()
    image, job = submission.images.get(), submission.jobs.get()
    base = "http://testserver/api/v1"
    assert body == {
        "id": str(submission.pk),
        "url": f"{base}/submissions/{submission.pk}/",
        "case": {"id": str(submission.case_id), "url": f"{base}/cases/{submission.case_id}/"},
        "images": [
            {
                "id": str(image.pk),
                "url": f"{base}/images/{image.pk}/",
                "sha256": hashlib.sha256(data).hexdigest(),
                "duplicate_of": None,
            }
        ],
        "jobs": [
            {
                "id": str(job.pk),
                "url": f"{base}/jobs/{job.pk}/",
                "image": str(image.pk),
                "state": "PENDING",
            }
        ],
        "skipped": [],
    }
    assert response.headers["Location"] == body["url"]
    assert job.request_id == response.headers["X-Request-ID"]


def test_every_field_of_the_form_reaches_the_records(api: Api) -> None:
    fields: dict[str, Any] = {
        "patient_id": "P1",
        "patient_issuer": "HOSPITAL",
        "accession_number": "A1",
        "accession_issuer": "RIS",
        "patient_name": "Phantom^Anna",
        "birth_date": "1968-04-30",
        "sex": "F",
        "laterality": "R",
        "clock_position": "10",
        "quadrant": "upper_outer",
        "nipple_distance_mm": "25",
        "indication": "symptomatic",
        "priority": "urgent",
        "on_bad_file": "skip",
    }
    assert set(fields) == set(FIELD_NAMES)
    assert api.submit([phantom_jpeg()], **fields).status_code == 202
    case = Case.objects.select_related("patient").get()
    finding = case.findings.get()
    assert (case.patient.patient_id, case.patient.issuer) == ("P1", "HOSPITAL")
    assert (case.patient.name, case.patient.sex) == ("Phantom^Anna", "F")
    assert str(case.patient.birth_date) == "1968-04-30"
    assert (case.accession_number, case.accession_issuer) == ("A1", "RIS")
    assert case.indication == "symptomatic"
    assert (finding.laterality, finding.clock_position, finding.quadrant) == (
        "R",
        10,
        "upper_outer",
    )
    assert float(finding.nipple_distance_mm or 0) == 25.0
    assert Job.objects.get().priority == 1


def test_the_schema_names_exactly_the_fields_the_parser_reads() -> None:
    form = schema()["components"]["schemas"]["SubmissionFormRequest"]
    assert set(form["properties"]) == {*FIELD_NAMES, "file"}


def test_a_dicom_file_brings_its_own_patient(api: Api) -> None:
    response = api.submit([("scan.dcm", dicom_bytes(patient_id="D1", accession="ACC-9"))])
    assert response.status_code == 202
    case = Case.objects.select_related("patient").get()
    assert (case.patient.patient_id, case.accession_number) == ("D1", "ACC-9")


def test_several_files_keep_their_order(api: Api) -> None:
    files = [phantom_jpeg() for _ in range(3)]
    body = api.submit(files, patient_id="P1").json()
    hashes = [hashlib.sha256(data).hexdigest() for data in files]
    assert [image["sha256"] for image in body["images"]] == hashes
    images = [image["id"] for image in body["images"]]
    assert [job["image"] for job in body["jobs"]] == images


def test_the_same_bytes_again_are_a_new_image_that_names_the_first(api: Api) -> None:
    data = phantom_jpeg()
    first = api.submit([data], patient_id="P1").json()
    second = api.submit([data], patient_id="P1").json()
    assert second["images"][0]["duplicate_of"] == first["images"][0]["id"]
    assert second["jobs"][0]["id"] != first["jobs"][0]["id"]


# What is refused


@pytest.mark.parametrize("code", sorted(BAD_FILES))
def test_a_bad_file_is_refused_with_its_code_and_name(api: Api, code: str) -> None:
    response = api.submit([("Müller^Anna.bin", BAD_FILES[code])], patient_id="PHANTOM-1")
    body = problem(response, 415 if code in FORMATS else 422, code)
    assert body["file"] == "Müller^Anna.bin"
    assert nothing_stored()


FORMATS = {"image_unsupported", "dicom_transfer_syntax"}


def test_the_table_of_bad_files_covers_every_code() -> None:
    assert set(BAD_FILES) | {"file_too_large"} == FILE_ERROR_CODES


def test_a_file_over_the_limit_is_refused_as_too_large(api: Api, settings: Any) -> None:
    settings.BCWEB_MAX_UPLOAD_BYTES = 2048
    response = api.submit([("big.jpg", phantom_jpeg())], patient_id="P1")
    body = problem(response, 413, "file_too_large")
    assert body["file"] == "big.jpg"
    assert nothing_stored()


def test_one_bad_file_refuses_all_and_is_named(api: Api) -> None:
    files = [("good.jpg", phantom_jpeg()), ("bad.png", b"Dear colleague")]
    body = problem(api.submit(files, patient_id="P1"), 415, "image_unsupported")
    assert body["file"] == "bad.png"
    assert nothing_stored()


def test_skip_takes_the_good_and_reports_each_bad_file(api: Api, settings: Any) -> None:
    settings.BCWEB_MAX_UPLOAD_BYTES = 300_000
    files = [
        ("good.jpg", phantom_jpeg()),
        ("bad.png", b"Dear colleague"),
        ("empty.jpg", b""),
        ("big.dcm", b"\0" * 300_001),
    ]
    body = api.submit(files, patient_id="P1", on_bad_file="skip").json()
    assert len(body["images"]) == len(body["jobs"]) == 1
    told = [(skipped["file"], skipped["code"]) for skipped in body["skipped"]]
    assert told == [
        ("bad.png", "image_unsupported"),
        ("empty.jpg", "file_empty"),
        ("big.dcm", "file_too_large"),
    ]
    assert all(skipped["detail"].endswith(".") for skipped in body["skipped"])


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({}, "patient_id"),
        ({"patient_id": "x" * 65}, "patient_id"),
        ({"patient_id": "a\\b"}, "patient_id"),
        ({"patient_id": "a\x00b"}, "patient_id"),
        ({"patient_id": "P", "birth_date": "30.04.1968"}, "birth_date"),
        ({"patient_id": "P", "sex": "X"}, "sex"),
        ({"patient_id": "P", "clock_position": "13"}, "clock_position"),
        ({"patient_id": "P", "nipple_distance_mm": "NaN"}, "nipple_distance_mm"),
        ({"patient_id": "P", "priority": "asap"}, "priority"),
        ({"patient_id": "P", "laterality": "B", "clock_position": "3"}, "laterality"),
    ],
)
def test_a_wrong_field_is_named(api: Api, fields: dict[str, str], named: str) -> None:
    body = problem(api.submit([phantom_jpeg()], **fields), 422, "field_invalid")
    assert list(body["errors"]) == [named]
    assert nothing_stored()


def test_all_wrong_fields_are_named_at_once(api: Api) -> None:
    response = api.submit([phantom_jpeg()], patient_id="P", sex="X", clock_position="0")
    assert set(problem(response, 422, "field_invalid")["errors"]) == {"sex", "clock_position"}


def test_no_file_at_all_is_a_field_error(api: Api) -> None:
    body = problem(api.submit([], patient_id="P1"), 422, "field_invalid")
    assert list(body["errors"]) == ["file"]


def test_more_files_than_allowed_are_a_field_error(api: Api, settings: Any) -> None:
    settings.DATA_UPLOAD_MAX_NUMBER_FILES = 2
    response = api.submit([phantom_jpeg(seed=n) for n in range(3)], patient_id="P1")
    assert list(problem(response, 422, "field_invalid")["errors"]) == ["file"]


def test_fields_over_a_megabyte_are_too_large(api: Api, settings: Any) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1000
    response = api.submit([phantom_jpeg()], patient_id="P1", patient_name="x" * 2000)
    problem(response, 413, "request_too_large")


def test_header_and_form_about_different_patients_are_refused(api: Api) -> None:
    response = api.submit([("s.dcm", dicom_bytes(patient_id="D1"))], patient_id="OTHER")
    body = problem(response, 422, "identity_mismatch")
    assert (body["file"], list(body["errors"])) == ("s.dcm", ["patient_id"])
    assert "D1" not in body["detail"]
    assert nothing_stored()


def test_a_reason_does_not_let_a_system_keep_the_form_over_the_header(api: Api) -> None:
    response = api.submit(
        [("s.dcm", dicom_bytes(patient_id="D1"))], patient_id="OTHER", override_reason="mine"
    )
    problem(response, 422, "identity_mismatch")


def test_an_accession_of_another_patient_conflicts(api: Api) -> None:
    api.submit([phantom_jpeg()], patient_id="P1", accession_number="A1")
    response = api.submit([phantom_jpeg()], patient_id="P2", accession_number="A1")
    problem(response, 409, "accession_conflict")


def test_an_image_of_another_patient_conflicts_and_tells_nothing(api: Api) -> None:
    data = phantom_jpeg()
    first = api.submit([data], patient_id="SECRET-1").json()
    response = api.submit([("mine.jpg", data)], patient_id="P2")
    body = problem(response, 409, "duplicate_of_other_patient")
    assert body["file"] == "mine.jpg"
    assert "SECRET-1" not in str(body)
    assert first["case"]["id"] not in str(body)


def test_without_a_live_model_nothing_is_taken_in(db: None) -> None:
    response = Api(make_token()[1]).submit([phantom_jpeg()], patient_id="P1")
    problem(response, 503, "overloaded")
    assert int(response.headers["Retry-After"]) > 0
    assert nothing_stored()


# Names of files


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("../../etc/passwd", "passwd"),
        ("..", "file"),
        ("a\u202egpj.exe", "agpj.exe"),
        ("x" * 400 + ".jpg", "x" * 251 + ".jpg"),
        ("Ünïcödé image.JPG", "Ünïcödé image.JPG"),
    ],
)
def test_hostile_file_names_are_taken_and_stored_cleaned(api: Api, name: str, kept: str) -> None:
    raw = phantom_jpeg()
    boundary = "xYzZy"
    body = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="patient_id"\r\n\r\nP1\r\n'
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
        "Content-Type: image/jpeg\r\n\r\n"
    ).encode() + raw
    body += f"\r\n--{boundary}--\r\n".encode()
    response = api.send(
        "POST",
        "/submissions/",
        headers={},
        data=body,
        content_type=f"multipart/form-data; boundary={boundary}",
    )
    assert response.status_code == 202
    assert Image.objects.get().file_name == kept


# Looking again


def test_a_submission_shows_its_jobs_as_they_are_now(api: Api) -> None:
    receipt = api.submit([phantom_jpeg(), phantom_jpeg()], patient_id="P1").json()
    before = api.get(receipt["url"])
    assert before.json() == receipt
    assert before.headers["Retry-After"] == "1"
    answer_waiting()
    after = api.get(receipt["url"], If_None_Match=before.headers["ETag"])
    assert after.status_code == 200
    assert {job["state"] for job in after.json()["jobs"]} == {"SUCCEEDED"}
    assert "Retry-After" not in after.headers


def test_an_unchanged_submission_is_304(api: Api) -> None:
    receipt = api.submit([phantom_jpeg()], patient_id="P1").json()
    etag = api.get(receipt["url"]).headers["ETag"]
    again = api.get(receipt["url"], If_None_Match=etag)
    assert (again.status_code, again.headers["ETag"]) == (304, etag)
    assert again.headers["Retry-After"] == "1"


def test_a_token_that_may_only_submit_sees_its_own_deliveries_only(site: Site) -> None:
    writer, other = (Api(make_token(site=site, scopes=["submit"])[1]) for _ in range(2))
    receipt = writer.submit(
        [("bad.txt", b"text"), phantom_jpeg()], on_bad_file="skip", patient_id="P1"
    ).json()
    assert receipt["skipped"][0]["file"] == "bad.txt"
    assert writer.get(receipt["url"]).json() == receipt
    problem(other.get(receipt["url"]), 404, "not_found")
    job = receipt["jobs"][0]["url"]
    assert writer.get(job).status_code == 200
    for method, path in (("GET", job), ("POST", job + "cancel/"), ("POST", job + "rerun/")):
        problem(other.send(method, path, headers={}), 404, "not_found")


def test_who_sees_no_identity_sees_no_name_of_a_skipped_file(site: Site) -> None:
    submission = submit(patient_id="P1")
    submission.skipped = [{"file": "Anna.jpg", "code": "file_empty", "detail": "Empty."}]
    submission.site = site
    submission.save()
    admin = Api(make_token(site=site, roles=["admin"], scopes=["read"])[1])
    body = admin.get(f"/submissions/{submission.pk}/").json()
    assert body["skipped"] == [{"file": None, "code": "file_empty", "detail": "Empty."}]
