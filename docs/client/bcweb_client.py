#!/usr/bin/env python3
"""A client of the bcweb REST API in one file: Python 3.11 or later, no packages.

Copy it into your project, or run it:

    export BCWEB_URL=http://127.0.0.1:8000 BCWEB_TOKEN=bcw_…
    python3 bcweb_client.py scan.dcm --patient-id 4711

    from bcweb_client import Bcweb
    client = Bcweb("http://127.0.0.1:8000", token)
    sent = client.submit(["left.jpg", "right.jpg"], key="order-4711", patient_id="4711")
    for job in client.wait(sent.id):
        print(job.id, job.state, job.result and job.result.label)

Research software, not a medical device: the model advises, a person decides. A job without an
answer (abstained, refused, failed) is never a negative image.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import sys
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

FINAL = frozenset({"SUCCEEDED", "FAILED", "CANCELLED"})
# Busy, or a fault that passes; 409 only where the answer says when to come back.
AGAIN = frozenset({429, 500, 502, 503, 504})
# A stream that says nothing for so long is dead: it carries a comment every 15 seconds.
SILENCE_S = 35.0


class BcwebError(Exception):
    """What the service refused. ``code`` is stable and for programs, ``detail`` for people."""

    def __init__(self, status: int, body: Mapping[str, Any], retry_after: float | None) -> None:
        self.status = status
        self.code = str(body.get("code", "unknown"))
        self.detail = str(body.get("detail", "The service gave no reason."))
        self.errors: Mapping[str, list[str]] = body.get("errors") or {}
        self.file: str | None = body.get("file")
        self.request_id = str(body.get("request_id", ""))
        self.retry_after = retry_after
        super().__init__(f"{status} {self.code}: {self.detail}")


class BcwebUnreachableError(Exception):
    """Nobody answered, however often it was tried."""


class BcwebTimeoutError(Exception):
    """Not everything had ended in the time that was given. What was sent goes on."""


@dataclass(frozen=True)
class Result:
    """``label`` follows the operating point; None where the image was refused."""

    id: str
    outcome: str
    reason: str | None
    label: str | None
    probabilities: Mapping[str, float] | None
    heatmap_url: str | None
    model_version: str
    raw: Mapping[str, Any]


@dataclass(frozen=True)
class Job:
    id: str
    state: str
    image: str | None
    error_code: str | None
    result: Result | None
    raw: Mapping[str, Any]

    @property
    def is_final(self) -> bool:
        return self.state in FINAL


@dataclass(frozen=True)
class Submission:
    id: str
    case: str
    job_ids: tuple[str, ...]
    # Files that were left out (`on_bad_file=skip`): file, code and detail of each.
    skipped: tuple[Mapping[str, Any], ...]
    is_final: bool
    raw: Mapping[str, Any]


class Bcweb:
    """One service and one token. Not for several threads at once."""

    def __init__(self, url: str, token: str, *, timeout: float = 60.0, attempts: int = 6) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"no http address: {url}")
        self._secure = parts.scheme == "https"
        self._host, self._port = parts.hostname, parts.port
        self._base = parts.path.rstrip("/") + "/api/v1"
        self._token = token
        self._timeout = timeout
        self._attempts = attempts

    # --- What one does with it ---------------------------------------------------------------

    def submit(
        self, files: Sequence[str | os.PathLike[str]], *, key: str | None = None, **fields: str
    ) -> Submission:
        """Hand in the files of one case. It is tried again until there is an answer.

        ``key``: your own name for this request, such as the order number; the same key again is
        the same submission. ``fields``: as in docs/api.md, for example ``patient_id``.
        """
        named = [(Path(file).name, Path(file).read_bytes()) for file in files]
        body, media_type = _multipart(named, fields)
        headers = {"Content-Type": media_type, "Idempotency-Key": key or str(uuid.uuid4())}
        return _submission(self._ask("POST", "/submissions/", body, headers))

    def submission(self, submission_id: str) -> Submission:
        return _submission(self._ask("GET", f"/submissions/{submission_id}/"))

    def job(self, job_id: str) -> Job:
        return _job(self._ask("GET", f"/jobs/{job_id}/"))

    def wait(self, submission_id: str, *, timeout: float = 600.0) -> list[Job]:
        """The jobs of a submission once all have ended. ``BcwebTimeoutError`` after ``timeout``.

        Waits for events; where there are none, it asks again and again.
        """
        deadline = time.monotonic() + timeout
        while True:
            submission = self.submission(submission_id)
            if submission.is_final:
                return [self.job(job_id) for job_id in submission.job_ids]
            if time.monotonic() > deadline:
                raise BcwebTimeoutError(f"submission {submission_id} has not ended")
            begun = time.monotonic()
            self._until_moved(f"/submissions/{submission_id}/events/", deadline)
            # An answer that ends at once is no stream: then it is polling, once a second.
            time.sleep(max(0.0, min(begun + 1.0, deadline) - time.monotonic()))

    def heatmap(self, result_id: str) -> bytes:
        """PNG with transparency, to lay over the frame that was read."""
        data: bytes = self._ask("GET", f"/results/{result_id}/heatmap/", raw=True)
        return data

    def case(self, case_id: str) -> Mapping[str, Any]:
        told: Mapping[str, Any] = self._ask("GET", f"/cases/{case_id}/")
        return told

    def find_patients(self, **wanted: str) -> Sequence[Mapping[str, Any]]:
        """By `patient_id`, `name` (its beginning), `accession_number`, `birth_date`."""
        body = json.dumps(wanted).encode()
        told = self._ask("POST", "/patients/search/", body, {"Content-Type": "application/json"})
        results: Sequence[Mapping[str, Any]] = told["results"]
        return results

    def pages(self, path: str, **query: str) -> Iterator[Mapping[str, Any]]:
        """Every row of a list, for example ``pages("/jobs/", state="FAILED")``."""
        address: str | None = f"{path}?{urlencode(query)}" if query else path
        while address:
            page = self._ask("GET", address)
            yield from page["results"]
            following = page["next"]
            # The link may name the service as others see it: only what it asks for is taken.
            address = f"{path}?{urlsplit(following).query}" if following else None

    # --- How it asks ---------------------------------------------------------------------------

    def _until_moved(self, path: str, deadline: float) -> None:
        """Return when something has moved or the stream ended; at once where there is none."""
        left = deadline - time.monotonic()
        connection = self._connection(max(0.1, min(SILENCE_S, left)))
        try:
            connection.request("GET", self._base + path, headers=self._headers())
            response = connection.getresponse()
            if response.status != 200:
                return
            while time.monotonic() < deadline and (line := response.readline()):
                if line.startswith((b"event: job", b"event: end")):
                    return
        except (OSError, http.client.HTTPException):
            return
        finally:
            connection.close()

    def _ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        raw: bool = False,
    ) -> Any:
        """The answer as JSON (``raw``: its bytes). ``BcwebError`` for a refusal.

        Everything asked here may be asked twice: reading changes nothing, and a submission has
        its key.
        """
        for attempt in range(self._attempts):
            last = attempt == self._attempts - 1
            try:
                status, told, data = self._send(method, path, body, headers or {})
            except (OSError, http.client.HTTPException) as error:
                if last:
                    raise BcwebUnreachableError(f"{self._host} does not answer: {error}") from error
                time.sleep(min(30.0, 0.5 * 2**attempt))
                continue
            if 300 <= status < 400:
                where = {"code": "redirected", "detail": f"Ask {told.get('Location', 'elsewhere')}"}
                raise BcwebError(status, where, None)
            if status < 400:
                return data if raw else json.loads(data)
            after = told.get("Retry-After")
            error_told = _problem(status, data, after)
            if last or not (status in AGAIN or (status == 409 and after)):
                raise error_told
            time.sleep(error_told.retry_after or min(30.0, 0.5 * 2**attempt))
        raise AssertionError("unreachable")

    def _send(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> tuple[int, Mapping[str, str], bytes]:
        connection = self._connection(self._timeout)
        try:
            connection.request(method, self._base + path, body, {**self._headers(), **headers})
            response = connection.getresponse()
            return response.status, dict(response.headers.items()), response.read()
        finally:
            connection.close()

    def _connection(self, timeout: float) -> http.client.HTTPConnection:
        kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        return kind(self._host, self._port, timeout=timeout)

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._token}"}


def _problem(status: int, data: bytes, after: str | None) -> BcwebError:
    try:
        body = json.loads(data)
    except ValueError:
        body = {}
    seconds = float(after) if after and after.isdecimal() else None
    return BcwebError(status, body if isinstance(body, dict) else {}, seconds)


def _multipart(files: Sequence[tuple[str, bytes]], fields: Mapping[str, str]) -> tuple[bytes, str]:
    """Body and Content-Type of a form (RFC 7578)."""
    boundary = uuid.uuid4().hex
    parts = []
    for name, value in fields.items():
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'
        parts.append(head.encode() + value.encode())
    for name, data in files:
        plain = name.replace("\\", "_").replace('"', "_").replace("\r", "_").replace("\n", "_")
        head = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{plain}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        )
        parts.append(head.encode() + data)
    body = b"\r\n".join([*parts, f"--{boundary}--\r\n".encode()])
    return body, f"multipart/form-data; boundary={boundary}"


def _submission(told: Mapping[str, Any]) -> Submission:
    return Submission(
        id=told["id"],
        case=told["case"]["id"],
        job_ids=tuple(job["id"] for job in told["jobs"]),
        skipped=tuple(told["skipped"]),
        is_final=all(job["state"] in FINAL for job in told["jobs"]),
        raw=told,
    )


def _job(told: Mapping[str, Any]) -> Job:
    result, error = told["result"], told["error"]
    return Job(
        id=told["id"],
        state=told["state"],
        image=told["image"],
        error_code=error["code"] if error else None,
        result=_result(result) if result else None,
        raw=told,
    )


def _result(told: Mapping[str, Any]) -> Result:
    return Result(
        id=told["id"],
        outcome=told["outcome"],
        reason=told["reason"],
        label=told["label"],
        probabilities=told["probabilities"],
        heatmap_url=told["heatmap_url"],
        model_version=told["model"]["version"],
        raw=told,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Hand files in and print one line for each answer; 1 where the service refused."""
    parser = argparse.ArgumentParser(description="Hand in images of one case and await answers.")
    parser.add_argument("files", nargs="+", metavar="FILE")
    parser.add_argument("--patient-id", required=True)
    parser.add_argument("--key", help="the same key again is the same submission")
    parser.add_argument("--timeout", type=float, default=600.0, metavar="SECONDS")
    wanted = parser.parse_args(arguments)
    client = Bcweb(os.environ.get("BCWEB_URL", "http://127.0.0.1:8000"), os.environ["BCWEB_TOKEN"])
    try:
        sent = client.submit(wanted.files, key=wanted.key, patient_id=wanted.patient_id)
        jobs = client.wait(sent.id, timeout=wanted.timeout)
    except (BcwebError, BcwebUnreachableError, BcwebTimeoutError) as error:
        print(error, file=sys.stderr)
        return 1
    for job in jobs:
        result = job.result
        answer = (result.label or result.outcome) if result else (job.error_code or job.state)
        scores = (result.probabilities or {}) if result else {}
        shown = "  ".join(f"{name} {score:.3f}" for name, score in scores.items())
        print(f"{job.image}  {answer}  {shown}".rstrip())
    return 0


if __name__ == "__main__":
    sys.exit(main())
