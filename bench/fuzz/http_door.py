"""Mutated files through the HTTP door of a whole service: gunicorn, Postgres, storage, worker.

Whatever is sent, the answer is one that the API documents, no 5xx; the service lives on, what was
taken in can be looked at, and its bytes are whole.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator

from bench import service
from bench.client import Client, submission
from bench.fuzz.cases import Case
from bench.fuzz.run import Report
from cases.errors import ERRORS

API = "/api/v1"
_TRIES = 5
_LONGEST_WAIT_S = 10.0


def run_http(files: Iterator[Case]) -> Report:
    """Start a service of its own, post `files` to it, and have its storage verified afterwards."""
    with service.live(BCWEB_MAX_QUEUE="100000") as running:
        report = run_against(running.url, running.demo["integration"]["token"], files)
        report.findings += _faults_of_storage(str(running.state))
    return report


def run_against(url: str, token: str, files: Iterator[Case]) -> Report:
    """Post `files` to the service at `url`, one submission for each."""
    report = Report()
    client = Client(url, token)
    began = time.perf_counter()
    for file in files:
        _post(client, file, report)
    report.seconds = time.perf_counter() - began
    health = client.ask("GET", "/healthz")
    if health.status != 200:
        report.findings.append(f"the service answers {health.status} at /healthz")
    client.close()
    return report


def _post(client: Client, file: Case, report: Report) -> None:
    # DICOM files bring their own patient; the others need one.
    patient = "" if file.seed.kind == "dicom" else "FUZZ-1"
    body, headers = submission(file.data, patient_id=patient)
    answer = client.ask("POST", f"{API}/submissions/", body, **headers)
    for _ in range(_TRIES):
        if answer.status != 503:
            break
        # Busy is an answer of the contract, and says when to come again.
        report.events["busy, asked again"] += 1
        time.sleep(min(float(answer.headers.get("Retry-After", "1")), _LONGEST_WAIT_S))
        answer = client.ask("POST", f"{API}/submissions/", body, **headers)
    report.files += 1
    told = answer.json() if answer.body else {}
    code = "accepted" if answer.status == 202 else str(told.get("code"))
    report.answers[f"{answer.status} {code}"] += 1
    if answer.seconds > report.slowest_s:
        report.slowest_s, report.slowest = answer.seconds, file.name
    if answer.status == 202:
        for image in told["images"]:
            seen = client.ask("GET", f"{API}/images/{image['id']}/preview/")
            if seen.status != 200:
                report.findings.append(f"{file.name}: taken in, its preview is {seen.status}")
    elif answer.status >= 500 or ERRORS.get(code) is None:
        report.findings.append(f"{file.name}: answered {answer.status} {code}")


def _faults_of_storage(state: str) -> list[str]:
    """What `manage.py verify_storage` names: nothing may be half stored."""
    environment = {**os.environ, "BCWEB_STATE": state}
    done = subprocess.run(
        [sys.executable, "manage.py", "verify_storage"],
        cwd=service.ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return [] if done.returncode == 0 else [f"verify_storage: {done.stdout[-500:]}"]
