"""A queue of any length, without sending as many images."""

from __future__ import annotations

from django.db import connection

from cases.models import Job
from tests.factories import submit


def lengthen_queue(by: int) -> Job:
    """One submitted job and ``by`` copies of it, each of another frame. Returns the first."""
    job = submit().jobs.get()
    columns = [
        field.column
        for field in Job._meta.concrete_fields
        if field.column not in ("id", "frame", "due_at")
    ]
    names = ", ".join(columns)
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO cases_job (id, frame, due_at, {names}) "
            f"SELECT gen_random_uuid(), n, due_at + n * interval '1 ms', {names} "
            "FROM cases_job, generate_series(1, %s) AS n WHERE id = %s",
            [by, job.pk],
        )
        cursor.execute("ANALYZE cases_job")
    return job
