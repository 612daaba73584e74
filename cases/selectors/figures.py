"""What `/metrics` tells of the service itself. A constant number of queries, each by an index over
what waits, or over catalogues: none grows with what is done."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection
from django.db.models import Count, F, Min
from django.db.models.functions import Now

from cases.models import Blob, BlobChunk, Job, JobTally
from cases.states import JobState


@dataclass(frozen=True)
class Waiting:
    """Jobs of one kind and priority that wait; ``oldest_s``: since when the first of them does."""

    kind: str
    priority: int
    jobs: int
    oldest_s: float


@dataclass(frozen=True)
class Stored:
    """Sizes in the database, from its catalogues. ``objects`` is its own estimate, None before it
    has made one."""

    upload_bytes: int
    database_bytes: int
    objects: int | None


def jobs_waiting() -> list[Waiting]:
    """What waits, by kind and priority; only those that have any."""
    rows = (
        Job.objects.filter(state=JobState.PENDING)
        .values("kind", "priority")
        .annotate(jobs=Count("id"), oldest=Now() - Min(F("created_at")))
    )
    return [
        Waiting(row["kind"], row["priority"], row["jobs"], row["oldest"].total_seconds())
        for row in rows.order_by("kind", "priority")
    ]


def jobs_running() -> dict[str, int]:
    """How many jobs of each kind a worker holds."""
    rows = Job.objects.filter(state=JobState.RUNNING).values("kind").annotate(jobs=Count("id"))
    return {row["kind"]: row["jobs"] for row in rows.order_by("kind")}


def jobs_counted() -> tuple[dict[str, Any], datetime | None]:
    """The counts of all moves so far (`models.JobTally`), and up to when they are complete."""
    tally = JobTally.objects.first()
    return (tally.counts, tally.complete_at) if tally else ({}, None)


def stored_sizes() -> Stored:
    """What uploads and all else take in the database, without looking at a row."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_total_relation_size(%s::regclass) + pg_total_relation_size(%s::regclass), "
            "pg_database_size(current_database()), "
            "(SELECT reltuples::bigint FROM pg_class WHERE oid = %s::regclass)",
            [BlobChunk._meta.db_table, Blob._meta.db_table, Blob._meta.db_table],
        )
        uploads, database, objects = cursor.fetchone()
    return Stored(uploads, database, objects if objects >= 0 else None)
