"""Events over HTTP, from the web server as `make run` starts it: connections are handed over."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from cases.access import SYSTEM
from cases.models import Job, Site
from cases.services.jobs import job_cancel
from tests.factories import make_actor, make_site, make_token, submit
from tests.processes import Running, await_hearing, web_server

pytestmark = pytest.mark.django_db(transaction=True)


def events(lines: Iterator[str]) -> Iterator[tuple[str, Any]]:
    name = ""
    for line in lines:
        field, _, value = line.partition(": ")
        if field == "event":
            name = value
        elif field == "data":
            yield name, json.loads(value)


def headers_of(site: Site) -> dict[str, str]:
    return {"Authorization": f"Bearer {make_token(site=site)[1]}"}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Running]:
    # Four threads answer all requests (tests/processes.py): none may be kept by who waits.
    with web_server(tmp_path, BCWEB_EVENTS_PER_CALLER="12") as found:
        headers = headers_of(make_site())
        with httpx.Client(base_url=found.url, headers=headers, timeout=60) as client:
            await_hearing(client)
        yield found


def test_more_clients_wait_than_there_are_threads_and_others_are_answered(server: Running) -> None:
    site = make_site()
    job: Job = submit(actor=make_actor(site=site)).jobs.get()
    headers = headers_of(site)
    path = f"{server.url}/api/v1/jobs/{job.pk}/events/"
    with ExitStack() as stack:
        client = stack.enter_context(httpx.Client(headers=headers, timeout=60))
        streams = []
        for _ in range(12):
            response = stack.enter_context(client.stream("GET", path))
            assert response.status_code == 200
            assert response.headers["Content-Type"] == "text/event-stream"
            assert response.headers["Connection"] == "close"
            assert "X-Request-ID" in response.headers
            stream = events(response.iter_lines())
            name, told = next(stream)
            assert (name, told["jobs"][0]["state"]) == ("snapshot", "PENDING")
            streams.append(stream)
        assert client.get(path).status_code == 429
        # Nor does asking what it would look like take a seat, or wait.
        head = client.head(f"{server.url}/api/v1/events/", headers=headers_of(site))
        assert (head.status_code, head.content) == (200, b"")
        # The same connection is kept for what is no stream, and used again.
        for _ in range(3):
            assert client.get(f"{server.url}/api/v1/jobs/{job.pk}/").status_code == 200
        job_cancel(actor=SYSTEM, job_id=job.pk)
        for stream in streams:
            assert [name for name, _ in stream] == ["job", "end"]


def test_the_server_stops_although_clients_wait(server: Running) -> None:
    headers = headers_of(make_site())
    with httpx.stream("GET", f"{server.url}/api/v1/events/", headers=headers, timeout=60) as told:
        stream = events(told.iter_lines())
        assert next(stream) == ("snapshot", {"jobs": []})
        server.process.terminate()
        assert server.process.wait(60) == 0
        with pytest.raises((StopIteration, httpx.TransportError)):
            next(stream)
