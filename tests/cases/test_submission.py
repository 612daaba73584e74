"""Taking files in through the service: everything is stored, or nothing is."""

from __future__ import annotations

import hashlib

import pytest
from django.db import connection

from cases import errors
from cases.access import SYSTEM
from cases.models import (
    AuditEvent,
    Blob,
    Case,
    Frame,
    Image,
    Job,
    Patient,
    Submission,
)
from cases.storage import read_bytes
from tests import factories
from tests.cases.refusals import refused
from tests.factories import (
    SMALL,
    at_once,
    live_model,
    make_actor,
    make_site,
    phantom_jpeg,
    submit,
)
from tests.phantoms import dicom_bytes

pytestmark = pytest.mark.django_db


def test_an_image_is_stored_whole_with_its_case_job_and_audit() -> None:
    data = phantom_jpeg()
    submission = submit(files=[data], patient_id="P1", accession_number="A1", laterality="L")
    image = submission.images.get()
    assert image.sha256 == hashlib.sha256(data).hexdigest()
    assert read_bytes(image.storage_name) == data
    assert (image.height, image.width) == SMALL
    assert (image.format, image.laterality) == ("JPEG", "L")
    assert submission.case.accession_number == "A1"
    job = submission.jobs.get()
    assert (job.state, job.attempt, job.frame) == ("PENDING", 0, 0)
    actions = set(
        AuditEvent.objects.filter(case_id=submission.case_id).values_list("action", flat=True)
    )
    assert {"case.created", "submission.created", "job.created"} <= actions


def test_the_trail_holds_no_identity() -> None:
    submit(patient_id="SECRET-ID", patient_name="Secret^Name", accession_number="SECRETACC")
    trail = " ".join(str(vars(event)) for event in AuditEvent.objects.all())
    assert "secret" not in trail.lower()


def test_a_second_delivery_for_the_accession_joins_the_case() -> None:
    actor = make_actor()
    first = submit(actor=actor, patient_id="P1", accession_number="A1")
    second = submit(actor=actor, patient_id="P1", accession_number="A1")
    assert first.case_id == second.case_id
    assert Image.objects.filter(case=first.case).count() == 2


def test_the_accession_of_another_patient_is_a_conflict() -> None:
    actor = make_actor()
    submit(actor=actor, patient_id="P1", accession_number="A1")
    error = refused(errors.AccessionConflict, actor=actor, patient_id="P2", accession_number="A1")
    assert "P1" not in error.detail


def test_the_same_accession_at_another_site_is_another_case() -> None:
    one = submit(patient_id="P1", accession_number="A1")
    other = submit(patient_id="P1", accession_number="A1")
    assert one.case_id != other.case_id
    assert one.case.patient_id != other.case.patient_id  # each site keeps its own record


def test_a_case_without_accession_or_study_stands_alone() -> None:
    actor = make_actor()
    first = submit(actor=actor, patient_id="P1")
    second = submit(actor=actor, patient_id="P1")
    assert first.case_id != second.case_id
    assert first.case.patient_id == second.case.patient_id


def test_the_same_bytes_again_share_storage_and_get_their_own_job() -> None:
    actor = make_actor()
    data = phantom_jpeg()
    first = submit(actor=actor, files=[data], patient_id="P1").images.get()
    blobs = Blob.objects.count()
    second = submit(actor=actor, files=[data], patient_id="P1").images.get()
    assert second.duplicate_of_id == first.pk
    assert second.storage_name == first.storage_name
    assert Blob.objects.count() == blobs
    assert Job.objects.filter(image__in=[first, second]).count() == 2


def test_the_same_bytes_for_another_patient_are_a_conflict_that_tells_nothing() -> None:
    actor, data = make_actor(), phantom_jpeg()
    submit(actor=actor, files=[data], patient_id="P-OTHER")
    error = refused(errors.DuplicateOfOtherPatient, actor=actor, files=[data], patient_id="P2")
    assert "P-OTHER" not in error.detail
    assert error.file == "image0.jpg"


def test_a_bad_file_refuses_the_whole_delivery_and_is_named() -> None:
    error = refused(errors.ImageUnsupported, files=[phantom_jpeg(), b"not an image"])
    assert error.file == "image1.jpg"


def test_a_bad_file_is_skipped_and_reported_where_asked() -> None:
    submission = submit(files=[phantom_jpeg(), b"", b"text"], on_bad_file="skip")
    assert submission.images.count() == 1
    assert [(s["file"], s["code"]) for s in submission.skipped] == [
        ("image1.jpg", "file_empty"),
        ("image2.jpg", "image_unsupported"),
    ]


def test_a_delivery_of_bad_files_only_is_refused_even_when_skipping() -> None:
    refused(errors.FileEmpty, files=[b"", b""], on_bad_file="skip")


def test_a_delivery_without_files_is_refused() -> None:
    error = refused(errors.FieldInvalid, files=[])
    assert "file" in (error.errors or {})


def test_a_patient_id_is_needed_from_somewhere() -> None:
    error = refused(errors.FieldInvalid, patient_id="")
    assert list(error.errors or {}) == ["patient_id"]


def test_a_dicom_frame_is_kept_as_a_lossless_picture() -> None:
    image = submit(files=[dicom_bytes(patient_id="P1", frames=5)], patient_id="P1").images.get()
    assert (image.format, image.frames) == ("DICOM", 5)
    frame = image.frame_rows.get()
    assert frame.index == image.frame
    assert read_bytes(frame.storage_name).startswith(b"\x89PNG")


def test_the_same_key_gives_the_same_submission() -> None:
    actor = make_actor()
    files = [phantom_jpeg()]
    first = submit(actor=actor, files=files, idempotency_key="k1", patient_id="P1")
    again = submit(actor=actor, files=files, idempotency_key="k1", patient_id="P1")
    assert again.pk == first.pk
    assert Job.objects.filter(submission=first).count() == 1


def test_the_same_key_with_other_fields_or_files_is_refused() -> None:
    actor = make_actor()
    files = [phantom_jpeg()]
    submit(actor=actor, files=files, idempotency_key="k1", patient_id="P1")
    refused(
        errors.IdempotencyConflict,
        actor=actor,
        files=files,
        idempotency_key="k1",
        patient_id="P1",
        sex="F",
    )
    refused(errors.IdempotencyConflict, actor=actor, idempotency_key="k1", patient_id="P1")


def test_a_key_belongs_to_its_owner() -> None:
    site = make_site()
    one, other = make_actor(site=site), make_actor(site=site)
    first = submit(actor=one, idempotency_key="k1", patient_id="P1")
    second = submit(actor=other, idempotency_key="k1", patient_id="P2")
    assert first.pk != second.pk


def test_a_key_is_forgotten_after_a_day() -> None:
    actor = make_actor()
    first = submit(actor=actor, idempotency_key="k1", patient_id="P1")
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE cases_submission SET created_at = now() - interval '25 hours' WHERE id = %s",
            [first.pk],
        )
    assert submit(actor=actor, idempotency_key="k1", patient_id="P1").pk != first.pk


def test_a_role_that_may_not_submit_is_refused() -> None:
    refused(errors.PermissionDenied, actor=make_actor(roles=["admin"]))


def test_without_a_live_model_nothing_is_taken_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(factories, "live_model", lambda: None)
    with pytest.raises(errors.Overloaded):
        submit()
    assert Image.objects.count() == 0


@pytest.mark.django_db(transaction=True)
def test_two_requests_with_one_key_at_once_make_one_submission() -> None:
    actor, files = make_actor(), [phantom_jpeg()]
    live_model()
    outcomes = at_once(
        4, lambda: submit(actor=actor, files=files, idempotency_key="k", patient_id="P1").pk
    )
    accepted = {o for o in outcomes if not isinstance(o, Exception)}
    assert len(accepted) == 1
    assert all(isinstance(o, errors.StateConflict) for o in outcomes if isinstance(o, Exception))
    assert Submission.objects.count() == Image.objects.count() == Job.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_the_same_bytes_for_two_patients_at_once_are_taken_for_one() -> None:
    actor, data = make_actor(), phantom_jpeg()
    live_model()
    numbers = iter(range(9))
    outcomes = at_once(3, lambda: submit(actor=actor, files=[data], patient_id=f"P{next(numbers)}"))
    refusals = [o for o in outcomes if isinstance(o, Exception)]
    assert len(refusals) == 2
    assert all(isinstance(o, errors.DuplicateOfOtherPatient) for o in refusals)
    assert Image.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_deliveries_for_one_accession_at_once_make_one_case() -> None:
    actor = make_actor()
    live_model()
    outcomes = at_once(4, lambda: submit(actor=actor, patient_id="P1", accession_number="A").pk)
    assert not [o for o in outcomes if isinstance(o, Exception)]
    assert Case.objects.count() == Patient.objects.count() == 1
    assert Image.objects.count() == 4


@pytest.mark.django_db(transaction=True)
def test_equal_frames_under_different_headers_at_once_are_both_taken() -> None:
    actor = make_actor()
    live_model()
    numbers = iter(range(9))
    outcomes = at_once(
        3,
        lambda: (
            submit(
                actor=actor,
                files=[dicom_bytes(patient_id="P1", seed=5, study_uid=f"1.2.3.{next(numbers)}")],
                patient_id="P1",
            ).pk
        ),
    )
    assert not [o for o in outcomes if isinstance(o, Exception)]
    assert Frame.objects.values("storage_name").distinct().count() == 1


def test_nothing_submits_for_the_system_itself() -> None:
    with pytest.raises(errors.PermissionDenied):
        submit(actor=SYSTEM)
