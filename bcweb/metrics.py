"""`/metrics`: figures for Prometheus, counted in the database when it asks.

No counters live in the processes, so that each of them answers the same and a restart forgets
nothing; but for requests, which the processes of a web server count together (bcweb.http_metrics).
Who adds metrics adds a function to ``SOURCES``.
"""

from __future__ import annotations

import hmac
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta

import structlog
from django.conf import settings
from django.db import DatabaseError
from django.http import Http404, HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from bcweb.http_metrics import http_text
from cases.access import SYSTEM
from cases.reports.metrics import model_metrics, watch_metrics
from cases.reports.service_metrics import (
    job_metrics,
    queue_metrics,
    seal_metrics,
    size_metrics,
    worker_metrics,
)
from cases.selectors.figures import jobs_counted, jobs_running, jobs_waiting, stored_sizes
from cases.selectors.health import services_alive
from cases.selectors.learning import model_active
from cases.selectors.seals import seal_state
from cases.selectors.serving import suspension_now
from cases.selectors.watch import watch
from cases.watching import WatchFilter

log = structlog.get_logger(__name__)

# Several scrapers, or one in a hurry, cost one count in this time per process.
KEPT_S = 15.0


def _models() -> Iterator[Metric]:
    yield from model_metrics(model_active(), suspended=suspension_now() is not None)


def _watched() -> Iterator[Metric]:
    since = timezone.now() - timedelta(days=settings.BCWEB_WATCH_DAYS)
    yield from watch_metrics(watch(actor=SYSTEM, wanted=WatchFilter(since=since)))


def _queue() -> Iterator[Metric]:
    waiting = {(row.kind, row.priority): (row.jobs, row.oldest_s) for row in jobs_waiting()}
    yield from queue_metrics(waiting, jobs_running())
    yield from worker_metrics(services_alive())


def _sealed() -> Iterator[Metric]:
    state = seal_state(actor=SYSTEM)
    oldest = state.oldest_unsealed_at
    yield from seal_metrics(
        number=state.head.number if state.head else 0,
        sealed_at=state.head.sealed_at if state.head else None,
        unsealed=state.unsealed,
        waiting_s=(timezone.now() - oldest).total_seconds() if oldest else 0.0,
    )


def _sizes() -> Iterator[Metric]:
    stored = stored_sizes()
    disk = shutil.disk_usage(settings.STATE_DIR)
    yield from size_metrics(
        uploads=stored.upload_bytes,
        database=stored.database_bytes,
        objects=stored.objects,
        free=disk.free,
        total=disk.total,
    )


def _counted() -> Iterator[Metric]:
    yield from job_metrics(*jobs_counted())


SOURCES: list[Callable[[], Iterable[Metric]]] = [_models, _watched, _queue, _sealed, _sizes]


class _From(Collector):
    def __init__(self, sources: Iterable[Callable[[], Iterable[Metric]]]) -> None:
        self._sources = sources

    def collect(self) -> Iterator[Metric]:
        for source in self._sources:
            yield from source()


def _rendered(sources: Iterable[Callable[[], Iterable[Metric]]]) -> bytes:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_From(sources))
    return generate_latest(registry)


class _Kept:
    """The text of the last count, for ``KEPT_S`` seconds."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._text = b""
        self._until = 0.0

    def text(self) -> bytes:
        with self._lock:
            if time.monotonic() >= self._until:
                self._text = _rendered(SOURCES)
                self._until = time.monotonic() + KEPT_S
            return self._text

    def forget(self) -> None:
        with self._lock:
            self._until = 0.0


kept = _Kept()


@require_safe
@never_cache
def metrics(request: HttpRequest) -> HttpResponse:
    """The figures for the bearer of BCWEB_METRICS_TOKEN; without that setting there is no page."""
    token = settings.BCWEB_METRICS_TOKEN
    if not token:
        raise Http404
    given = request.headers.get("Authorization", "")
    if not hmac.compare_digest(given.encode(errors="replace"), f"Bearer {token}".encode()):
        return HttpResponse(status=401, headers={"WWW-Authenticate": 'Bearer realm="metrics"'})
    try:
        # Counters anew each time, for one row: kept by each process for itself, they would seem to
        # go down from one answer to the next, which reads as a restart and is added up once more.
        text = kept.text() + _rendered([_counted])
    except DatabaseError as error:
        log.warning("metrics_database", error=type(error).__name__)
        return HttpResponse(status=503, headers={"Retry-After": "15"})
    return HttpResponse(text + http_text(), content_type=CONTENT_TYPE_PLAIN_0_0_4)
