"""Whose image is it: form, headers, patients, cases and sides brought together."""

from __future__ import annotations

import pytest

from cases import errors
from cases.models import (
    AuditEvent,
    Blob,
    Case,
    Patient,
)
from cases.services.people import actor_for_token
from tests.cases.refusals import refused
from tests.factories import (
    make_actor,
    make_token,
    phantom_jpeg,
    submit,
)
from tests.phantoms import dicom_bytes

pytestmark = pytest.mark.django_db


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


def test_what_one_site_knows_of_a_patient_is_not_told_to_another() -> None:
    known = {"patient_id": "P1", "patient_issuer": "SHARED"}
    ours = submit(patient_name="Doe^Jane", birth_date="1968-04-30", sex="F", **known).case
    # Neither filled in from our record, nor refused by it, nor written into it.
    theirs = submit(patient_name="Guess^Who", birth_date="1970-01-01", **known).case
    assert (theirs.patient.name, str(theirs.patient.birth_date)) == ("Guess^Who", "1970-01-01")
    ours.patient.refresh_from_db()
    assert (ours.patient.name, ours.patient.sex) == ("Doe^Jane", "F")


def test_the_bytes_of_another_site_are_neither_a_conflict_nor_told() -> None:
    data = phantom_jpeg()
    submit(files=[data], patient_id="P1")
    image = submit(files=[data], patient_id="P2").images.get()
    assert image.duplicate_of_id is None
    assert Blob.objects.filter(name=image.storage_name).count() == 1


def test_a_reason_does_not_make_two_headers_one_patient() -> None:
    files = [dicom_bytes(patient_id="A", seed=1), dicom_bytes(patient_id="B", seed=2)]
    refused(errors.IdentityMismatch, files=files, patient_id="", override_reason="left over")


def test_only_what_was_overridden_is_told_and_a_needless_reason_is_dropped() -> None:
    kept = submit(
        files=[dicom_bytes(patient_id="HDR", seed=3)],
        patient_id="FORM",
        override_reason="typing error at the device",
    )
    event = AuditEvent.objects.get(action="submission.created", case_id=kept.case_id)
    assert event.detail["overridden"] == ["patient_id"]
    needless = submit(patient_id="P1", override_reason="just in case")
    event = AuditEvent.objects.get(action="submission.created", case_id=needless.case_id)
    assert "overridden" not in event.detail
    assert needless.override_reason == ""


def test_opposite_breasts_in_form_and_header_are_refused_unless_a_reason_is_given() -> None:
    data = dicom_bytes(patient_id="P1", laterality="L")
    error = refused(errors.FieldInvalid, files=[data], patient_id="P1", laterality="R")
    assert list(error.errors or {}) == ["laterality"]
    kept = submit(files=[data], patient_id="P1", laterality="R", override_reason="header wrong")
    assert kept.images.get().laterality == "R"


def test_each_breast_has_its_own_finding_and_the_clock_is_checked_on_it() -> None:
    left = dicom_bytes(patient_id="P1", laterality="L", seed=1)
    right = dicom_bytes(patient_id="P1", laterality="R", seed=2)
    study = submit(files=[left, right], patient_id="P1", clock_position="2")
    assert [f.laterality for f in study.case.findings.all()] == ["L", "R"]
    refused(
        errors.FieldInvalid,
        files=[dicom_bytes(patient_id="P1", laterality="R", seed=4)],
        patient_id="P1",
        clock_position="2",
        quadrant="upper_outer",
    )


def test_several_studies_need_the_accession_number_that_joins_them() -> None:
    actor = make_actor()
    first = dicom_bytes(accession="", patient_id="P1", study_uid="1.2.3.1", seed=1)
    second = dicom_bytes(accession="", patient_id="P1", study_uid="1.2.3.2", seed=2)
    error = refused(errors.FieldInvalid, actor=actor, files=[first, second], patient_id="P1")
    assert list(error.errors or {}) == ["accession_number"]
    joined = {"patient_id": "P1", "accession_number": "A1"}
    case = submit(actor=actor, files=[first, second], **joined).case
    again = dicom_bytes(accession="", patient_id="P1", study_uid="1.2.3.2", seed=3)
    assert submit(actor=actor, files=[again], patient_id="P1").case == case
    refused(
        errors.AccessionConflict,
        actor=actor,
        files=[dicom_bytes(accession="", patient_id="P2", study_uid="1.2.3.2", seed=4)],
        patient_id="P2",
    )


def test_no_file_is_filed_under_the_patient_of_another_file() -> None:
    named = dicom_bytes(accession="", patient_id="HDR", name="Real^Person", seed=1)
    error = refused(errors.FieldInvalid, files=[named, phantom_jpeg()], patient_id="")
    assert (list(error.errors or {}), error.file) == (["patient_id"], "image1.jpg")
    nameless = dicom_bytes(accession="", patient_id="", name="Other^Person", seed=2)
    refused(errors.FieldInvalid, files=[nameless, named], patient_id="")
    # With the id typed, the name comes from the header that carries that id.
    kept = submit(files=[nameless, named], patient_id="HDR", accession_number="A1")
    assert kept.case.patient.name == "Real^Person"


def test_every_study_of_a_delivery_is_looked_up() -> None:
    actor = make_actor()
    known = dicom_bytes(accession="", patient_id="PA", study_uid="1.2.5.1", seed=1)
    submit(actor=actor, files=[known], patient_id="PA")
    files = [
        dicom_bytes(accession="", patient_id="PB", study_uid="1.2.5.2", seed=2),
        dicom_bytes(accession="", patient_id="", study_uid="1.2.5.1", seed=3),
    ]
    filed = {"patient_id": "PB", "accession_number": "B1"}
    refused(errors.AccessionConflict, actor=actor, files=files, **filed)


def test_an_overruled_header_does_not_claim_its_study() -> None:
    actor = make_actor()
    data = dicom_bytes(patient_id="TRUE", study_uid="1.2.6.1", seed=1)
    wrong = submit(actor=actor, files=[data], patient_id="WRONG", override_reason="a mistake")
    assert wrong.images.get().header_overruled
    later = dicom_bytes(patient_id="TRUE", study_uid="1.2.6.1", seed=2)
    right = submit(actor=actor, files=[later], patient_id="TRUE")
    assert right.case.patient.patient_id == "TRUE"


def test_headers_that_disagree_with_each_other_blame_no_field_of_the_form() -> None:
    files = [
        dicom_bytes(patient_id="P1", accession="A1", study_uid="1.2.7.1", seed=1),
        dicom_bytes(patient_id="P1", accession="A2", study_uid="1.2.7.1", seed=2),
    ]
    error = refused(errors.IdentityMismatch, files=files, patient_id="")
    assert error.errors is None
    assert "two files" in error.detail


def test_a_picture_joins_the_case_of_its_accession_whoever_issued_the_patient_id() -> None:
    actor = make_actor()
    header = dicom_bytes(patient_id="P1", issuer="HOSP", accession="A1")
    case = submit(actor=actor, files=[header], patient_id="").case
    assert submit(actor=actor, patient_id="P1", accession_number="A1").case == case


def test_an_accession_number_without_issuer_is_the_one_the_site_uses() -> None:
    actor = make_actor()
    submit(actor=actor, patient_id="P1", accession_number="A1")
    with_issuer = {"accession_number": "A1", "accession_issuer": "RIS"}
    refused(errors.AccessionConflict, actor=actor, patient_id="P2", **with_issuer)
    submit(actor=actor, patient_id="P1", **with_issuer)
    assert Case.objects.filter(accession_number="A1").count() == 1


def test_a_reason_with_control_characters_is_refused() -> None:
    error = refused(errors.FieldInvalid, override_reason="a\x00b")
    assert list(error.errors or {}) == ["override_reason"]
