"""A case under the wrong patient: moved with all its links, or refused where it would conflict."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction

from cases import errors
from cases.access import Actor
from cases.models import AuditEvent, Case, Patient, PatientCorrection, Site
from cases.services.corrections import case_patient_correct
from cases.services.fields import submission_fields_parse
from cases.services.outcomes import outcome_content_parse, outcome_record
from cases.services.readings import Place, reading_content_parse, reading_sign
from tests.factories import at_once, make_actor, make_site, phantom_jpeg, submit
from tests.live import wait_for
from tests.phantoms import dicom_bytes

pytestmark = pytest.mark.django_db

WHY = "The wrong line of the worklist was picked at the device."


@pytest.fixture
def site(db: None) -> Site:
    return make_site()


@pytest.fixture
def reader(site: Site) -> Actor:
    return make_actor(site=site)


@pytest.fixture
def case(reader: Actor) -> Case:
    made = submit(
        actor=reader,
        patient_id="WRONG",
        patient_name="Doe^Jane",
        accession_number="A1",
        laterality="L",
        clock_position="2",
    )
    return made.case


def correct(actor: Actor, case: Case, *, reason: str = WHY, **fields: Any) -> PatientCorrection:
    fields.setdefault("patient_id", "RIGHT")
    parsed = submission_fields_parse(fields)
    return case_patient_correct(actor=actor, case_id=case.pk, fields=parsed, reason=reason)


def test_a_case_moves_to_a_new_record_with_all_its_links(reader: Actor, case: Case) -> None:
    finding = case.findings.get()
    reading = reading_sign(
        actor=reader,
        case_id=case.pk,
        place=Place(),
        content=reading_content_parse({"category": "2"}),
        version=0,
    )
    content = outcome_content_parse({"pathology": "benign", "basis": "histology"})
    outcome, _ = outcome_record(actor=reader, finding_id=finding.pk, content=content)
    old = case.patient
    correction = correct(reader, case, patient_name="Roe^Mary")
    case.refresh_from_db()
    assert (case.patient.patient_id, case.patient.name) == ("RIGHT", "Roe^Mary")
    assert case.patient.issuer == old.issuer
    assert (correction.from_patient, correction.to_patient) == (old, case.patient)
    assert (reading.case, outcome.case, case.images.count()) == (case, case, 1)
    event = AuditEvent.objects.get(action="case.patient_corrected")
    assert (event.detail["from"], event.detail["to"]) == (str(old.pk), str(case.patient_id))
    told = str([(e.detail, e.changed_fields) for e in AuditEvent.objects.all()])
    for word in ("RIGHT", "WRONG", "Roe", "Doe", WHY):
        assert word not in told
    old.refresh_from_db()
    assert (old.name, old.patient_id) == ("Doe^Jane", "WRONG")


def test_a_case_moves_to_a_known_record_and_back(reader: Actor, case: Case) -> None:
    known = submit(actor=reader, patient_id="RIGHT", patient_name="Roe^Mary").case.patient
    old = case.patient
    assert correct(reader, case, patient_name="Other^Name").to_patient == known
    known.refresh_from_db()
    assert known.name == "Roe^Mary"
    assert correct(reader, case, patient_id="WRONG").to_patient == old
    assert case.corrections.count() == 2


def test_later_images_of_the_accession_join_under_the_right_patient(
    reader: Actor, case: Case
) -> None:
    correct(reader, case)
    again = {"actor": reader, "accession_number": "A1"}
    assert submit(**again, patient_id="RIGHT").case == case
    with pytest.raises(errors.AccessionConflict):
        submit(**again, patient_id="WRONG")


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"patient_id": "WRONG"}, errors.FieldInvalid),
        ({"patient_id": ""}, errors.FieldInvalid),
        ({"reason": " "}, errors.FieldInvalid),
        ({"birth_date": "1950-01-01"}, errors.IdentityMismatch),
    ],
)
def test_what_is_no_correction_changes_nothing(
    change: dict[str, str], error: type[errors.UserFacingError], reader: Actor, case: Case
) -> None:
    submit(actor=reader, patient_id="RIGHT", birth_date="1960-01-01")
    patients, trail = Patient.objects.count(), AuditEvent.objects.count()
    with pytest.raises(error):
        correct(reader, case, **change)
    case.refresh_from_db()
    assert case.patient.patient_id == "WRONG"
    assert (Patient.objects.count(), AuditEvent.objects.count()) == (patients, trail)


def test_an_accession_number_is_not_split_between_patients(reader: Actor, case: Case) -> None:
    # A number without an issuer matches any: both are of the same patient now.
    Case.objects.create(
        site=case.site, patient=case.patient, accession_number="A1", accession_issuer="ELSEWHERE"
    )
    with pytest.raises(errors.AccessionConflict, match="accession number"):
        correct(reader, case)
    assert not Patient.objects.filter(patient_id="RIGHT").exists()


def test_a_study_is_not_split_between_patients(reader: Actor) -> None:
    data = dicom_bytes(seed=91, patient_id="WRONG", accession="")
    first = submit(actor=reader, files=[data], patient_id="")
    other = submit(actor=reader, patient_id="WRONG").case
    image = first.images.get()
    image.case = other
    image.save()
    with pytest.raises(errors.AccessionConflict, match="same study"):
        correct(reader, first.case)


def test_a_file_is_not_split_between_patients(reader: Actor) -> None:
    data = phantom_jpeg()
    first = submit(actor=reader, files=[data], patient_id="WRONG", accession_number="A1").case
    submit(actor=reader, files=[data], patient_id="WRONG", accession_number="A2")
    with pytest.raises(errors.DuplicateOfOtherPatient):
        correct(reader, first)
    first.refresh_from_db()
    assert first.patient.patient_id == "WRONG"


@pytest.mark.parametrize("role", ["sonographer", "admin", "approver", "auditor", "integration"])
def test_only_radiologists_correct_a_patient(role: str, site: Site, case: Case) -> None:
    with pytest.raises(errors.PermissionDenied):
        correct(make_actor(roles=[role], site=site), case)


def test_another_sites_case_is_not_there(case: Case) -> None:
    with pytest.raises(errors.NotFound):
        correct(make_actor(), case)


def test_a_correction_is_refused_every_change_by_the_database(reader: Actor, case: Case) -> None:
    correct(reader, case)
    rows = PatientCorrection.objects.all()
    for change in (lambda: rows.update(reason=""), rows.delete):
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
            change()


@pytest.mark.django_db(transaction=True)
def test_of_corrections_at_once_one_moves_the_case() -> None:
    reader = make_actor()
    case = submit(actor=reader, patient_id="WRONG").case
    told = at_once(4, lambda: correct(reader, case))
    assert sum(isinstance(outcome, PatientCorrection) for outcome in told) == 1
    refused = (errors.StateConflict, errors.FieldInvalid)
    assert sum(isinstance(outcome, refused) for outcome in told) == 3
    assert PatientCorrection.objects.count() == 1


def correct_during(delivery: dict[str, Any], reader: Actor, case: Case, *, until: str) -> Any:
    """What a correction comes to that begins while a delivery is being stored, and is seen to
    wait for a lock of this kind before the delivery is through."""
    came: list[Any] = []

    def work() -> None:
        try:
            came.append(correct(reader, case))
        except errors.UserFacingError as error:
            came.append(error)
        finally:
            connection.close()

    def waits() -> bool:
        with connection.cursor() as cursor:
            cursor.execute("SELECT locktype FROM pg_locks WHERE NOT granted")
            return until in {row[0] for row in cursor.fetchall()}

    thread = threading.Thread(target=work)
    with transaction.atomic():
        submit(**delivery)
        thread.start()
        wait_for(f"the correction to wait for the {until} lock", waits)
    thread.join(300)
    return came[0]


@pytest.mark.django_db(transaction=True)
def test_a_correction_waits_for_a_delivery_of_the_same_bytes() -> None:
    reader, data = make_actor(), phantom_jpeg()
    case = submit(actor=reader, files=[data], patient_id="WRONG").case
    # Of another site: no row of this case's patients is held meanwhile.
    came = correct_during({"files": [data]}, reader, case, until="advisory")
    assert isinstance(came, PatientCorrection)
    case.refresh_from_db()
    assert case.patient.patient_id == "RIGHT"


@pytest.mark.django_db(transaction=True)
def test_a_case_that_got_images_meanwhile_is_not_moved() -> None:
    reader = make_actor()
    case = submit(actor=reader, patient_id="WRONG", accession_number="A1").case
    more = {"actor": reader, "patient_id": "WRONG", "accession_number": "A1"}
    came = correct_during(more, reader, case, until="transactionid")
    assert isinstance(came, errors.StateConflict)
    case.refresh_from_db()
    assert (case.patient.patient_id, case.images.count()) == ("WRONG", 2)
    assert correct(reader, case).to_patient.patient_id == "RIGHT"
