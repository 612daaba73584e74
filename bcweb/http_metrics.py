"""Requests as Prometheus metrics, counted in all processes of the web server together.

Each process counts in files that all can read (prometheus_client's multiprocess mode), in a folder
that lives as long as the server (bcweb.gunicorn). Elsewhere, as in tests, the one process counts.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
BOUNDS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

disable_created_metrics()  # type: ignore[no-untyped-call]
REGISTRY = CollectorRegistry()
REQUESTS = Counter(
    "bcweb_http_requests",
    "Requests answered.",
    ("method", "route", "status"),
    registry=REGISTRY,
)
SECONDS = Histogram(
    "bcweb_http_request_seconds",
    "Time until the answer was ready to be sent.",
    ("method", "route"),
    buckets=BOUNDS_S,
    registry=REGISTRY,
)


class HttpMetricsMiddleware:
    """Counts each request by method, name of its route and status, never by its path."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        begun = time.perf_counter()
        response = self.get_response(request)
        method = request.method if request.method in METHODS else "other"
        route = route_of(request)
        REQUESTS.labels(method, route, str(response.status_code)).inc()
        SECONDS.labels(method, route).observe(time.perf_counter() - begun)
        return response


def route_of(request: HttpRequest) -> str:
    """The name of the route, as in ``api:job-detail``; one word for all that has none."""
    match = request.resolver_match
    if match is not None:
        return match.view_name
    return "static" if request.path.startswith(settings.STATIC_URL) else "unmatched"


def http_text() -> bytes:
    """The counts of all processes in Prometheus' text format."""
    folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    if not folder:
        return generate_latest(REGISTRY)
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=folder)  # type: ignore[no-untyped-call]
    return generate_latest(registry)
