"""Back-pressure at the API: 503 before the upload is read, and nothing of it is kept."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from cases.models import Blob, Case, Image, Job, Patient, Submission
from cases.services.leases import engine_jobs_claim
from tests.api.conftest import answer_waiting
from tests.api.contract import Api, problem
from tests.factories import WORKER, phantom_jpeg
from tests.live import wait_for
from tests.phantoms import bmode_phantom, jpeg_bytes

pytestmark = pytest.mark.django_db

COUNTED = (Submission, Case, Patient, Image, Job, Blob)


def rows() -> list[int]:
    return [kind.objects.count() for kind in COUNTED]


class _Untouched:
    """A body nobody may read."""

    def read(self, *_: Any) -> bytes:
        raise AssertionError("the body was read")

    readline = read


def test_past_the_queue_limit_an_upload_is_refused_and_leaves_nothing(
    api: Api, settings: Any
) -> None:
    settings.BCWEB_MAX_QUEUE = 2
    for number in (1, 2):
        assert api.submit([phantom_jpeg()], patient_id=f"P{number}").status_code == 202
    before = rows()
    refused = api.submit([phantom_jpeg()], patient_id="P3")
    problem(refused, 503, "overloaded")
    assert refused.headers["Retry-After"] == "30"
    assert rows() == before
    # What was accepted goes on, and then there is room.
    assert len(answer_waiting()) == 2
    assert api.submit([phantom_jpeg()], patient_id="P3").status_code == 202


@pytest.mark.parametrize("secret", ["token", "nobody"])
def test_the_body_is_not_read(api: Api, settings: Any, secret: str) -> None:
    settings.BCWEB_MAX_QUEUE = 1
    api.submit([phantom_jpeg()], patient_id="P1")
    api.submit([phantom_jpeg()], patient_id="P2", priority="stat")
    headers = api.headers if secret == "token" else {}
    response = Client().post(
        "/api/v1/submissions/",
        data=b"",
        content_type="multipart/form-data; boundary=x",
        headers=headers,
        **{"wsgi.input": _Untouched(), "CONTENT_LENGTH": "100000"},
    )
    problem(response, 503, "overloaded")


def test_a_full_queue_is_asked_about_once_a_second(
    api: Api, settings: Any, django_assert_num_queries: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A busy machine may take longer than the second.
    monkeypatch.setattr("bcweb.middleware.BELIEVED_S", 600.0)
    settings.BCWEB_MAX_QUEUE = 1
    for priority in ("routine", "stat"):
        api.submit([phantom_jpeg()], patient_id="P1", priority=priority)
    with django_assert_num_queries(1):
        problem(api.submit([phantom_jpeg()], patient_id="P2"), 503, "overloaded")
    with django_assert_num_queries(0):
        problem(api.submit([phantom_jpeg()], patient_id="P2"), 503, "overloaded")


def test_a_stat_image_has_room_where_others_are_refused(api: Api, settings: Any) -> None:
    settings.BCWEB_MAX_QUEUE = 1
    assert api.submit([phantom_jpeg()], patient_id="P1").status_code == 202
    problem(api.submit([phantom_jpeg()], patient_id="P2", priority="urgent"), 503, "overloaded")
    assert api.submit([phantom_jpeg()], patient_id="P3", priority="stat").status_code == 202
    problem(api.submit([phantom_jpeg()], patient_id="P4", priority="stat"), 503, "overloaded")


def test_a_file_larger_than_what_is_left_of_the_disk_is_refused_before_it_is_read(
    api: Api,
) -> None:
    response = Client().post(
        "/api/v1/submissions/",
        data=b"",
        content_type="multipart/form-data; boundary=x",
        headers=api.headers,
        **{"wsgi.input": _Untouched(), "CONTENT_LENGTH": str(2**62)},
    )
    problem(response, 503, "overloaded")
    assert response.headers["Retry-After"] == "60"


def test_everything_else_goes_on_while_the_queue_is_full(api: Api, settings: Any) -> None:
    settings.BCWEB_MAX_QUEUE = 1
    job = api.submit([phantom_jpeg()], patient_id="P1").json()["jobs"][0]["id"]
    assert api.get(f"/jobs/{job}/").json()["state"] == "PENDING"
    assert api.get("/cases/").status_code == 200
    assert api.post(f"/jobs/{job}/cancel/").status_code == 200


def test_a_rerun_is_refused_like_an_upload(api: Api, settings: Any) -> None:
    ended = api.submit([phantom_jpeg()], patient_id="P1").json()["jobs"][0]["id"]
    answer_waiting()
    settings.BCWEB_MAX_QUEUE = 1
    api.submit([phantom_jpeg()], patient_id="P2")
    before = rows()
    problem(api.post(f"/jobs/{ended}/rerun/", {}), 503, "overloaded")
    assert rows() == before


def test_the_same_key_gets_its_submission_once_there_is_room(
    api: Api, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bcweb.middleware.BELIEVED_S", 0.0)
    settings.BCWEB_MAX_QUEUE = 1
    data = phantom_jpeg()
    first = api.submit([data], key="order-1", patient_id="P1")
    # At the limit this is no new work; at the door's nobody can know.
    assert api.submit([data], key="order-1", patient_id="P1").json()["id"] == first.json()["id"]
    api.submit([phantom_jpeg()], patient_id="P2", priority="stat")
    problem(api.submit([data], key="order-1", patient_id="P1"), 503, "overloaded")
    answer_waiting()
    again = api.submit([data], key="order-1", patient_id="P1")
    assert again.json()["id"] == first.json()["id"]


def test_a_disk_that_fills_up_in_the_middle_of_an_upload(
    api: Api, settings: Any, tmp_path: Path
) -> None:
    """The upload is promised to fit (a compressed length would), and then does not."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=128k,nr_inodes=8", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("may not mount a small disk")
    try:
        settings.FILE_UPLOAD_TEMP_DIR = str(disk)
        settings.BCWEB_RESERVE_MB = 0
        before = rows()
        large = jpeg_bytes(bmode_phantom(seed=3, size=(900, 1200))) + os.urandom(200_000)
        refused = api.submit([phantom_jpeg(), large], patient_id="P1")
        problem(refused, 503, "overloaded")
        assert refused.headers["Retry-After"] == "60"
        assert rows() == before
        assert list(disk.iterdir()) == []
        # So many files that not even their names fit.
        refused = api.submit([b"x"] * 12, patient_id="P1", on_bad_file="skip")
        problem(refused, 503, "overloaded")
        assert rows() == before
        assert list(disk.iterdir()) == []
    finally:
        # A decoder may hold a file of it for a moment longer.
        umount = ["umount", str(disk)]
        wait_for("the disk to be let go", lambda: subprocess.run(umount).returncode == 0)


def test_stat_overtakes_what_waits_and_a_routine_image_of_an_hour_ago_does_not_starve(
    api: Api,
) -> None:
    old = api.submit([phantom_jpeg()], patient_id="OLD").json()["jobs"][0]["id"]
    Job.objects.filter(pk=old).update(due_at=_an_hour_and_more_ago())
    routine = [
        api.submit([phantom_jpeg()], patient_id=f"R{n}").json()["jobs"][0]["id"] for n in range(3)
    ]
    urgent = api.submit([phantom_jpeg()], patient_id="U", priority="urgent").json()["jobs"][0]["id"]
    stat = [
        api.submit([phantom_jpeg()], patient_id=f"S{n}", priority="stat").json()["jobs"][0]["id"]
        for n in range(2)
    ]
    places = [api.get(f"/jobs/{job}/").json()["queue_position"] for job in (old, *stat, urgent)]
    assert places == [0, 1, 2, 3]
    taken = [str(claim.job_id) for claim in engine_jobs_claim(actor=WORKER, limit=100)]
    assert taken == [old, *stat, urgent, *routine]


def _an_hour_and_more_ago() -> Any:
    """The due time of a routine image submitted 61 minutes ago (docs/adr/0003)."""
    from datetime import timedelta

    from django.db.models import Value
    from django.db.models.functions import Now

    return Now() - Value(timedelta(minutes=1))
