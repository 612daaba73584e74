"""Many results at once, for tests of what is watched: rows as services would have left them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from cases.models import (
    Case,
    Finding,
    FindingOutcome,
    Image,
    Job,
    ModelVersion,
    Patient,
    Result,
    Site,
    Submission,
)
from cases.states import JobState
from cases.vocabulary import JobKind, OutcomeBasis, Pathology
from tests.factories import live_model, make_site, unique


@dataclass
class Read:
    """One image and what was said of it."""

    malignant: float = 0.1
    outcome: str = "answered"
    code: str = ""
    distance: float | None = None
    device: str = "Acme"
    days_ago: float = 1.0
    finding: Finding | None = None
    image: Image | None = None
    result: Result = field(init=False)


def make_examination(site: Site | None = None) -> Case:
    """A case of a patient of its own."""
    site = site or make_site()
    patient = Patient.objects.create(
        site=site, patient_id=f"W{unique()}", issuer="tests", name="Doe^Watched"
    )
    return Case.objects.create(site=site, patient=patient)


def make_finding(
    case: Case, pathology: str = "", basis: str = OutcomeBasis.HISTOLOGY.value
) -> Finding:
    """A finding, with its outcome where ``pathology`` is given."""
    finding = Finding.objects.create(case=case, number=unique() % 30_000)
    if pathology:
        outcome(finding, pathology, basis)
    return finding


def outcome(finding: Finding, pathology: str, basis: str, **more: Any) -> FindingOutcome:
    dates = {}
    if basis == OutcomeBasis.FOLLOW_UP:
        today = timezone.now().date()
        dates = {"stable_from": today - timedelta(days=900), "stable_until": today}
    return FindingOutcome.objects.create(
        case_id=finding.case_id,
        finding=finding,
        pathology=Pathology(pathology).value,
        basis=basis,
        recorded_by_label="tests",
        **dates,
        **more,
    )


def store(
    case: Case,
    reads: Iterable[Read],
    *,
    model: ModelVersion | None = None,
    threshold: float = 0.4,
    now: datetime | None = None,
) -> list[Read]:
    """Images of ``case`` with their jobs and results."""
    model, now, reads = model or live_model(), now or timezone.now(), list(reads)
    submission = Submission.objects.create(site=case.site, case=case, fingerprint="f" * 64)
    fresh = [read for read in reads if read.image is None]
    for read in fresh:
        read.image = _image(case, submission, read)
    Image.objects.bulk_create([read.image for read in fresh if read.image], batch_size=1000)
    jobs = [_job(case, read, model, now) for read in reads]
    Job.objects.bulk_create(jobs, batch_size=1000)
    for read, job in zip(reads, jobs, strict=True):
        read.result = _result(read, job, threshold, now)
    Result.objects.bulk_create([read.result for read in reads], batch_size=1000)
    return reads


def spread(distances: Sequence[float], **more: Any) -> list[Read]:
    """A read for each distance."""
    return [Read(distance=float(distance), **more) for distance in distances]


def _image(case: Case, submission: Submission, read: Read) -> Image:
    return Image(
        case=case,
        submission=submission,
        finding=read.finding,
        file_name="a.png",
        sha256=f"{unique():064x}",
        size=1,
        storage_name=f"none-{unique()}",
        format="png",
        media_type="image/png",
        width=10,
        height=10,
        manufacturer=read.device,
    )


def _job(case: Case, read: Read, model: ModelVersion, now: datetime) -> Job:
    return Job(
        kind=JobKind.INFERENCE,
        state=JobState.SUCCEEDED,
        site=case.site,
        image=read.image,
        frame=0,
        model_version=model,
        due_at=now,
        attempt=1,
        finished_at=now,
    )


def _result(read: Read, job: Job, threshold: float, now: datetime) -> Result:
    refused = read.outcome == "refused"
    rest = 1 - read.malignant
    scores = (None, None, None) if refused else (0.7 * rest, read.malignant, 0.3 * rest)
    label = "malignant" if read.malignant >= threshold else "benign"
    return Result(
        job=job,
        image=read.image,
        frame=0,
        model_version_id=job.model_version_id,
        attempt=1,
        outcome=read.outcome,
        reason="" if read.outcome == "answered" else "Why not.",
        reason_code=read.code,
        label="" if refused else label,
        score_benign=scores[0],
        score_malignant=scores[1],
        score_normal=scores[2],
        threshold=threshold,
        sensitivity=0.95,
        feature_distance=read.distance,
        engine="tests",
        preprocessing="tests",
        duration_ms=1.0,
        created_at=now - timedelta(days=read.days_ago),
    )
