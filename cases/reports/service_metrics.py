"""The service itself as Prometheus metrics: queue, jobs, workers, seals, storage. Pure functions.

Labels come from closed lists (kinds, priorities, states), so that a series never comes or goes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from itertools import accumulate
from typing import Any

from prometheus_client import Metric
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)

from cases.measures import DURATION_BOUNDS_S
from cases.states import JOB, JobState
from cases.vocabulary import JobKind, PriorityRank

KINDS = tuple(kind.value for kind in JobKind)
# Kinds of processes that show a pulse.
SERVICES = ("inference", "training", "webhooks", "beat")


def queue_metrics(
    waiting: Mapping[tuple[str, int], tuple[int, float]], running: Mapping[str, int]
) -> Iterator[Metric]:
    """``waiting``: (kind, priority) to how many and how long the oldest has waited."""
    labels = ("kind", "priority")
    depth = GaugeMetricFamily("bcweb_queue_jobs", "Jobs that wait.", labels=labels)
    oldest = GaugeMetricFamily(
        "bcweb_queue_oldest_seconds",
        "How long the oldest waiting job has waited; 0 where none waits.",
        labels=labels,
    )
    states = GaugeMetricFamily(
        "bcweb_jobs", "Jobs that are not at their end, by state.", labels=("kind", "state")
    )
    for kind in KINDS:
        jobs = 0
        for rank in PriorityRank:
            count, age = waiting.get((kind, rank.value), (0, 0.0))
            depth.add_metric((kind, rank.name.lower()), count)
            oldest.add_metric((kind, rank.name.lower()), max(0.0, age))
            jobs += count
        states.add_metric((kind, JobState.PENDING.value), jobs)
        states.add_metric((kind, JobState.RUNNING.value), running.get(kind, 0))
    yield from (depth, oldest, states)


def job_metrics(counts: Mapping[str, Any], complete_at: datetime | None) -> Iterator[Metric]:
    """What `services.tallies` has counted, as counters and histograms."""
    moves: Mapping[str, Mapping[str, int]] = counts.get("moves", {})

    def moved(kind: str, *names: str) -> int:
        return sum(moves.get(kind, {}).get(name, 0) for name in names)

    yield _counter("bcweb_jobs_created", "Jobs made.", {k: moved(k, ">PENDING") for k in KINDS})
    yield _counter(
        "bcweb_job_attempts",
        "Attempts begun.",
        {kind: moved(kind, "PENDING>RUNNING") for kind in KINDS},
    )
    yield _counter(
        "bcweb_job_retries",
        "Attempts that ended without an end of the job: it waits again.",
        {kind: moved(kind, "RUNNING>PENDING") for kind in KINDS},
    )
    ended = CounterMetricFamily(
        "bcweb_jobs_ended", "Jobs at their end, by state.", labels=("kind", "state")
    )
    for kind in KINDS:
        for state in sorted(JOB.final):
            names = [f"{source}>{state}" for source in ("", *JobState)]
            ended.add_metric((kind, state.value), moved(kind, *names))
    yield ended
    yield _histogram(
        "bcweb_job_waiting_seconds",
        "From a job's making to its first attempt.",
        counts.get("waiting", {}),
    )
    yield _histogram(
        "bcweb_job_running_seconds",
        "From a job's first attempt to its end, succeeded or failed.",
        counts.get("running", {}),
    )
    told = GaugeMetricFamily(
        "bcweb_jobs_counted_timestamp_seconds",
        "When the counts of jobs above were last complete.",
    )
    if complete_at is not None:
        told.add_metric((), complete_at.timestamp())
    yield told


def worker_metrics(alive: Mapping[str, int]) -> Iterator[Metric]:
    """How many processes of each kind are ready and have shown a pulse lately."""
    told = GaugeMetricFamily(
        "bcweb_workers", "Processes that are there and ready.", labels=("kind",)
    )
    for kind in sorted({*SERVICES, *alive}):
        told.add_metric((kind,), alive.get(kind, 0))
    yield told


def seal_metrics(
    *, number: int, sealed_at: datetime | None, unsealed: int, waiting_s: float
) -> Iterator[Metric]:
    """How far the audit trail is sealed."""
    yield GaugeMetricFamily("bcweb_audit_seals", "Seals in the chain.", value=number)
    yield GaugeMetricFamily(
        "bcweb_audit_unsealed_events", "Audit events that no seal covers yet.", value=unsealed
    )
    yield GaugeMetricFamily(
        "bcweb_audit_unsealed_seconds",
        "Age of the oldest audit event that no seal covers yet; 0 where none waits.",
        value=max(0.0, waiting_s),
    )
    last = GaugeMetricFamily("bcweb_audit_last_seal_timestamp_seconds", "When it was last sealed.")
    if sealed_at is not None:
        last.add_metric((), sealed_at.timestamp())
    yield last


def size_metrics(
    *, uploads: int, database: int, objects: int | None, free: int, total: int
) -> Iterator[Metric]:
    """What is stored, and what room the disk of the state folder has."""
    yield GaugeMetricFamily(
        "bcweb_uploads_bytes", "Size of uploaded bytes in the database.", value=uploads
    )
    yield GaugeMetricFamily("bcweb_database_bytes", "Size of the database.", value=database)
    about = GaugeMetricFamily("bcweb_uploads_objects", "Objects stored in the database, about.")
    if objects is not None:
        about.add_metric((), objects)
    yield about
    yield GaugeMetricFamily(
        "bcweb_disk_free_bytes", "Free on the disk of the web server's state folder.", value=free
    )
    yield GaugeMetricFamily("bcweb_disk_bytes", "Size of that disk.", value=total)


def _counter(name: str, words: str, values: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily(name, words, labels=("kind",))
    for kind, value in values.items():
        family.add_metric((kind,), value)
    return family


def _histogram(name: str, words: str, stored: Mapping[str, Mapping[str, Any]]) -> Metric:
    family = HistogramMetricFamily(name, words, labels=("kind",))
    bounds = [*(f"{bound:g}" for bound in DURATION_BOUNDS_S), "+Inf"]
    for kind in KINDS:
        found = stored.get(kind, {"buckets": [0] * len(bounds), "sum": 0.0})
        counts: Iterable[int] = accumulate(found["buckets"])
        family.add_metric((kind,), list(zip(bounds, counts, strict=True)), found["sum"])
    return family
