"""Errors: always problem+json, never a 5xx for what a client sends, never a traceback."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import random
from typing import Any

import pytest
from django.core.exceptions import BadRequest, SuspiciousOperation
from django.db import InterfaceError, OperationalError
from django.http import UnreadablePostError
from django.test import RequestFactory
from rest_framework import exceptions as drf

from cases import errors
from cases.api.errors import ALL_ERRORS, problem_handler, user_facing
from cases.models import Site, Submission
from cases.storage import PostgresStorage, blob_name
from tests.api.contract import Api, problem
from tests.factories import live_model, make_actor, phantom_jpeg, submit

pytestmark = pytest.mark.django_db


def test_a_problem_has_the_contracts_keys(api: Api) -> None:
    response = api.get("/cases/nothing/", X_Request_ID="order-4711")
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.headers["X-Request-ID"] == "order-4711"
    assert response.headers["Cache-Control"] == "private, no-store"
    assert response.json() == {
        "type": "/api/v1/errors/not_found/",
        "title": "Not found",
        "status": 404,
        "detail": "There is nothing here, or you have no access to it.",
        "code": "not_found",
        "request_id": "order-4711",
    }


def test_the_type_of_every_code_can_be_looked_up_by_anybody(db: None) -> None:
    for code, kind in ALL_ERRORS.items():
        body = Api().get(f"/errors/{code}/").json()
        assert body == {
            "code": code,
            "status": kind.status,
            "title": kind.title,
            "detail": kind.default_detail,
        }
    problem(Api().get("/errors/nonsense/"), 404, "not_found")


def test_every_code_of_the_contract_is_known_with_its_status() -> None:
    statuses = {
        **dict.fromkeys(errors.FILE_ERROR_CODES, 422),
        "file_too_large": 413,
        "image_unsupported": 415,
        "dicom_transfer_syntax": 415,
        "field_invalid": 422,
        "identity_mismatch": 422,
        "idempotency_conflict": 422,
        "accession_conflict": 409,
        "duplicate_of_other_patient": 409,
        "state_conflict": 409,
        "not_found": 404,
        "not_authenticated": 401,
        "permission_denied": 403,
        "throttled": 429,
        "overloaded": 503,
    }
    assert {code: ALL_ERRORS[code].status for code in statuses} == statuses


# Addresses and methods that are not there


@pytest.mark.parametrize(
    "path",
    [
        "/nothing/",
        "/jobs/not-a-uuid/",
        "/jobs/00000000-0000-0000-0000-00000000000/",
        "/jobs/%00/",
        "/cases/../audit/",
        "/images/00000000-0000-4000-8000-000000000000/file/../../",
        "/ünïcödé/",
        "/" + "x" * 3000 + "/",
        "/api/v2/jobs/",
        "/api/",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_an_address_that_is_not_there_is_404(api: Api, method: str, path: str) -> None:
    problem(api.send(method, path, headers={}), 404, "not_found")


def test_an_address_without_its_slash_says_so(api: Api) -> None:
    assert "slash" in problem(api.get("/jobs"), 404, "not_found")["detail"]
    assert "slash" in problem(api.post("/submissions", {}), 404, "not_found")["detail"]


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("DELETE", "/jobs/", "GET, HEAD"),
        ("PUT", "/cases/", "GET, HEAD"),
        ("PATCH", "/models/live/", "GET, HEAD"),
        ("GET", "/patients/search/", "POST"),
        ("OPTIONS", "/jobs/", "GET, HEAD"),
        ("TRACE", "/jobs/", "GET, HEAD"),
        ("POST", "/schema/", "GET, HEAD"),
        ("OPTIONS", "/docs/", "GET, HEAD"),
    ],
)
def test_a_method_that_is_not_there_is_405(api: Api, method: str, path: str, allow: str) -> None:
    response = api.send(method, path, headers={})
    problem(response, 405, "method_not_allowed")
    assert response.headers["Allow"] == allow


def test_head_is_get_without_its_body(api: Api, site: Site) -> None:
    job = submit(actor=make_actor(site=site)).jobs.get()
    got, head = (api.send(m, f"/jobs/{job.pk}/", headers={}) for m in ("GET", "HEAD"))
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["ETag"] == got.headers["ETag"]


def test_a_representation_nobody_has_is_406(api: Api) -> None:
    problem(api.get("/jobs/", Accept="text/html"), 406, "not_acceptable")
    problem(api.get("/jobs/", {"format": "xml"}), 422, "field_invalid")
    assert api.get("/jobs/", Accept="application/json;q=0.5, */*").status_code == 200
    problem(api.get("/jobs/x/", Accept="application/problem+json"), 404, "not_found")


# Bodies


def raw(api: Api, body: bytes, content_type: str, path: str = "/submissions/") -> Any:
    return api.send("POST", path, headers={}, data=body, content_type=content_type)


MULTIPART = "multipart/form-data; boundary=X"
PART = b'--X\r\nContent-Disposition: form-data; name="%s"\r\n\r\nP1\r\n'
FILE = b'--X\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\n\r\n%s\r\n'


@pytest.mark.parametrize(
    ("body", "content_type", "status", "code"),
    [
        (b"{}", "application/json", 415, "media_type_unsupported"),
        (b"a=1", "application/x-www-form-urlencoded", 415, "media_type_unsupported"),
        (b"x", "nonsense", 415, "media_type_unsupported"),
        (b"x", "multipart/form-data", 400, "request_malformed"),
        (b"x", "multipart/form-data; boundary=" + "x" * 300, 415, "media_type_unsupported"),
        (b"", MULTIPART, 422, "field_invalid"),
        (b"garbage", MULTIPART, 422, "field_invalid"),
        (b"--X--\r\n", MULTIPART, 422, "field_invalid"),
        (PART % b"patient_id" + b"--X--\r\n", MULTIPART, 422, "field_invalid"),
        (PART % b"file" + b"--X--\r\n", MULTIPART, 422, "field_invalid"),
        (PART % b"patient_id" + FILE % b"" + b"--X--\r\n", MULTIPART, 422, "file_empty"),
        (PART % b"patient_id" + FILE % b"abc", MULTIPART, 422, "field_invalid"),
        (PART % b"patient_id" + FILE % b"abc" + b"--X--", MULTIPART, 415, "image_unsupported"),
        (PART % b"sex" + FILE % b"abc" + b"--X--\r\n", MULTIPART, 422, "field_invalid"),
        (b'--X\r\nContent-Disposition: form-data; name="file"; filename=""\r\n\r\n--X--\r\n',
         MULTIPART, 422, "field_invalid"),
        (b"--X\r\n\r\n\r\n--X--\r\n", MULTIPART, 422, "field_invalid"),
        (b'--X\r\nContent-Transfer-Encoding: base64\r\nContent-Disposition: form-data; '
         b'name="file"; filename="a"\r\n\r\n!!!\r\n--X--\r\n', MULTIPART, 400, "request_malformed"),
    ],
)  # fmt: skip
def test_a_malformed_submission_is_told_apart(
    api: Api, body: bytes, content_type: str, status: int, code: str
) -> None:
    problem(raw(api, body, content_type), status, code)


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"{", "application/json", 400),
        (b'{"frame": }', "application/json", 400),
        (b"\xff\xfe", "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b"[]", "application/json", 422),
        (b"null", "application/json", 422),
        (b'"x"', "application/json", 422),
        (b'{"frame": "\\ud800"}', "application/json", 422),
        (b'{"frame": {"a": [1]}}', "application/json", 422),
        (b'{"frame": 1e400}', "application/json", 422),
        (b'{"frame": NaN}', "application/json", 400),
        (b'{"frame": ' + b"9" * 5000 + b"}", "application/json", 400),
        (b" " * 2**20 + b"{}", "application/json", 413),
        (b"frame=x", "application/x-www-form-urlencoded", 422),
        (b"x" * 2**20 + b"x", "application/x-www-form-urlencoded", 413),
        (b"frame=1", "text/plain", 415),
    ],
)
def test_a_malformed_rerun_is_told_apart(
    api: Api, site: Site, body: bytes, content_type: str, status: int
) -> None:
    job = submit(actor=make_actor(site=site)).jobs.get()
    response = raw(api, body, content_type, f"/jobs/{job.pk}/rerun/")
    assert response.status_code == status, response.content
    assert (
        json.loads(response.content)["code"]
        in {
            400: {"request_malformed"},
            413: {"request_too_large"},
            415: {"media_type_unsupported"},
            422: {"field_invalid"},
        }[status]
    )


def test_a_submission_that_was_cut_off_is_refused_whole(api: Api) -> None:
    """A connection that breaks: the body is shorter than its Content-Length."""
    body = FILE % phantom_jpeg() + PART.replace(b"P1", b"12345") % b"patient_id" + b"--X--\r\n"
    for missing in (1, 12, 500):
        cut: Any = {"wsgi.input": io.BytesIO(body[:-missing])}
        response = api.client.generic(
            "POST",
            "/api/v1/submissions/",
            body,
            content_type=MULTIPART,
            headers=api.headers,
            **cut,
        )
        problem(response, 400, "request_malformed")


def test_a_submission_in_chunks_is_told_what_is_missing(api: Api) -> None:
    response = api.send(
        "POST", "/submissions/", headers={"Transfer_Encoding": "chunked"}, data={"patient_id": "P"}
    )
    assert "Content-Length" in problem(response, 400, "request_malformed")["detail"]


def test_no_mutation_of_a_submission_breaks_the_server(api: Api) -> None:
    whole = PART % b"patient_id" + FILE % phantom_jpeg()[:3000] + b"--X--\r\n"
    dice = random.Random(7)
    for _ in range(150):
        body = bytearray(whole)
        for _ in range(dice.randint(1, 6)):
            at = dice.randrange(min(len(body), 200))
            body[at : at + dice.randint(0, 3)] = dice.randbytes(dice.randint(0, 4))
        response = raw(api, bytes(body), MULTIPART)
        assert 400 <= response.status_code < 500, (response.content, bytes(body[:220]))


@pytest.mark.parametrize(
    "path", ["/jobs/", "/cases/", "/audit/", "/models/", "/training-runs/", "/models/live/"]
)
def test_no_query_breaks_the_server(site: Site, path: str) -> None:
    from tests.factories import make_token

    api = Api(make_token(site=site, roles=["admin"], scopes=["read"])[1])
    names = ["cursor", "page_size", "state", "kind", "accession_number", "action", "object_id",
             "case", "since", "until", "at", "format", "x"]  # fmt: skip
    values = ["", "%00", "%F0%9F%92%A9", "%ED%A0%80", "%ff", "9" * 400, "-1", "null", "[]", "'",
              "1e400", "0001-01-01T00:00:00%2B23:59", "9999-12-31T23:59:59-23:59",
              "10000-01-01T00:00:00Z", "2026-01-01T00:00:00Z", "{}", "\\"]  # fmt: skip
    for name in names:
        for value in values:
            response = api.get(f"{path}?{name}={value}")
            assert response.status_code in (200, 404, 422), (name, value, response.content)
    assert api.get(f"{path}?page_size=1&page_size=2&&=&%").status_code == 422


# Our own faults


def test_an_unexpected_fault_is_one_sentence_with_the_request_id(
    api: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    name = "An" + "na"

    def broken(**_: Any) -> None:
        raise ValueError(f"patient {name}")

    monkeypatch.setattr("cases.api.views.jobs.job_list", broken)
    response = api.get("/jobs/", X_Request_ID="fault-0001")
    body = problem(response, 500, "internal_error")
    assert body["request_id"] == "fault-0001"
    assert "Anna" not in response.content.decode()
    logged = "".join(str(record.msg) for record in caplog.records)
    assert "builtins.ValueError" in logged
    assert "in broken" in logged
    assert "fault-0001" in logged
    assert "Anna" not in logged


@pytest.mark.parametrize("fault", [OperationalError, InterfaceError])
def test_a_database_that_is_away_is_503_and_says_when_to_come_back(
    api: Api, monkeypatch: pytest.MonkeyPatch, fault: type[Exception]
) -> None:
    def away(*_: Any, **__: Any) -> None:
        raise fault("connection to server at 10.0.0.1 failed")

    for target in ("cases.api.views.jobs.job_list", "cases.api.authentication.token_authenticate"):
        with monkeypatch.context() as patch:
            patch.setattr(target, away)
            response = api.get("/jobs/")
        assert int(response.headers["Retry-After"]) > 0
        assert "10.0.0.1" not in str(problem(response, 503, "overloaded"))


@pytest.mark.parametrize(
    ("number", "status", "code"),
    [
        (errno.ENOSPC, 503, "overloaded"),
        (errno.EDQUOT, 503, "overloaded"),
        (errno.EIO, 500, "internal_error"),
    ],
)
def test_a_storage_without_room_is_503_and_leaves_nothing(
    api: Api, monkeypatch: pytest.MonkeyPatch, number: int, status: int, code: str
) -> None:
    save = PostgresStorage._save

    def full(self: PostgresStorage, name: str, content: Any) -> str:
        save(self, name, content)
        raise OSError(number, "no")

    monkeypatch.setattr(PostgresStorage, "_save", full)
    live_model()
    picture = phantom_jpeg()
    response = api.submit([picture], patient_id="P1")
    problem(response, status, code)
    assert (status == 503) == ("Retry-After" in response.headers)
    assert not Submission.objects.exists()
    assert not PostgresStorage().exists(blob_name(hashlib.sha256(picture).hexdigest()))


def test_a_fault_before_any_view_is_a_problem_too(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any, **__: Any) -> None:
        raise OperationalError("gone")

    monkeypatch.setattr("django.contrib.messages.middleware.default_storage", away)
    problem(api.get("/jobs/"), 503, "overloaded")
    monkeypatch.setattr("django.contrib.messages.middleware.default_storage", lambda _: 1 / 0)
    problem(api.get("/jobs/"), 500, "internal_error")


def test_a_host_that_is_not_ours_is_a_problem(api: Api) -> None:
    problem(api.get("/jobs/", Host="evil.example"), 400, "request_malformed")


def test_an_error_the_schema_does_not_know_stays_within_it() -> None:
    seen: list[tuple[Exception, int, str]] = [
        (drf.Throttled(wait=7), 429, "throttled"),
        (drf.APIException("secret"), 500, "internal_error"),
        (drf.NotAuthenticated(), 401, "not_authenticated"),
        (drf.PermissionDenied(), 403, "permission_denied"),
        (SuspiciousOperation("x"), 400, "request_malformed"),
        (BadRequest("x"), 400, "request_malformed"),
        (UnreadablePostError("x"), 400, "request_malformed"),
        (errors.Overloaded(retry_after=60), 503, "overloaded"),
        (KeyError("x"), 500, "internal_error"),
    ]
    for exception, status, code in seen:
        response = problem_handler(exception, {"request": RequestFactory().get("/")})
        body = problem(response, status, code)
        assert "secret" not in body["detail"]
    throttled = problem_handler(drf.Throttled(wait=7), {})
    assert throttled.headers["Retry-After"] == "7"
    overloaded = problem_handler(errors.Overloaded(retry_after=60), {})
    assert overloaded.headers["Retry-After"] == "60"


def test_nested_field_errors_are_named_by_their_path() -> None:
    told = user_facing(drf.ValidationError({"a": {"b": ["Wrong."]}, "c": [{}, {"d": ["Bad."]}]}))
    assert told.errors == {"a.b": ["Wrong."], "c.1.d": ["Bad."]}
    assert user_facing(drf.ValidationError("Wrong.")).errors == {"request": ["Wrong."]}


def test_the_log_of_a_request_holds_no_query(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    live_model()
    with caplog.at_level("INFO"):
        api.get("/cases/", {"accession_number": "ACC-SECRET"})
    assert any("/api/v1/cases/" in str(record.msg) for record in caplog.records)
    assert all("ACC-SECRET" not in str(record.msg) for record in caplog.records)
