"""Erasing a patient's data: what goes, what stays, what answers afterwards, and what may not."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction

from cases import errors
from cases.access import SYSTEM, Actor
from cases.models import (
    AuditEvent,
    Blob,
    Case,
    FindingOutcome,
    Image,
    Job,
    Patient,
    PatientCorrection,
    PatientErasure,
    Reading,
    Result,
    ResultWithdrawal,
    ShadowResult,
    Site,
    User,
)
from cases.selectors.cases import image_get
from cases.selectors.outcomes import images_trainable, patient_is_trainable
from cases.selectors.portal import case_steps
from cases.services.consent import patient_research_set
from cases.services.corrections import case_patient_correct
from cases.services.erasure import erasure_plan, patient_erase
from cases.services.fields import submission_fields_parse
from cases.services.jobs import job_rerun
from cases.services.leases import engine_jobs_claim
from cases.services.outcomes import outcome_content_parse, outcome_record
from cases.services.people import actor_for_token
from cases.services.previews import image_file, image_preview
from cases.services.readings import (
    Place,
    reading_content_parse,
    reading_draft_save,
    reading_sign,
)
from cases.services.replays import replay_request
from cases.services.results import result_store
from cases.services.shadow_results import shadow_result_store
from cases.services.withdrawals import result_withdraw
from cases.states import JobState, ModelState
from tests.cases.erasing import WHY, erase
from tests.cases.governing import candidate, promoted
from tests.factories import (
    WORKER,
    answer,
    live_model,
    make_actor,
    make_site,
    make_token,
    phantom_jpeg,
    stored_result,
    submit,
)
from tests.phantoms import dicom_bytes
from tests.told import tells

pytestmark = pytest.mark.django_db

SECRETS = ("SECRET-7", "Zebrafish", "ACC-0815", "Quagga", "image0.jpg")
YEAR = "1961"


@pytest.fixture
def site(db: None) -> Site:
    return make_site()


@pytest.fixture
def reader(site: Site) -> Actor:
    return make_actor(site=site)


@pytest.fixture
def admin(site: Site) -> Actor:
    return make_actor(roles=["admin"], site=site)


@pytest.fixture
def case(reader: Actor, admin: Actor) -> Case:
    """A case with everything an erasure must find; every free text names the patient."""
    made = submit(
        actor=reader,
        patient_id="SECRET-7",
        patient_name="Zebrafish^Quagga",
        birth_date="1961-02-03",
        accession_number="ACC-0815",
        laterality="L",
        clock_position="2",
    )
    case = made.case
    result = stored_result(made.jobs.get())
    image_preview(actor=reader, image=image_get(actor=reader, image_id=result.image_id))
    content = reading_content_parse({"category": "4A", "text": "Mrs Zebrafish has a mass."})
    shared: dict[str, Any] = {"actor": reader, "case_id": case.pk, "content": content, "version": 0}
    reading_sign(**shared, place=Place())
    reading_draft_save(**shared, place=Place(finding_id=case.findings.get().pk))
    for raw in (
        {"pathology": "benign", "basis": "histology"},
        {"pathology": "invasive", "basis": "histology", "reason": "Zebrafish's excision."},
    ):
        finding = case.findings.get().pk
        outcome_record(actor=reader, finding_id=finding, content=outcome_content_parse(raw))
    result_withdraw(actor=admin, result_id=result.pk, reason="Not Zebrafish's.")
    return case


def everything_stored() -> str:
    """Every row of every table as text, as somebody with the whole database would see it."""
    found = []
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            if table.startswith("cases_"):
                cursor.execute(f"SELECT row_to_json(t)::text FROM {table} t")
                found.extend(row[0] for row in cursor.fetchall())
    return "\n".join(found)


def test_identity_bytes_and_free_text_go_and_numbers_stay(admin: Actor, case: Case) -> None:
    before = everything_stored()
    assert all(word in before for word in SECRETS) and tells(before, YEAR)
    plan = erasure_plan(actor=admin, case_id=case.pk)
    assert {k: v for k, v in plan.counts.items() if k != "bytes"} == {
        "cases": 1,
        "images": 1,
        "frames": 0,
        "results": 1,
        "heatmaps": 1,
        "readings": 1,
        "drafts": 1,
        "findings": 1,
        "outcomes": 2,
        "frozen": 0,
        "jobs_waiting": 0,
    }
    assert Blob.objects.filter(name__in=plan.names).count() == 2
    image = case.images.get()
    erasure = erase(admin, case)
    assert erasure.counts == plan.counts
    assert erasure.ids == {"cases": [str(case.pk)], "images": [str(image.pk)]}
    after = everything_stored()
    for word in (*SECRETS, image.sha256):
        assert word not in after, word
    assert not tells(after, YEAR)
    assert not Blob.objects.filter(name__in=plan.names).exists()
    result = Result.objects.get()
    assert (result.heatmap, result.score_malignant) == (None, 0.8)
    reading = Reading.objects.get()
    assert (reading.category, reading.text) == ("4A", "")
    assert [o.reason for o in FindingOutcome.objects.all()] == ["", ""]
    assert ResultWithdrawal.objects.get().reason == ""
    told = AuditEvent.objects.filter(action__in=["patient.erased", "case.erased"])
    assert [event.action for event in told.order_by("id")] == ["patient.erased", "case.erased"]
    assert told.get(action="patient.erased").detail == plan.counts


def test_what_is_asked_afterwards_is_answered_clearly(
    reader: Actor, admin: Actor, case: Case
) -> None:
    image, job = case.images.get(), Job.objects.get()
    erase(admin, case)
    image = image_get(actor=reader, image_id=image.pk)
    content = reading_content_parse({"category": "2"})
    place = Place()
    finding = case.findings.get().pk
    outcome = outcome_content_parse({"pathology": "benign", "basis": "histology"})
    attempts = (
        lambda: image_preview(actor=reader, image=image),
        lambda: image_file(actor=reader, image=image),
        lambda: job_rerun(actor=reader, job_id=job.pk),
        lambda: replay_request(actor=reader, result_id=Result.objects.get().pk),
        lambda: reading_sign(
            actor=reader, case_id=case.pk, place=place, content=content, version=0
        ),
        lambda: outcome_record(actor=reader, finding_id=finding, content=outcome),
        lambda: patient_research_set(actor=reader, patient_id=case.patient_id, opted_out=True),
        lambda: case_patient_correct(
            actor=reader,
            case_id=case.pk,
            fields=submission_fields_parse({"patient_id": "X"}),
            reason=WHY,
        ),
        lambda: erasure_plan(actor=admin, case_id=case.pk),
        lambda: patient_erase(actor=admin, case_id=case.pk, reason=WHY, token=""),
    )
    for attempt in attempts:
        with pytest.raises(errors.Erased):
            attempt()


def test_an_erased_patient_is_in_no_training_data_and_comes_back_as_another(
    reader: Actor, admin: Actor, case: Case
) -> None:
    patient = case.patient
    assert images_trainable(Image.objects.all()).count() == 1
    erase(admin, case)
    patient.refresh_from_db()
    assert not patient_is_trainable(patient)
    assert not images_trainable(Image.objects.all()).exists()
    again = submit(actor=reader, patient_id="SECRET-7", accession_number="ACC-0815")
    assert again.case != case
    assert again.case.patient != patient
    assert again.images.get().duplicate_of is None


def test_bytes_another_patient_shares_stay_with_them(reader: Actor, admin: Actor) -> None:
    data = phantom_jpeg()
    mine = submit(actor=reader, files=[data]).case
    elsewhere = submit(files=[data]).case
    kept = elsewhere.images.get()
    image_preview(actor=reader, image=image_get(actor=reader, image_id=mine.images.get().pk))
    erase(admin, mine)
    assert Blob.objects.filter(name=kept.storage_name).exists()
    assert Blob.objects.filter(name__startswith=f"previews/{kept.sha256}").count() == 1
    other_admin = make_actor(roles=["admin"], site=elsewhere.site)
    erase(other_admin, elsewhere)
    assert not Blob.objects.filter(name__contains=kept.sha256).exists()


def test_all_cases_of_the_patient_go_and_no_other(reader: Actor, admin: Actor) -> None:
    first = submit(actor=reader, patient_id="P-1", accession_number="A1").case
    second = submit(
        actor=reader,
        files=[dicom_bytes(seed=92, patient_id="P-1", accession="A2")],
        patient_id="",
    ).case
    other = submit(actor=reader, patient_id="P-2").case
    assert first.patient == second.patient
    frames = Blob.objects.filter(name=second.images.get().frame_rows.get().storage_name)
    assert frames.exists()
    erasure = erase(admin, first)
    assert (erasure.counts["cases"], erasure.counts["frames"]) == (2, 1)
    assert not frames.exists()
    assert second.images.get().facts == {}
    assert other.images.get().sha256
    other.patient.refresh_from_db()
    assert other.patient.erased_at is None


def test_waiting_and_running_work_is_cancelled_and_stores_nothing(
    reader: Actor, admin: Actor
) -> None:
    running = submit(actor=reader, patient_id="P-1").case
    (claim,) = engine_jobs_claim(actor=WORKER, limit=1)
    waiting = submit(actor=reader, patient_id="P-1").jobs.get()
    plan = erasure_plan(actor=admin, case_id=running.pk)
    assert plan.counts["jobs_waiting"] == 2
    erase(admin, running)
    assert {job.state for job in Job.objects.all()} == {JobState.CANCELLED}
    late = result_store(actor=WORKER, job_id=claim.job_id, attempt=claim.attempt, answer=answer())
    assert late is None
    assert not Result.objects.exists()
    events = AuditEvent.objects.filter(action="job.cancelled")
    assert events.filter(object_id=str(waiting.pk)).exists()


def test_a_waiting_replay_is_cancelled_too(reader: Actor, admin: Actor) -> None:
    result = stored_result(submit(actor=reader).jobs.get())
    job = replay_request(actor=reader, result_id=result.pk)
    erase(admin, result.image.case)
    job.refresh_from_db()
    assert job.state == JobState.CANCELLED


def test_a_model_in_shadow_stores_nothing_of_an_erased_patient(reader: Actor, admin: Actor) -> None:
    live_model()
    promoted(candidate(), ModelState.SHADOW)
    mine = [stored_result(submit(actor=reader, patient_id="P-1").jobs.get()) for _ in range(2)]
    other = stored_result(submit(actor=reader, patient_id="P-2").jobs.get())
    (claim,) = engine_jobs_claim(actor=WORKER, limit=1)
    shadow = Job.objects.filter(kind="shadow")
    states = dict(shadow.values_list("shadow_of", "state"))
    assert states == {mine[0].pk: "RUNNING", mine[1].pk: "PENDING", other.pk: "PENDING"}
    plan = erasure_plan(actor=admin, case_id=mine[0].image.case_id)
    assert plan.counts["jobs_waiting"] == 2
    erase(admin, mine[0].image.case)
    late = shadow_result_store(
        actor=WORKER, job_id=claim.job_id, attempt=claim.attempt, answer=answer()
    )
    assert late is None
    assert not ShadowResult.objects.exists()
    states = dict(shadow.values_list("shadow_of", "state"))
    assert states == {mine[0].pk: "CANCELLED", mine[1].pk: "CANCELLED", other.pk: "PENDING"}
    # In the trail of the case, under the answer that was to be matched; among its steps it is not.
    told = AuditEvent.objects.filter(action="shadow.cancelled")
    assert {(event.object_id, event.case_id) for event in told} == {
        (str(result.pk), result.image.case_id) for result in mine
    }
    steps = case_steps(actor=SYSTEM, case_id=mine[0].image.case_id, limit=100)
    assert not any(step.action.startswith("shadow.") for step in steps)


def test_a_correction_away_from_the_patient_keeps_its_links_and_loses_its_words(
    reader: Actor, admin: Actor
) -> None:
    moved = submit(actor=reader, patient_id="P-1", accession_number="A1").case
    left = submit(actor=reader, patient_id="P-1", accession_number="A2").case
    case_patient_correct(
        actor=reader,
        case_id=moved.pk,
        fields=submission_fields_parse({"patient_id": "P-2"}),
        reason="It was Mr Doe's.",
    )
    erasure = erase(admin, left)
    assert erasure.counts["cases"] == 1
    correction = PatientCorrection.objects.get()
    assert (correction.reason, correction.from_patient) == ("", left.patient)
    assert moved.images.get().sha256


def test_corrections_to_and_from_a_record_in_between_lose_their_words(
    reader: Actor, admin: Actor
) -> None:
    moved = submit(actor=reader, patient_id="P-1").case
    for right, reason in (("P-2", "It was Mr Doe's."), ("P-3", "No, it was Mr Poe's.")):
        case_patient_correct(
            actor=reader,
            case_id=moved.pk,
            fields=submission_fields_parse({"patient_id": right}),
            reason=reason,
        )
    unrelated = submit(actor=reader, patient_id="P-4").case
    case_patient_correct(
        actor=reader,
        case_id=unrelated.pk,
        fields=submission_fields_parse({"patient_id": "P-5"}),
        reason="Two lines were swapped.",
    )
    between = submit(actor=reader, patient_id="P-2").case
    erase(admin, between)
    told = {
        (row.from_patient.patient_id, row.to_patient.patient_id): row.reason
        for row in PatientCorrection.objects.all()
    }
    assert told == {
        ("P-1", ""): "",
        ("", "P-3"): "",
        ("P-4", "P-5"): "Two lines were swapped.",
    }
    assert moved.images.get().sha256


def test_what_somebody_did_not_agree_to_is_not_erased(
    reader: Actor, admin: Actor, case: Case
) -> None:
    token = erasure_plan(actor=admin, case_id=case.pk).token
    submit(actor=reader, patient_id="SECRET-7", accession_number="ACC-0815")
    with pytest.raises(errors.StateConflict, match="Look at the numbers again"):
        patient_erase(actor=admin, case_id=case.pk, reason=WHY, token=token)
    with pytest.raises(errors.FieldInvalid):
        erase(admin, case, reason=" ")
    case.patient.refresh_from_db()
    assert case.patient.name
    assert Blob.objects.filter(name=case.images.first().storage_name).exists()  # type: ignore[union-attr]


@pytest.mark.parametrize("role", ["sonographer", "radiologist", "approver", "auditor"])
def test_only_administrators_erase(role: str, site: Site, case: Case) -> None:
    actor = make_actor(roles=[role], site=site)
    with pytest.raises(errors.PermissionDenied):
        erasure_plan(actor=actor, case_id=case.pk)
    with pytest.raises(errors.PermissionDenied):
        patient_erase(actor=actor, case_id=case.pk, reason=WHY, token="")


def test_no_token_erases_and_nobody_elsewhere(admin: Actor, case: Case) -> None:
    owner = User.objects.get(pk=admin.user_id)
    token = actor_for_token(make_token(user=owner, scopes=["admin", "read"])[0])
    with pytest.raises(errors.PermissionDenied):
        patient_erase(actor=token, case_id=case.pk, reason=WHY, token="")
    with pytest.raises(errors.NotFound):
        erasure_plan(actor=make_actor(roles=["admin"]), case_id=case.pk)


def test_the_database_lets_nothing_else_happen_to_rows_of_an_erased_patient(
    admin: Actor, case: Case
) -> None:
    erasure = erase(admin, case)
    for change in (
        lambda: Reading.objects.update(category="2"),
        lambda: Reading.objects.update(text="Made up."),
        lambda: Result.objects.update(score_malignant=0.1),
        lambda: FindingOutcome.objects.update(pathology="benign"),
        lambda: ResultWithdrawal.objects.all().delete(),
        lambda: PatientErasure.objects.filter(pk=erasure.pk).update(reason=""),
        lambda: Patient.objects.filter(pk=case.patient_id).update(name="Back^Again"),
    ):
        with pytest.raises(DatabaseError), transaction.atomic():
            change()
