"""Jobs that failed, as a worker fails them."""

from __future__ import annotations

from typing import Any

from cases.models import Job
from cases.services.leases import engine_jobs_claim, job_fail
from tests.factories import WORKER, submit


def failed_job(*, code: str = "engine_crashed", detail: str = "It died.", **fields: Any) -> Job:
    """A submitted image whose reading failed at its first attempt, for good."""
    job = submit(**fields).jobs.get()
    fail(job, code=code, detail=detail)
    job.refresh_from_db()
    return job


def fail(
    job: Job, *, code: str = "engine_crashed", detail: str = "It died.", transient: bool = False
) -> None:
    """End the attempt of the only job that waits."""
    claims = engine_jobs_claim(actor=WORKER, limit=1)
    assert [claim.job_id for claim in claims] == [job.pk]
    job_fail(
        actor=WORKER,
        job_id=job.pk,
        attempt=claims[0].attempt,
        code=code,
        detail=detail,
        transient=transient,
    )
