"""The main job on real parts: supervisor, gunicorn, Postgres, Valkey, Celery workers, the model."""

from __future__ import annotations

import io
import os
import signal
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from PIL import Image as Raster

from bcweb.embedded import linux
from tests.live import READY_S, LiveService, paused, wait_for
from tests.phantoms import bmode_phantom, dicom_bytes, jpeg_bytes

pytestmark = pytest.mark.flow

NAME = "Vertraulich^Valentina"


def phantom() -> bytes:
    return jpeg_bytes(bmode_phantom(seed=uuid.uuid4().int % 2**31))


def submit(service: LiveService, *files: tuple[str, bytes], **fields: str) -> dict[str, Any]:
    """Submit through the API; the 202 body."""
    fields.setdefault("patient_id", f"FLOW-{uuid.uuid4().hex[:12]}")
    headers = {"X-Request-ID": fields.pop("request_id", uuid.uuid4().hex)}
    with service.api() as api:
        response = api.post(
            "/submissions/",
            data={"patient_name": NAME, **fields},
            files=[("file", file) for file in files] or [("file", ("a.jpg", phantom()))],
            headers=headers,
        )
    assert response.status_code == 202, response.text
    return response.json()


def finished(service: LiveService, submission: dict[str, Any]) -> list[dict]:
    """The jobs of a submission once all have ended."""

    def probe() -> list[dict] | None:
        with service.api() as api:
            jobs = [api.get(f"/jobs/{job['id']}/").json() for job in submission["jobs"]]
        done = all(job["state"] in ("SUCCEEDED", "FAILED", "CANCELLED") for job in jobs)
        return jobs if done else None

    # A worker or an engine that was killed starts anew, which may take minutes on a busy machine.
    return wait_for("jobs to end", probe, seconds=READY_S)


def state_of(service: LiveService, job_id: str) -> str:
    return service.sql("SELECT state FROM cases_job WHERE id = %s", job_id)[0][0]


def results_of(service: LiveService, job_id: str) -> int:
    return service.sql("SELECT count(*) FROM cases_result WHERE job_id = %s", job_id)[0][0]


@dataclass
class Frozen:
    """An inference worker and its engines."""

    worker: int
    engines: list[int]


@contextmanager
def frozen_engine(service: LiveService) -> Iterator[Frozen]:
    """The inference worker's engine stands still: what is claimed meanwhile stays in the middle."""
    worker = service.pid_of("inference")
    engines = linux.children(worker)
    with paused(engines):
        yield Frozen(worker, engines)


def test_all_services_are_ready(live_service: LiveService) -> None:
    assert httpx.get(f"{live_service.url}/healthz", timeout=60).status_code == 200

    def probe() -> httpx.Response | None:
        # A worker that an earlier test held still has to be heard first.
        told = httpx.get(f"{live_service.url}/readyz", timeout=60)
        return told if told.status_code == 200 else None

    ready = wait_for("all services to be ready", probe)
    assert set(ready.json()["services"]) >= {"inference", "training", "beat"}


def test_an_image_gets_its_answer_heatmap_and_preview(live_service: LiveService) -> None:
    submission = submit(live_service, ("a.jpg", phantom()), ("b.jpg", phantom()))
    for job in finished(live_service, submission):
        assert job["state"] == "SUCCEEDED"
        result = job["result"]
        assert result["outcome"] in ("answered", "abstained", "refused")
        assert result["research_use_only"] is True
        if result["outcome"] == "answered":
            scores = result["probabilities"]
            assert sum(scores.values()) == pytest.approx(1, abs=1e-4)
            above = scores["malignant"] >= result["operating_point"]["threshold"]
            assert (result["label"] == "malignant") is above
        with live_service.api() as api:
            if result["heatmap_url"]:
                picture = Raster.open(io.BytesIO(api.get(result["heatmap_url"]).content))
                assert picture.mode == "RGBA"
            preview = api.get(f"/images/{job_image(submission, job)}/preview/")
            assert Raster.open(io.BytesIO(preview.content)).size == (500, 470)


def job_image(submission: dict[str, Any], job: dict[str, Any]) -> str:
    return next(j["image"] for j in submission["jobs"] if j["id"] == job["id"])


def test_a_dicom_cine_is_answered_on_its_representative_frame_and_on_another(
    live_service: LiveService,
) -> None:
    patient = f"CINE-{uuid.uuid4().hex[:8]}"
    number = uuid.uuid4().int
    # A study of its own: the browser tests send cines to the same service.
    cine = dicom_bytes(
        patient_id=patient,
        frames=6,
        seed=number % 2**31,
        study_uid=f"2.25.{number}",
        accession=f"F{number % 10**12}",
    )
    submission = submit(live_service, ("cine.dcm", cine), patient_id=patient)
    first = finished(live_service, submission)[0]
    assert first["state"] == "SUCCEEDED"
    with live_service.api() as api:
        again = api.post(f"/jobs/{first['id']}/rerun/", json={"frame": 5})
        assert again.status_code == 202, again.text
    second = finished(live_service, {"jobs": [again.json()]})[0]
    assert second["result"]["frame"] == 5
    assert second["result"]["frame"] != first["result"]["frame"]


def test_a_worker_killed_in_the_middle_of_a_job_leaves_exactly_one_result(
    live_service: LiveService,
) -> None:
    with frozen_engine(live_service) as frozen:
        submission = submit(live_service)
        job = submission["jobs"][0]["id"]
        wait_for("the job to be taken", lambda: state_of(live_service, job) == "RUNNING")
        os.kill(frozen.worker, signal.SIGKILL)
    wait_for(
        "the engine to go with its worker",
        lambda: not any(linux.is_alive(pid) for pid in frozen.engines),
    )
    live_service.await_ready(not_pid=frozen.worker)
    ended = finished(live_service, submission)[0]
    assert (ended["state"], ended["attempt"]) == ("SUCCEEDED", 2)
    assert results_of(live_service, job) == 1


def test_an_engine_killed_in_the_middle_of_a_batch_costs_no_answer(
    live_service: LiveService,
) -> None:
    with frozen_engine(live_service) as frozen:
        submission = submit(live_service, *[(f"{n}.jpg", phantom()) for n in range(4)])
        job = submission["jobs"][0]["id"]
        wait_for("the job to be taken", lambda: state_of(live_service, job) == "RUNNING")
        os.kill(frozen.engines[0], signal.SIGKILL)
    for ended in finished(live_service, submission):
        assert ended["state"] == "SUCCEEDED"
        assert results_of(live_service, ended["id"]) == 1


def test_jobs_that_wait_while_valkey_is_flushed_all_finish(live_service: LiveService) -> None:
    """The worker dies and every message is gone: only the sweeper can ring for these jobs."""
    with frozen_engine(live_service) as frozen:
        submissions = [submit(live_service) for _ in range(12)]
        os.kill(frozen.worker, signal.SIGKILL)
        live_service.redis().flushdb()
    for submission in submissions:
        ended = finished(live_service, submission)[0]
        assert ended["state"] == "SUCCEEDED"
        assert results_of(live_service, ended["id"]) == 1


def test_a_worker_told_to_stop_finishes_what_it_has_and_another_takes_over(
    live_service: LiveService,
) -> None:
    worker = live_service.pid_of("inference")
    submissions = [submit(live_service) for _ in range(6)]
    os.kill(worker, signal.SIGTERM)
    live_service.await_ready(not_pid=worker)
    for submission in submissions:
        ended = finished(live_service, submission)[0]
        assert (ended["state"], results_of(live_service, ended["id"])) == ("SUCCEEDED", 1)


def test_the_request_id_follows_the_job_into_the_worker_log(live_service: LiveService) -> None:
    request_id = f"flow-{uuid.uuid4().hex}"
    finished(live_service, submit(live_service, request_id=request_id))

    def logged() -> bool:
        logs = (live_service.state / "log").glob("*inference*")
        return any(request_id in log.read_text(errors="replace") for log in logs)

    wait_for("the request id in the worker's log", logged)


def test_no_patient_data_is_in_any_log(live_service: LiveService) -> None:
    patient, accession = f"SECRET-{uuid.uuid4().hex[:10]}", uuid.uuid4().hex[:14]
    files = [("Secret Name 1968.jpg", phantom())]
    submission = submit(
        live_service, *files, patient_id=patient, accession_number=accession, sex="F"
    )
    finished(live_service, submission)
    with live_service.api() as api:
        api.get(f"/cases/{submission['case']['id']}/")
        api.post("/submissions/", data={"patient_id": patient}, files={"file": ("x", b"junk")})
    job = str(submission["jobs"][0]["id"])

    def read() -> str | None:
        paths = (path for path in (live_service.state / "log").iterdir() if path.is_file())
        text = "".join(path.read_text(errors="replace") for path in paths)
        return text if job in text else None

    # The worker tells of an answer a moment after it is there.
    logs = wait_for("the logs to tell of the job", read)
    for secret in (patient, accession, NAME, "Secret Name"):
        assert secret not in logs
