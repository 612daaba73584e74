"""Taking files in through the service: everything is stored, or nothing is."""

from __future__ import annotations

import hashlib
import threading
from typing import Any

import pytest
from django.db import connection

from cases import errors
from cases.access import SYSTEM
from cases.models import (
    AuditEvent,
    Blob,
    BlobChunk,
    Case,
    Finding,
    Frame,
    Image,
    Job,
    Patient,
    Submission,
)
from cases.services.people import actor_for_token
from cases.storage import read_bytes
from tests import factories
from tests.factories import live_model, make_actor, make_site, make_token, phantom_jpeg, submit
from tests.phantoms import dicom_bytes

pytestmark = pytest.mark.django_db

STORED = (Patient, Case, Finding, Submission, Image, Frame, Job, Blob, BlobChunk)


def stored() -> dict[str, int]:
    return {model.__name__: model.objects.count() for model in STORED}


def refused(error: type[errors.UserFacingError], **kwargs: Any) -> errors.UserFacingError:
    """Submit, expect `error`, and see that nothing is left behind: no row, no byte, no audit."""
    actor = kwargs.pop("actor", None) or make_actor()
    live_model()
    before, trail = stored(), AuditEvent.objects.count()
    with pytest.raises(error) as caught:
        submit(actor=actor, **kwargs)
    assert stored() == before
    assert AuditEvent.objects.count() == trail
    return caught.value


def test_an_image_is_stored_whole_with_its_case_job_and_audit() -> None:
    data = phantom_jpeg()
    submission = submit(files=[data], patient_id="P1", accession_number="A1", laterality="L")
    image = submission.images.get()
    assert image.sha256 == hashlib.sha256(data).hexdigest()
    assert read_bytes(image.storage_name) == data
    assert (image.format, image.width, image.height, image.laterality) == ("JPEG", 500, 470, "L")
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
    assert one.case.patient_id != other.case.patient_id  # each site issues its own ids


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
    data = phantom_jpeg()
    submit(files=[data], patient_id="P-OTHER")
    error = refused(errors.DuplicateOfOtherPatient, files=[data], patient_id="P2")
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


def test_the_dicom_header_fills_in_what_was_left_out() -> None:
    data = dicom_bytes(
        patient_id="HDR-1", name="Doe^Jane", birth_date="19680430", sex="F", accession="ACC1"
    )
    case = submit(files=[data], patient_id="").case
    assert case.patient.patient_id == "HDR-1"
    assert case.patient.name == "Doe^Jane"
    assert str(case.patient.birth_date) == "1968-04-30"
    assert case.accession_number == "ACC1"
    assert case.study_instance_uid


def test_a_dicom_frame_is_kept_as_a_lossless_picture() -> None:
    image = submit(files=[dicom_bytes(patient_id="P1", frames=5)], patient_id="P1").images.get()
    assert (image.format, image.frames) == ("DICOM", 5)
    frame = image.frame_rows.get()
    assert frame.index == image.frame
    assert read_bytes(frame.storage_name).startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("form", "blamed"),
    [
        ({"patient_id": "OTHER"}, "patient_id"),
        ({"patient_id": "HDR-1", "birth_date": "1970-01-01"}, "birth_date"),
        ({"patient_id": "HDR-1", "accession_number": "OTHER"}, "accession_number"),
        ({"patient_id": "HDR-1", "patient_issuer": "OTHER"}, "patient_issuer"),
    ],
)
def test_form_and_header_that_disagree_are_refused(form: dict[str, str], blamed: str) -> None:
    data = dicom_bytes(patient_id="HDR-1", issuer="HOSP", birth_date="19680430", accession="ACC1")
    error = refused(errors.IdentityMismatch, files=[data], **form)
    assert list(error.errors or {}) == [blamed]
    assert "HDR-1" not in error.detail


def test_two_files_of_two_patients_are_refused() -> None:
    files = [dicom_bytes(patient_id="A", seed=1), dicom_bytes(patient_id="B", seed=2)]
    refused(errors.IdentityMismatch, files=files, patient_id="")


def test_a_person_may_keep_the_form_with_a_reason_and_a_token_may_not() -> None:
    data = dicom_bytes(patient_id="HDR-1")
    kept = submit(files=[data], patient_id="FORM-1", override_reason="wrong worklist entry")
    assert kept.case.patient.patient_id == "FORM-1"
    assert kept.override_reason == "wrong worklist entry"
    token, _ = make_token()
    refused(
        errors.PermissionDenied,
        actor=actor_for_token(token),
        files=[dicom_bytes(patient_id="HDR-2", seed=9)],
        patient_id="FORM-2",
        override_reason="because",
    )


def test_another_date_of_birth_than_on_record_is_refused() -> None:
    actor = make_actor()
    submit(actor=actor, patient_id="P1", birth_date="1968-04-30")
    refused(errors.IdentityMismatch, actor=actor, patient_id="P1", birth_date="1968-05-30")


def test_a_later_delivery_fills_blanks_of_the_record_and_changes_nothing() -> None:
    actor = make_actor()
    submit(actor=actor, patient_id="P1", patient_name="Doe^Jane")
    submit(actor=actor, patient_id="P1", patient_name="Roe^Jane", sex="F")
    patient = Patient.objects.get(patient_id="P1")
    assert (patient.name, patient.sex) == ("Doe^Jane", "F")


def test_a_place_in_the_breast_becomes_a_finding_once() -> None:
    actor = make_actor()
    place = {"laterality": "L", "clock_position": "2", "nipple_distance_mm": "25"}
    first = submit(actor=actor, patient_id="P1", accession_number="A", **place)
    submit(actor=actor, patient_id="P1", accession_number="A", **place)
    submit(actor=actor, patient_id="P1", accession_number="A", laterality="R", clock_position="9")
    assert [f.number for f in first.case.findings.all()] == [1, 2]


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


def at_once(n: int, work: Any) -> list[Any]:
    """Run `work` in n threads, started together; results or exceptions."""
    barrier, results = threading.Barrier(n), []

    def run() -> None:
        try:
            barrier.wait(10)
            results.append(work())
        except Exception as error:
            results.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=run) for _ in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return results


def test_nothing_submits_for_the_system_itself() -> None:
    with pytest.raises(errors.PermissionDenied):
        submit(actor=SYSTEM)
