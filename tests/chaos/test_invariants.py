"""Each invariant holds after a sound night, and breaks when what it is about is broken."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from hashlib import sha256
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection, transaction

from bench.chaos import invariants
from bench.chaos.client import Books, Sent, content, refusals
from bench.chaos.invariants import INVARIANTS, Night, story_fault
from bench.chaos.plan import Plan, Sending, make_plan
from bench.chaos.reading import THRESHOLD, reading_of
from cases.access import SYSTEM, Actor
from cases.errors import UserFacingError
from cases.services.jobs import job_cancel
from cases.services.leases import Claim, engine_jobs_claim, job_fail
from cases.services.results import Answer, result_store
from cases.storage import read_bytes
from tests.factories import WORKER, answer, make_actor, submit

# Rows that no statement may change, unless the owner of the tables switches that off.
GUARDED = ("cases_jobevent", "cases_auditevent", "cases_result")


def query(sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters or None)
        return cursor.fetchall() if cursor.description else []


def tamper(sql: str, *parameters: Any) -> None:
    """Change rows behind the triggers' backs; something must have been hit."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        for table in GUARDED:
            cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        cursor.execute(sql, parameters or None)
        assert cursor.rowcount > 0, "nothing was tampered with"


def drop(table: str, constraint: str) -> None:
    """Take away a rule of the database that would refuse what the test does."""
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} DROP CONSTRAINT {constraint}")


def send(books: Books, actor: Actor, sending: Sending) -> Sent:
    """What a client and the service would do, by the services."""
    sent = books.open(sending)
    files = [content(file) for file in sending.files]
    sent.hashes = [sha256(data).hexdigest() for data in files]
    fields = {"patient_id": sending.patient, "accession_number": sending.accession}
    try:
        made = submit(actor=actor, files=files, idempotency_key=sent.key, **fields)
    except UserFacingError as error:
        sent.refused = error.code
        return sent
    sent.submission = str(made.pk)
    sent.named.add(sent.submission)
    images = list(made.images.order_by("position"))
    sent.images = [str(image.pk) for image in images]
    sent.jobs = [str(image.jobs.get().pk) for image in images]
    if sending.kind == "cancel":
        job_cancel(actor=SYSTEM, job_id=made.jobs.get(image=images[0]).pk)
        sent.cancelled = True
    return sent


def plan() -> Plan:
    """One submission of each kind but those whose files kill a real decoder."""
    whole = make_plan(1, 120, [])
    chosen: dict[str, Sending] = {}
    for sending in whole.sendings:
        if any(file.wrong.startswith("decoder") for file in sending.files):
            continue
        if sending.of is None or sending.of in {s.number for s in chosen.values()}:
            chosen.setdefault(sending.kind, sending)
    return Plan(1, tuple(sorted(chosen.values(), key=lambda sending: sending.number)))


@pytest.fixture(scope="module")
def sound(django_db_setup: None, django_db_blocker: Any) -> Iterator[Night]:
    """A small night that went well: made once, as much goes into it."""
    with django_db_blocker.unblock(), transaction.atomic():
        yield spent()
        transaction.set_rollback(True)


@pytest.fixture
def night(sound: Night) -> Iterator[Night]:
    """That night, for one test to tamper with."""
    books = Books()
    books.sent = {
        number: replace(sent, named=set(sent.named), hashes=list(sent.hashes))
        for number, sent in sound.books.sent.items()
    }
    with transaction.atomic():
        yield Night(query, books, cut_off=["CUT-OFF-1"])
        transaction.set_rollback(True)


def spent() -> Night:
    books, actor = Books(), make_actor(roles=["integration"])
    for sending in plan().sendings:
        sent = send(books, actor, sending)
        assert sent.refused in refusals(sending) if refusals(sending) else sent.accepted
    poison = {
        job: file.wrong
        for sent in books.accepted()
        for job, file in zip(sent.jobs, sent.sending.files, strict=True)
        if file.wrong
    }
    while claims := engine_jobs_claim(actor=WORKER, limit=4):
        for claim in claims:
            told: dict[str, Any] = {"job_id": claim.job_id, "attempt": claim.attempt}
            wrong = poison.get(str(claim.job_id))
            if wrong is None:
                assert result_store(actor=WORKER, answer=read(claim), **told)
                continue
            code = invariants.ENGINE_POISON[wrong]
            job_fail(actor=WORKER, code=code, detail="it did", transient=False, **told)
    return Night(query, books)


def read(claim: Claim) -> Answer:
    """What the stand-in would say of the picture."""
    said = reading_of(sha256(read_bytes(claim.storage_name)).hexdigest())
    told = {"label": said.label, "scores": said.scores, "phash": said.phash}
    return replace(answer(threshold=THRESHOLD), heatmap=said.heatmap, **told)


def broken(night: Night) -> set[str]:
    """The names of the invariants that do not hold."""
    return {check.__name__ for check in INVARIANTS if check(night).broken}


@pytest.mark.django_db
def test_nothing_sent_and_nothing_stored_breaks_nothing() -> None:
    # By its mark it has the database made also where this file alone is run.
    assert broken(Night(query, Books())) == set()


def test_a_sound_night_breaks_nothing_and_everything_was_looked_at(night: Night) -> None:
    kinds = {sent.sending.kind for sent in night.books.sent.values()}
    assert kinds >= {"good", "cancel", "poison", "refused"}
    for invariant in INVARIANTS:
        check = invariant(night)
        assert (check.name, check.broken) == (check.name, [])
        assert check.checked > 0


A_JOB = "(SELECT id FROM cases_job WHERE state = 'SUCCEEDED' ORDER BY id LIMIT 1)"
ANOTHER_JOB = "(SELECT id FROM cases_job WHERE state = 'SUCCEEDED' ORDER BY id DESC LIMIT 1)"
AN_IMAGE = "(SELECT id FROM cases_image ORDER BY id LIMIT 1)"

# A statement, and the invariants that must see it (others may see it too).
TAMPERINGS: dict[str, tuple[str, set[str]]] = {
    "an image's hash is another": (
        f"UPDATE cases_image SET sha256 = repeat('0', 64) WHERE id = {AN_IMAGE}",
        {"accepted_is_whole"},
    ),
    "a case is filed under another patient": (
        "UPDATE cases_patient SET patient_id = 'other' WHERE id = "
        "(SELECT patient_id FROM cases_case ORDER BY id LIMIT 1)",
        {"accepted_is_whole"},
    ),
    "one byte of a picture differs": (
        "UPDATE cases_blobchunk SET data = set_byte(data, 100, 255 - get_byte(data, 100)) "
        f"WHERE blob_id = (SELECT storage_name FROM cases_image WHERE id = {AN_IMAGE})",
        {"bytes_are_whole"},
    ),
    "a chunk is gone": (
        "DELETE FROM cases_blobchunk WHERE blob_id = "
        f"(SELECT storage_name FROM cases_image WHERE id = {AN_IMAGE})",
        {"bytes_are_whole", "no_orphans"},
    ),
    "an image names bytes that are not there": (
        f"UPDATE cases_image SET storage_name = 'blobs/none' WHERE id = {AN_IMAGE}",
        {"bytes_are_whole", "no_orphans"},
    ),
    "bytes that nothing names": (
        "INSERT INTO cases_blob (name, size) VALUES ('blobs/orphan', 0)",
        {"no_orphans"},
    ),
    "a patient without a case": (
        "INSERT INTO cases_patient (id, site_id, patient_id, issuer, name, sex) SELECT "
        "gen_random_uuid(), site_id, 'CUT-OFF-1', 'x', '', '' FROM cases_patient LIMIT 1",
        {"no_orphans", "refused_left_nothing"},
    ),
    "a submission that no client sent": (
        "UPDATE cases_submission SET idempotency_key = 'nobody' WHERE id = "
        "(SELECT id FROM cases_submission ORDER BY id LIMIT 1)",
        {"no_orphans", "no_twins", "accepted_is_whole"},
    ),
    "a twin": (
        "INSERT INTO cases_submission SELECT (jsonb_populate_record(s, "
        "jsonb_build_object('id', gen_random_uuid()))).* FROM cases_submission s "
        "ORDER BY id LIMIT 1",
        {"no_twins", "no_orphans"},
    ),
    "a job that waits": (
        f"UPDATE cases_job SET state = 'PENDING', finished_at = NULL WHERE id = {A_JOB}",
        {"all_final", "one_result_each", "moves_are_legal", "poison_fails_alone"},
    ),
    "a success without a result": (
        f"DELETE FROM cases_result WHERE job_id = {A_JOB}",
        {"one_result_each", "audit_is_complete"},
    ),
    "a result of a job that failed": (
        "UPDATE cases_result SET job_id = (SELECT id FROM cases_job WHERE state = 'FAILED' "
        f"LIMIT 1) WHERE job_id = {A_JOB}",
        {"one_result_each"},
    ),
    "scores are those of another picture": (
        "UPDATE cases_result r SET score_benign = o.score_benign, label = o.label, "
        "score_malignant = o.score_malignant, score_normal = o.score_normal FROM cases_result o "
        f"WHERE r.job_id = {A_JOB} AND o.job_id = {ANOTHER_JOB}",
        {"answers_fit_pictures"},
    ),
    "a heatmap is that of another picture": (
        "UPDATE cases_result r SET heatmap = o.heatmap FROM cases_result o "
        f"WHERE r.job_id = {A_JOB} AND o.job_id = {ANOTHER_JOB}",
        {"answers_fit_pictures"},
    ),
    "a perceptual hash is that of another picture": (
        f"UPDATE cases_image SET phash = phash # 1 WHERE id = (SELECT image_id FROM cases_job "
        f"WHERE id = {A_JOB})",
        {"answers_fit_pictures"},
    ),
    "a result hangs on another image": (
        "UPDATE cases_result r SET image_id = o.image_id FROM cases_job o "
        f"WHERE r.job_id = {A_JOB} AND o.id = {ANOTHER_JOB}",
        {"answers_fit_pictures"},
    ),
    "a result of an earlier attempt": (
        f"UPDATE cases_job SET attempt = 2 WHERE id = {A_JOB}",
        {"fence_held", "moves_are_legal"},
    ),
    "a result stored by another worker than the one that claimed": (
        "UPDATE cases_jobevent SET actor = 'somebody else' WHERE to_state = 'SUCCEEDED' "
        f"AND job_id = {A_JOB}",
        {"fence_held"},
    ),
    "an event is missing": (
        f"DELETE FROM cases_jobevent WHERE to_state = 'RUNNING' AND job_id = {A_JOB}",
        {"fence_held", "moves_are_legal"},
    ),
    "a move that the lifecycle does not know": (
        "UPDATE cases_jobevent SET from_state = 'PENDING' WHERE to_state = 'SUCCEEDED' "
        f"AND job_id = {A_JOB}",
        {"moves_are_legal"},
    ),
    "an audit event is missing": (
        "DELETE FROM cases_auditevent WHERE action = 'result.stored' AND id = "
        "(SELECT max(id) FROM cases_auditevent WHERE action = 'result.stored')",
        {"audit_is_complete"},
    ),
    "an audit event is told twice": (
        "INSERT INTO cases_auditevent (at, actor_kind, actor_label, action, object_type, "
        "object_id, request_id, changed_fields, detail) SELECT at, actor_kind, actor_label, "
        "action, object_type, object_id, request_id, changed_fields, detail "
        "FROM cases_auditevent WHERE action = 'job.created' LIMIT 1",
        {"audit_is_complete"},
    ),
    "an audit event of what did not happen": (
        "UPDATE cases_auditevent SET action = 'job.cancelled' WHERE action = 'job.failed'",
        {"audit_is_complete"},
    ),
    "a poison is answered": (
        "UPDATE cases_job SET state = 'SUCCEEDED' WHERE state = 'FAILED'",
        {"poison_fails_alone", "one_result_each", "moves_are_legal"},
    ),
    "a poison fails without its reason": (
        "UPDATE cases_jobevent SET reason = 'because' WHERE to_state = 'FAILED'",
        {"poison_fails_alone"},
    ),
    "a batch-mate fails too": (
        f"UPDATE cases_job SET state = 'FAILED' WHERE id = {A_JOB}",
        {"poison_fails_alone", "one_result_each", "moves_are_legal"},
    ),
    "a cancelled job was answered all the same": (
        "UPDATE cases_job SET state = 'SUCCEEDED' WHERE state = 'CANCELLED'",
        {"poison_fails_alone", "one_result_each"},
    ),
}


@pytest.mark.parametrize("what", TAMPERINGS)
def test_what_is_tampered_with_is_seen(night: Night, what: str) -> None:
    statement, seen = TAMPERINGS[what]
    tamper(statement)
    assert broken(night) >= seen


def test_the_real_models_answers_are_not_foretold(night: Night) -> None:
    tamper(TAMPERINGS["scores are those of another picture"][0])
    night.stand_in = False
    assert broken(night) == set()
    assert invariants.answers_fit_pictures(night).checked == 0


def test_a_second_result_is_seen(night: Night) -> None:
    job = query(A_JOB[1:-1])[0][0]
    names = query(
        "SELECT conname FROM pg_constraint WHERE conrelid = 'cases_result'::regclass "
        "AND contype = 'u' AND pg_get_constraintdef(oid) LIKE %s",
        "%(job_id)%",
    )
    query("SET CONSTRAINTS ALL IMMEDIATE")
    for (name,) in names:
        drop("cases_result", name)
    columns = query(
        "SELECT string_agg(column_name, ', ') FROM information_schema.columns "
        "WHERE table_name = 'cases_result' AND column_name <> 'id'"
    )[0][0]
    tamper(
        f"INSERT INTO cases_result (id, {columns}) SELECT %s, {columns} FROM cases_result "
        "WHERE job_id = %s",
        uuid4(),
        job,
    )
    assert "one_result_each" in broken(night)


def forget_an_answer(night: Night) -> None:
    night.books.accepted()[0].named.add("another")


def leave_something_of_a_refusal(night: Night) -> None:
    refused = next(sent for sent in night.books.sent.values() if sent.refused)
    refused.hashes.append(night.books.accepted()[0].hashes[0])


def cut_an_upload_that_was_taken_in(night: Night) -> None:
    night.cut_off = [night.books.accepted()[0].sending.patient]


def refuse_what_is_good(night: Night) -> None:
    night.books.odd("submission 7 (good) was refused: image_corrupt")


@pytest.mark.parametrize(
    ("change", "seen"),
    [
        (forget_an_answer, "no_twins"),
        (leave_something_of_a_refusal, "refused_left_nothing"),
        (cut_an_upload_that_was_taken_in, "refused_left_nothing"),
        (refuse_what_is_good, "clients_were_served"),
    ],
)
def test_what_the_clients_tell_is_compared(
    night: Night, change: Callable[[Night], None], seen: str
) -> None:
    change(night)
    assert broken(night) == {seen}


@pytest.mark.parametrize(
    ("events", "state", "attempt", "fault"),
    [
        ([("", "PENDING", 0)], "PENDING", 0, ""),
        ([], "PENDING", 0, "end at nothing"),
        ([("", "RUNNING", 1)], "RUNNING", 1, "began as RUNNING"),
        ([("", "PENDING", 0), ("PENDING", "RUNNING", 2)], "RUNNING", 2, "attempt 2"),
        ([("", "PENDING", 0), ("RUNNING", "FAILED", 1)], "FAILED", 1, "an event leaves RUNNING"),
        ([("", "PENDING", 0), ("PENDING", "RUNNING", 1)], "FAILED", 1, "events end at RUNNING"),
        ([("", "PENDING", 0), ("PENDING", "RUNNING", 1)], "RUNNING", 2, "2 attempts"),
    ],
)
def test_a_job_is_one_unbroken_story(
    events: list[tuple[str, str, int]], state: str, attempt: int, fault: str
) -> None:
    found = story_fault(events, state, attempt)
    assert fault in found if fault else not found
