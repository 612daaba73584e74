"""Freezing accepted images with the real child process: what is in a snapshot, what is not."""

from __future__ import annotations

import csv
import io
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import DatabaseError, IntegrityError, transaction
from PIL import Image as Raster

from cases.access import Actor
from cases.errors import FieldInvalid
from cases.models import (
    AuditEvent,
    FrozenPicture,
    Job,
    PatientPartition,
    Site,
    SnapshotFreeze,
    TrainingCandidate,
    TrainingSnapshot,
)
from cases.selectors.snapshots import snapshot_list_free
from cases.services import freeze_work
from cases.services.consent import patient_research_set
from cases.services.corrections import case_patient_correct
from cases.services.curation import candidate_reject
from cases.services.fields import submission_fields_parse
from cases.services.gate_fields import gate_plan_parse
from cases.services.gates import gate_plan_create
from cases.services.jobs import job_cancel
from cases.services.leases import jobs_sweep
from cases.services.withdrawals import result_withdraw
from cases.states import JobState
from cases.storage import read_bytes
from cases.vocabulary import OutcomeBasis, Pathology
from ml.dataset import read_dataset
from ml.snapshot import load_snapshot, verify_snapshot
from tests.cases.erasing import erase
from tests.curation import BENIGN, READER
from tests.factories import WORKER
from tests.gates import make_plan, plan_raw
from tests.told import tells
from tests.training import make_run
from tests.worker.freezes import ask, done, ended, freeze, imported, keys_in, of, put, some
from worker import freezing
from worker.freezing import FreezeRunner

# Each starts a process that compares the pictures: long on a busy machine.
pytestmark = [pytest.mark.django_db, pytest.mark.timeout(600)]

SECRETS = ("SECRET-", "Zebrafish", "Quilla", "ACC-")


def test_a_snapshot_holds_the_accepted_parts_under_keys_and_no_identity(
    state: Path, people: tuple[Actor, Actor], site: Site
) -> None:
    candidates = some(people)
    snapshot = done(people)
    assert (snapshot.role, snapshot.name, snapshot.images) == ("training", "a training set", 8)
    assert snapshot.site == site
    assert snapshot.classes == {"benign": 4, "malignant": 4, "normal": 0}
    assert keys_in(snapshot) == of(*candidates)
    folder = Path(snapshot.data_root)
    assert folder == state / "frozen" / snapshot.pk / "data"
    assert folder.parent.stat().st_mode & 0o077 == 0
    assert [p.name for p in (state / "frozen").iterdir()] == [snapshot.pk]
    # The folder is one that trainings read, and holds what the document says.
    document = load_snapshot(folder.parent / "snapshot.json")
    assert document["id"] == snapshot.pk
    assert verify_snapshot(document, folder) == 8
    assert read_dataset(folder).counts() == snapshot.classes
    assert [source["source"] for source in snapshot.sources] == [site.code]
    for path in folder.rglob("*.png"):
        with Raster.open(path) as picture:
            assert (picture.size, picture.info) == ((94, 88), {})
    frozen = [*folder.parent.rglob("*"), folder.parent]
    text = "\n".join(map(str, frozen)).encode()
    text += b"".join(path.read_bytes() for path in frozen if path.is_file())
    text += json.dumps(list(SnapshotFreeze.objects.values("left_out", "name"))).encode()
    for secret in (*SECRETS, site.patient_issuer):
        assert secret.encode() not in text, secret
    assert not tells(text.decode("latin-1"), "1961")
    with (folder / "manifest.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["histology"] for row in rows} == {"benign", "invasive"}
    assert {row["side"] for row in rows} == {"L"}
    (event,) = AuditEvent.objects.filter(action="freeze.succeeded")
    assert (event.site_id, event.detail["images"]) == (site.pk, 8)


def test_the_same_images_again_are_the_same_snapshot(
    state: Path, people: tuple[Actor, Actor]
) -> None:
    some(people)
    first, second = done(people), done(people)
    assert first == second
    assert second.data_root == first.data_root
    assert TrainingSnapshot.objects.count() == 1
    assert PatientPartition.objects.count() == 8


def test_a_patient_stays_locked_or_in_training_for_ever(
    state: Path, people: tuple[Actor, Actor]
) -> None:
    some(people, benign=8, malignant=8)
    locked = done(people, "locked", share="50")
    # Half of the patients with a malignant image, half of the others.
    assert locked.classes == {"benign": 4, "malignant": 4, "normal": 0}
    training = done(people)
    assert training.images == 8
    assert not keys_in(locked) & keys_in(training)
    # Everybody is on a side now: nobody is left to draw from, and new images follow their patient.
    for n in range(8):
        put(people, "benign", f"B{n}", clock_position="7")
    again, more = done(people, "locked", share="100"), done(people)
    assert (again.images, more.images) == (12, 12)
    assert keys_in(again) == keys_in(locked)
    assert keys_in(more) == keys_in(training)
    rows = PatientPartition.objects.all()
    for change in (lambda: rows.update(role="training"), rows.delete):
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
            change()


def test_nobody_trains_from_a_locked_set_and_a_plan_may_name_it(
    state: Path, people: tuple[Actor, Actor], site: Site
) -> None:
    some(people, benign=6, malignant=6)
    locked = done(people, "locked", share="100")
    assert not snapshot_list_free(actor=people[1]).exists()
    with pytest.raises(FieldInvalid) as refused:
        make_run(snapshot=locked, site=site, actor=people[1])
    assert "on which models are judged" in str(refused.value.errors)
    plan = gate_plan_create(actor=people[1], fields=gate_plan_parse(plan_raw(locked)))
    assert plan.malignant_patients == 6


def test_a_training_set_is_chosen_for_a_run_and_no_plan_locks_it(
    state: Path, people: tuple[Actor, Actor], site: Site
) -> None:
    some(people)
    training = done(people)
    with pytest.raises(FieldInvalid) as refused:
        gate_plan_create(actor=people[1], fields=gate_plan_parse(plan_raw(training)))
    assert "stay on that side" in str(refused.value.errors)
    # Nor a folder of its patients' other pictures, before and after somebody trains.
    with pytest.raises(FieldInvalid) as refused:
        make_plan(imported(100, "SECRET-M0", "SECRET-M1"), actor=people[1])
    assert "2 patients with snapshot a training set" in str(refused.value.errors)
    run = make_run(snapshot=training, site=site, actor=people[1])
    assert run.snapshot == training
    make_plan(imported(200, "SECRET-M9"), actor=people[1])


def test_a_label_that_rests_on_a_reader_alone_is_never_in_a_locked_set(
    state: Path, people: tuple[Actor, Actor]
) -> None:
    some(people)
    content = type(BENIGN)(Pathology.BENIGN, READER)
    weak = put(people, "benign", "WEAK", content=content)
    made = freeze(people, "locked", share="100")
    assert made.snapshot is not None
    assert made.left_out == {"by_a_reader_alone": 1}
    assert not of(weak) & keys_in(made.snapshot)
    # Its patient is on no side yet, so it may be trained on.
    assert keys_in(put_more(people)) >= of(weak)
    row = FrozenPicture.objects.filter(role="locked").first()
    assert row is not None
    row.pk, row.basis = None, OutcomeBasis.READER_ONLY.value
    row.candidate = weak
    with pytest.raises(IntegrityError, match="reader_alone"), transaction.atomic():
        row.save(force_insert=True)


def put_more(people: tuple[Actor, Actor]) -> TrainingSnapshot:
    for n in range(8):
        put(people, "benign", f"MORE{n}")
    return done(people)


def test_the_database_holds_a_picture_to_the_side_of_its_patient(
    state: Path, people: tuple[Actor, Actor]
) -> None:
    some(people)
    done(people)
    row = FrozenPicture.objects.first()
    assert row is not None
    other = ask(people, "locked")
    row.pk, row.role, row.freeze = None, "locked", other
    with pytest.raises(IntegrityError, match="patients_side"), transaction.atomic():
        row.save(force_insert=True)


# Who is out of the next snapshot


def test_what_was_erased_opted_out_withdrawn_moved_or_rejected_is_out_of_the_next_one(
    state: Path, people: tuple[Actor, Actor]
) -> None:
    reader, admin = people
    some(people, benign=6, malignant=3)
    gone = {name: put(people, "benign", name) for name in "ABCDE"}
    keys = {name: of(candidate) for name, candidate in gone.items()}
    first = done(people)
    assert first.images == 14
    erase(admin, gone["A"].image.case)
    patient_research_set(actor=reader, patient_id=gone["B"].image.case.patient_id, opted_out=True)
    result_withdraw(actor=admin, result_id=gone["C"].image.results.get().pk, reason="Wrong.")
    case_patient_correct(
        actor=reader,
        case_id=gone["D"].image.case_id,
        fields=submission_fields_parse({"patient_id": "SECRET-RIGHT"}),
        reason="Mixed up.",
    )
    candidate = gone["E"]
    candidate_reject(
        actor=admin, candidate_id=candidate.pk, version=candidate.version, reason="Poor."
    )
    made = freeze(people)
    assert made.snapshot is not None
    assert made.snapshot.images == 9
    assert made.left_out == {"not_in_research": 1, "withdrawn": 1}
    for name, key in keys.items():
        assert not key & keys_in(made.snapshot), name
    # And of the first one nobody trains: of those pictures only the withdrawn answer's may stay.
    with pytest.raises(FieldInvalid) as refused:
        make_run(snapshot=first, actor=admin)
    assert "4 of its pictures may not be trained on" in str(refused.value.errors)


def test_a_picture_that_looks_like_a_locked_one_never_enters_training(
    state: Path, people: tuple[Actor, Actor]
) -> None:
    some(people, benign=5, malignant=5)
    done(people, "locked", share="100")
    twin = TrainingCandidate.objects.filter(label="benign").earliest("created_at")
    # The same picture under another patient, as another file.
    with Raster.open(io.BytesIO(small_of(twin))) as picture:
        buffer = io.BytesIO()
        picture.save(buffer, "PNG")
    other = put(people, "benign", "TWIN", files=[buffer.getvalue()])
    for n in range(8):
        put(people, "benign", f"NEW{n}")
    made = freeze(people)
    assert made.snapshot is not None
    assert made.left_out == {"patient_is_locked": 10, "on_the_other_side": 1}
    assert not of(other) & keys_in(made.snapshot)
    assert not PatientPartition.objects.filter(pk__in=of(other)).exists()


def small_of(candidate: TrainingCandidate) -> bytes:
    return read_bytes(candidate.image.storage_name)


# Changes while it is made, and bad turns


def test_a_decision_that_changes_meanwhile_makes_it_begin_again(
    state: Path, people: tuple[Actor, Actor], monkeypatch: pytest.MonkeyPatch
) -> None:
    candidates = some(people, benign=6)
    last = candidates[0]
    plain = freeze_work._still

    def still(*arguments: Any) -> None:
        monkeypatch.setattr(freeze_work, "_still", plain)
        candidate_reject(actor=people[1], candidate_id=last.pk, version=last.version, reason="No.")
        plain(*arguments)

    monkeypatch.setattr(freeze_work, "_still", still)
    asked = freeze(people)
    # The rejection was part of the transaction that was taken back: nothing is stored at all.
    assert ended(asked) == (JobState.PENDING, "selection_changed")
    assert not TrainingSnapshot.objects.exists()
    assert not PatientPartition.objects.exists()
    assert list((state / "frozen").iterdir()) == []
    last.refresh_from_db()
    candidate_reject(actor=people[1], candidate_id=last.pk, version=last.version, reason="No.")
    Job.objects.filter(pk=asked.pk).update(available_at=asked.job.created_at)
    assert FreezeRunner(name="training@test").drain() == 1
    asked.refresh_from_db()
    assert asked.snapshot is not None
    assert asked.snapshot.images == 9


@pytest.mark.parametrize(
    ("benign", "malignant", "role", "code"),
    [
        (0, 0, "training", "nothing_accepted"),
        (6, 0, "locked", "one_class"),
        (2, 1, "training", "too_few_patients"),
    ],
)
def test_what_cannot_be_a_snapshot_ends_with_its_name_and_puts_nobody_on_a_side(
    state: Path,
    people: tuple[Actor, Actor],
    benign: int,
    malignant: int,
    role: str,
    code: str,
) -> None:
    some(people, benign=benign, malignant=malignant)
    made = freeze(people, role, share="100")
    assert ended(made) == (JobState.FAILED, code)
    assert made.job.error_detail
    assert not PatientPartition.objects.exists()
    assert list((state / "frozen").iterdir()) == []


def test_another_secret_is_refused_once_patients_are_on_sides(
    state: Path, people: tuple[Actor, Actor], settings: Any
) -> None:
    some(people)
    done(people)
    settings.BCWEB_PATIENT_KEY = "x" * 40
    made = freeze(people)
    assert ended(made) == (JobState.FAILED, "patient_key_changed")
    assert "x" * 8 not in made.job.error_detail


def test_a_cancelled_freeze_stores_nothing_and_a_lost_one_is_taken_up_again(
    state: Path, people: tuple[Actor, Actor]
) -> None:
    some(people)
    asked = ask(people)
    job_cancel(actor=people[1], job_id=asked.pk)
    assert FreezeRunner(name="training@test").drain() == 0
    asked = ask(people)
    claim = freeze_work.freeze_claim(actor=WORKER)
    assert claim is not None
    # One at a time, whoever asks.
    assert freeze_work.freeze_claim(actor=WORKER) is None
    Job.objects.filter(pk=asked.pk).update(
        lease_expires_at=asked.job.created_at - timedelta(seconds=1)
    )
    assert jobs_sweep(actor=WORKER)["requeued"] == 1
    Job.objects.filter(pk=asked.pk).update(available_at=asked.job.created_at)
    assert FreezeRunner(name="training@test").drain() == 1
    assert not freeze_work.freeze_heartbeat(claim=claim, done=1, of=2)
    asked.refresh_from_db()
    assert asked.snapshot is not None
    assert FrozenPicture.objects.count() == 8


def test_a_worker_that_stops_gives_it_back(state: Path, people: tuple[Actor, Actor]) -> None:
    some(people)
    asked = ask(people)
    told = iter([False, True, True, True])
    assert FreezeRunner(name="training@test", should_stop=lambda: next(told)).drain() == 1
    asked.job.refresh_from_db()
    assert (asked.job.state, asked.job.attempt) == (JobState.PENDING, 1)
    assert list((state / "frozen").iterdir()) == []


def test_a_picture_that_cannot_be_drawn_is_left_out_and_the_others_are_frozen(
    state: Path, people: tuple[Actor, Actor]
) -> None:
    damaged = some(people, benign=5)[0]
    # As if the decoder of another version had told a smaller picture.
    TrainingCandidate.objects.filter(pk=damaged.pk).update(box=[0, 0, 20_000, 20_000])
    made = freeze(people)
    assert ended(made) == (JobState.SUCCEEDED, "")
    assert made.left_out["undrawable"] == 1
    assert not FrozenPicture.objects.filter(candidate=damaged).exists()
    assert FrozenPicture.objects.count() == 8


def test_a_fault_of_ours_ends_a_freeze_by_name_and_leaves_nothing(
    state: Path, people: tuple[Actor, Actor], monkeypatch: pytest.MonkeyPatch
) -> None:
    some(people)

    def broken(**kwargs: Any) -> bytes:
        raise RuntimeError("a fault nobody foresaw")

    monkeypatch.setattr(freezing, "freeze_picture", broken)
    made = freeze(people)
    assert ended(made) == (JobState.FAILED, "freeze_failed")
    assert "nobody foresaw" not in made.job.error_detail
    assert list((state / "frozen").iterdir()) == []


def test_folders_that_no_snapshot_knows_go_but_not_while_a_freeze_runs(
    state: Path, people: tuple[Actor, Actor]
) -> None:
    some(people)
    known = done(people)
    orphan = state / "frozen" / ("0" * 64)
    (orphan / "data").mkdir(parents=True)
    asked = ask(people)
    assert freeze_work.freeze_claim(actor=WORKER) is not None
    freezing.tidy()
    assert orphan.exists()
    Job.objects.filter(pk=asked.pk).update(
        lease_expires_at=asked.job.created_at - timedelta(seconds=1)
    )
    assert jobs_sweep(actor=WORKER)["requeued"] == 1
    freezing.tidy()
    assert not orphan.exists()
    assert (state / "frozen" / known.pk).exists()
