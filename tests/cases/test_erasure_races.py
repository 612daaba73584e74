"""Erasing a patient's data at the moment when something else happens to it."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from django.db import connection, transaction

from cases import errors
from cases.models import Blob, Frame, Image, Job, PatientErasure, Submission
from cases.services.frames import frame_store
from cases.services.leases import engine_jobs_claim
from cases.services.results import result_store
from cases.states import JobState, ModelState
from cases.storage import read_bytes
from tests.cases.erasing import erase
from tests.cases.governing import candidate, promoted
from tests.factories import (
    WORKER,
    answer,
    at_once,
    live_model,
    make_actor,
    make_site,
    phantom_jpeg,
    submit,
)
from tests.live import wait_for
from tests.phantoms import bmode_phantom, dicom_bytes


@pytest.mark.django_db(transaction=True)
def test_a_delivery_at_the_same_moment_is_erased_or_starts_anew() -> None:
    site = make_site()
    reader, admin = make_actor(site=site), make_actor(roles=["admin"], site=site)
    data = phantom_jpeg()
    case = submit(actor=reader, files=[data], patient_id="P-1").case
    works = [
        lambda: erase(admin, case),
        lambda: submit(actor=reader, files=[data], patient_id="P-1"),
    ]
    told = at_once(2, lambda: works.pop()())
    assert all(
        isinstance(outcome, PatientErasure | Submission | errors.StateConflict) for outcome in told
    ), told
    for image in Image.objects.exclude(sha256=""):
        # Whatever is still on record has its bytes, and its patient.
        assert Blob.objects.filter(name=image.storage_name).exists()
        assert image.case.patient.erased_at is None
    for image in Image.objects.filter(sha256=""):
        assert image.case.patient.erased_at is not None


@pytest.mark.django_db(transaction=True)
def test_bytes_that_another_record_is_about_to_rely_on_stay() -> None:
    site = make_site()
    reader, admin = make_actor(site=site), make_actor(roles=["admin"], site=site)
    case = submit(actor=reader, files=[dicom_bytes(bmode_phantom(seed=11))], patient_id="").case
    other = submit(actor=reader).images.get()
    shared = Frame.objects.get(image__case=case)
    png = read_bytes(shared.storage_name)
    came: list[Any] = []

    def work() -> None:
        try:
            came.append(erase(admin, case))
        finally:
            connection.close()

    def waits() -> bool:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM pg_locks WHERE NOT granted AND locktype = 'advisory'")
            return cursor.fetchone() is not None

    thread = threading.Thread(target=work)
    with transaction.atomic():
        # Another frame of a cine, whose picture happens to be the same.
        frame_store(image=other, index=7, png=png)
        thread.start()
        wait_for("the erasure to wait for the frame", waits)
    thread.join(300)
    assert isinstance(came[0], PatientErasure)
    assert read_bytes(Frame.objects.get(image=other, index=7).storage_name) == png
    assert not Frame.objects.filter(image__case=case).exists()


@pytest.mark.django_db(transaction=True)
def test_an_answer_stored_at_the_same_moment_leaves_nothing_to_a_model_in_shadow() -> None:
    site = make_site()
    reader, admin = make_actor(site=site), make_actor(roles=["admin"], site=site)
    live_model()
    promoted(candidate(), ModelState.SHADOW)
    case = submit(actor=reader).case
    (claim,) = engine_jobs_claim(actor=WORKER, limit=1)
    came: list[Any] = []

    def work() -> None:
        try:
            came.append(erase(admin, case))
        except errors.UserFacingError as error:
            came.append(error)
        finally:
            connection.close()

    def waits() -> bool:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM pg_locks WHERE NOT granted")
            return cursor.fetchone() is not None

    thread = threading.Thread(target=work)
    held = {"actor": WORKER, "job_id": claim.job_id, "attempt": claim.attempt}
    with transaction.atomic():
        assert result_store(**held, answer=answer())
        thread.start()
        wait_for("the erasure to wait for the answer", waits)
    thread.join(300)
    assert isinstance(came[0], errors.StateConflict)
    erase(admin, case)
    assert {job.kind: job.state for job in Job.objects.all()} == {
        "inference": JobState.SUCCEEDED,
        "shadow": JobState.CANCELLED,
    }
