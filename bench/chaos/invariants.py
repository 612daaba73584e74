"""What must be true after any night. Each check reads the database as it is left, and the books
of the clients; it trusts nothing that the service says of itself."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.chaos.client import Books, Sent
from bench.chaos.poison import ENGINE_POISON
from bench.chaos.reading import reading_of
from cases.states import JOB, JobState

Query = Callable[..., list[tuple[Any, ...]]]
"""`query(sql, *parameters)`: rows."""


@dataclass
class Check:
    """One invariant: how much was looked at, and what broke it."""

    name: str
    checked: int = 0
    broken: list[str] = field(default_factory=list)

    def expect(self, true: bool, otherwise: str) -> None:
        self.checked += 1
        if not true:
            self.broken.append(otherwise)


@dataclass
class Night:
    """What the checks look at: the database, the books, and patients of uploads cut off.

    `stand_in`: the answers are the stand-in's, which can be foretold.
    """

    query: Query
    books: Books
    cut_off: Sequence[str] = ()
    stand_in: bool = True

    def accepted(self) -> list[Sent]:
        return self.books.accepted()


def accepted_is_whole(night: Night) -> Check:
    """Every 202 has its submission, case, patient, images in order and a job for each."""
    check = Check("every accepted submission has its case, images and jobs")
    rows = night.query(
        "SELECT s.id::text, s.idempotency_key, p.patient_id, c.accession_number, i.id::text, "
        "i.sha256, (SELECT array_agg(j.id::text) FROM cases_job j WHERE j.image_id = i.id "
        "AND j.kind = 'inference') "
        "FROM cases_submission s JOIN cases_case c ON c.id = s.case_id "
        "JOIN cases_patient p ON p.id = c.patient_id "
        "JOIN cases_image i ON i.submission_id = s.id AND i.case_id = c.id "
        "ORDER BY s.id, i.position"
    )
    found = defaultdict(list)
    for submission, *rest in rows:
        found[submission].append(tuple(rest))
    for sent in night.accepted():
        there = found.get(sent.submission, [])
        wanted = [
            (sent.key, sent.sending.patient, sent.sending.accession, image, sha, [job])
            for image, sha, job in zip(sent.images, sent.hashes, sent.jobs, strict=False)
        ]
        whole = len(sent.hashes) == len(sent.images) == len(sent.jobs)
        check.expect(whole and there == wanted, f"{sent.key}: {len(there)} images as sent")
    return check


def bytes_are_whole(night: Night) -> Check:
    """The stored bytes of every accepted image, hashed anew, are those that were sent."""
    check = Check("the bytes of every accepted image are those that were sent")
    hashes = stored_hashes(night.query)
    names = dict(night.query("SELECT id::text, storage_name FROM cases_image"))
    for sent in night.accepted():
        for image, sha in zip(sent.images, sent.hashes, strict=False):
            check.expect(hashes.get(names.get(image, "")) == sha, f"image {image} of {sent.key}")
    return check


def stored_hashes(query: Query) -> dict[str, str]:
    """SHA-256 of every stored object, computed by the database from its chunks."""
    return dict(
        query(
            "SELECT b.name, encode(sha256(coalesce(string_agg(c.data, ''::bytea ORDER BY c.index), "
            "''::bytea)), 'hex') FROM cases_blob b "
            "LEFT JOIN cases_blobchunk c ON c.blob_id = b.name GROUP BY b.name"
        )
    )


def no_twins(night: Night) -> Check:
    """One key, one submission, whatever was repeated; each answer named the same one."""
    check = Check("repeated requests made no twin")
    made = dict(
        night.query(
            "SELECT idempotency_key, count(*) FROM cases_submission GROUP BY idempotency_key"
        )
    )
    for sent in night.accepted():
        check.expect(made.get(sent.key) == 1, f"{sent.key}: {made.get(sent.key, 0)} submissions")
        check.expect(len(sent.named) == 1, f"{sent.key}: the answers named {len(sent.named)}")
    return check


def refused_left_nothing(night: Night) -> Check:
    """A refusal, or an upload that was cut off, left no patient, case, submission or bytes."""
    check = Check("refused and cut-off submissions left nothing")
    keys = {row[0] for row in night.query("SELECT idempotency_key FROM cases_submission")}
    patients = {row[0] for row in night.query("SELECT patient_id FROM cases_patient")}
    stored = {row[0] for row in night.query("SELECT name FROM cases_blob")}
    refused = [sent for _, sent in sorted(night.books.sent.items()) if sent.refused]
    for sent in refused:
        left = [sent.key] if sent.key in keys else []
        left += ["its patient"] if sent.sending.patient in patients else []
        if sent.owns_bytes:
            left += [name for name in sent.hashes if f"blobs/{name}" in stored]
        check.expect(not left, f"{sent.key} left {', '.join(left)}")
    for patient in night.cut_off:
        check.expect(patient not in keys | patients, f"the upload of {patient} left something")
    return check


def no_orphans(night: Night) -> Check:
    """Nothing lies about that nobody asked for: bytes, rows, submissions no client knows."""
    check = Check("no orphan bytes or rows")
    for what, query in ORPHANS.items():
        for row in night.query(query):
            check.broken.append(f"{what} {row[0]}")
        check.checked += 1
    known = {sent.key for sent in night.books.sent.values()}
    for (key,) in night.query("SELECT idempotency_key FROM cases_submission"):
        check.expect(key in known, f"submission {key} that no client sent")
    return check


ORPHANS = {
    "bytes that nothing names": (
        "SELECT name FROM cases_blob WHERE name NOT IN (SELECT storage_name FROM cases_image "
        "UNION ALL SELECT storage_name FROM cases_frame "
        "UNION ALL SELECT storage_name FROM cases_modelversion "
        "UNION ALL SELECT storage_name FROM cases_trainingsnapshot)"
    ),
    "an image without bytes": (
        "SELECT id FROM cases_image WHERE storage_name NOT IN (SELECT name FROM cases_blob)"
    ),
    "bytes with chunks that do not add up": (
        "SELECT b.name FROM cases_blob b LEFT JOIN cases_blobchunk c ON c.blob_id = b.name "
        "GROUP BY b.name, b.size HAVING coalesce(sum(length(c.data)), 0) <> b.size"
    ),
    "a patient without a case": (
        "SELECT id FROM cases_patient p WHERE NOT EXISTS "
        "(SELECT 1 FROM cases_case WHERE patient_id = p.id)"
    ),
    "a case without images": (
        "SELECT id FROM cases_case c WHERE NOT EXISTS "
        "(SELECT 1 FROM cases_image WHERE case_id = c.id)"
    ),
    "a submission without images": (
        "SELECT id FROM cases_submission s WHERE NOT EXISTS "
        "(SELECT 1 FROM cases_image WHERE submission_id = s.id)"
    ),
    "an image without a job": (
        "SELECT id FROM cases_image i WHERE NOT EXISTS "
        "(SELECT 1 FROM cases_job WHERE image_id = i.id)"
    ),
    "a job of no submission": (
        "SELECT id FROM cases_job WHERE kind = 'inference' AND submission_id IS NULL"
    ),
}


def all_final(night: Night) -> Check:
    """Every job has ended, and holds no lease."""
    check = Check("every job is final")
    final = {state.value for state in JOB.final}
    for job, state, lease, finished in night.query(
        "SELECT id, state, lease_expires_at, finished_at FROM cases_job"
    ):
        check.expect(
            state in final and lease is None and finished is not None, f"job {job} is {state}"
        )
    return check


def one_result_each(night: Night) -> Check:
    """A job that succeeded has exactly one result; no other job has any."""
    check = Check("exactly one result where a job succeeded, none elsewhere")
    for job, state, results in night.query(
        "SELECT j.id, j.state, count(r.id) FROM cases_job j "
        "LEFT JOIN cases_result r ON r.job_id = j.id WHERE j.kind = 'inference' "
        "GROUP BY j.id, j.state"
    ):
        wanted = 1 if state == JobState.SUCCEEDED else 0
        check.expect(results == wanted, f"job {job} is {state} with {results} results")
    return check


def answers_fit_pictures(night: Night) -> Check:
    """Each result is what the stand-in reads in the bytes of its own job's image or frame."""
    check = Check("every result is the answer about its own picture")
    if not night.stand_in:
        check.name += " (not looked at: the real model's answers are not foretold)"
        return check
    hashes = stored_hashes(night.query)
    for job, name, own, benign, malignant, normal, label, heatmap, phash in night.query(
        "SELECT r.job_id, coalesce(f.storage_name, i.storage_name), "
        "r.image_id = j.image_id AND r.frame = j.frame, r.score_benign, r.score_malignant, "
        "r.score_normal, r.label, r.heatmap, i.phash "
        "FROM cases_result r JOIN cases_job j ON j.id = r.job_id "
        "JOIN cases_image i ON i.id = j.image_id "
        "LEFT JOIN cases_frame f ON f.image_id = j.image_id AND f.index = j.frame"
    ):
        if name not in hashes:
            check.expect(False, f"job {job}: no bytes to compare its result with")
            continue
        wanted = reading_of(hashes[name])
        scores = {"benign": benign, "malignant": malignant, "normal": normal}
        # The database has no unsigned numbers. Of several frames the first to be read gives it.
        near = phash is not None and phash % 2**64 == wanted.phash
        said = scores == wanted.scores and label == wanted.label
        seen = heatmap is not None and bytes(heatmap) == wanted.heatmap
        check.expect(own and said and seen and near, f"job {job}: an answer to another picture")
    return check


def fence_held(night: Night) -> Check:
    """The result is of the job's last attempt, stored by the worker that had claimed it."""
    check = Check("no result by an attempt that was fenced out")
    for job, attempt, last, claimed, stored in night.query(
        "SELECT r.job_id, r.attempt, j.attempt, "
        "(SELECT array_agg(e.actor) FROM cases_jobevent e WHERE e.job_id = j.id "
        " AND e.to_state = 'RUNNING' AND e.attempt = r.attempt), "
        "(SELECT array_agg(e.actor) FROM cases_jobevent e WHERE e.job_id = j.id "
        " AND e.to_state = 'SUCCEEDED' AND e.attempt = r.attempt) "
        "FROM cases_result r JOIN cases_job j ON j.id = r.job_id"
    ):
        held = attempt == last and claimed is not None and claimed == stored and len(stored) == 1
        check.expect(
            held, f"job {job}: attempt {attempt} of {last}, claimed by {claimed}, by {stored}"
        )
    return check


def moves_are_legal(night: Night) -> Check:
    """The events of every job are one unbroken story by the table of its lifecycle."""
    check = Check("the events of every job follow its lifecycle")
    events: dict[Any, list[tuple[str, str, int]]] = defaultdict(list)
    for job, source, target, attempt in night.query(
        "SELECT job_id, from_state, to_state, attempt FROM cases_jobevent ORDER BY id"
    ):
        events[job].append((source, target, attempt))
    for job, state, attempt in night.query("SELECT id, state, attempt FROM cases_job"):
        fault = story_fault(events.pop(job, []), state, attempt)
        check.expect(not fault, f"job {job}: {fault}")
    for job in events:
        check.broken.append(f"events of job {job}, which is not there")
    return check


def story_fault(events: Iterable[tuple[str, str, int]], state: str, attempt: int) -> str:
    """What is wrong with a job's events; "" where they lead to its state by legal moves."""
    at, tries = "", 0
    for source, target, told in events:
        if source != at:
            return f"an event leaves {source or 'nothing'} while the job was {at or 'not there'}"
        if not at:
            if target not in JOB.initial:
                return f"it began as {target}"
        elif not JOB.allows(JobState(source), JobState(target)):
            return f"{source} -> {target} is not a legal move"
        tries += target == JobState.RUNNING
        if told != tries:
            return f"attempt {told} in an event where it was the attempt {tries}"
        at = target
    if at != state:
        return f"it is {state}, and its events end at {at or 'nothing'}"
    return "" if tries == attempt else f"{attempt} attempts, {tries} in its events"


def audit_is_complete(night: Night) -> Check:
    """Every change that must be told has exactly one event in the trail."""
    check = Check("the audit trail tells of every change, once")
    told: dict[tuple[str, str], int] = {
        (action, about): count
        for action, about, count in night.query(
            "SELECT action, object_id, count(*) FROM cases_auditevent GROUP BY action, object_id"
        )
    }
    for action, query in AUDITED.items():
        wanted = {str(row[0]) for row in night.query(query)}
        for about in sorted(wanted):
            count = told.get((action, about), 0)
            check.expect(count == 1, f"{action} of {about}: {count} events")
        for what, about in told:
            if what == action and about not in wanted:
                check.broken.append(f"{action} of {about}, which is not so")
    return check


AUDITED = {
    "patient.created": "SELECT id FROM cases_patient",
    "case.created": "SELECT id FROM cases_case",
    "submission.created": "SELECT id FROM cases_submission",
    "job.created": "SELECT id FROM cases_job WHERE kind = 'inference'",
    "job.failed": "SELECT id FROM cases_job WHERE kind = 'inference' AND state = 'FAILED'",
    "job.cancelled": "SELECT id FROM cases_job WHERE kind = 'inference' AND state = 'CANCELLED'",
    "result.stored": "SELECT id FROM cases_result",
}


def poison_fails_alone(night: Night) -> Check:
    """A poison picture's job failed with its reason; every other job was answered (or cancelled
    where a client asked for it)."""
    check = Check("poison failed alone, with its reason; all others were answered")
    jobs = {
        str(job): (state, code)
        for job, state, code in night.query("SELECT id, state, error_code FROM cases_job")
    }
    reasons: dict[str, set[str]] = defaultdict(set)
    for job, reason in night.query("SELECT job_id::text, reason FROM cases_jobevent"):
        reasons[job].add(reason.partition(":")[0])
    for sent in night.accepted():
        for place, (file, job) in enumerate(zip(sent.sending.files, sent.jobs, strict=False)):
            state, code = jobs.get(job, ("nowhere", ""))
            if file.wrong:
                wanted = ENGINE_POISON[file.wrong]
                # The last of its attempts may have been lost with a worker that was killed.
                named = code != "" and wanted in reasons[job]
                check.expect(
                    state == JobState.FAILED and named, f"{file.wrong} {job} is {state} ({code})"
                )
            elif sent.cancelled and place == 0:
                check.expect(state == JobState.CANCELLED, f"cancelled job {job} is {state}")
            else:
                check.expect(state == JobState.SUCCEEDED, f"job {job} is {state} ({code})")
    return check


def clients_were_served(night: Night) -> Check:
    """Every client got the answer it had to get in the end."""
    check = Check("every client got its answer in the end")
    for _, sent in sorted(night.books.sent.items()):
        check.expect(sent.accepted or bool(sent.refused), f"{sent.key} got no answer")
    check.broken += night.books.oddities
    return check


INVARIANTS: tuple[Callable[[Night], Check], ...] = (
    clients_were_served,
    accepted_is_whole,
    bytes_are_whole,
    no_twins,
    refused_left_nothing,
    no_orphans,
    all_final,
    one_result_each,
    answers_fit_pictures,
    fence_held,
    moves_are_legal,
    audit_is_complete,
    poison_fails_alone,
)
