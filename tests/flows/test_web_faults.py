"""A real web server: refused at the door while a body is on its way, and restarted under load."""

from __future__ import annotations

import os
import socket
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from cases.models import Job, Site, Submission
from tests.factories import live_model, make_site, make_token, phantom_jpeg, submit
from tests.live import wait_for as _wait_for
from tests.processes import Running, web_server

pytestmark = [
    pytest.mark.flow,
    pytest.mark.django_db(transaction=True),
    # A minute on an idle machine; starting processes takes long on a busy one.
    pytest.mark.timeout(900),
]

PATIENCE_S = 400
wait_for = partial(_wait_for, seconds=PATIENCE_S)
BOUNDARY = "frontier"


@pytest.fixture
def site() -> Site:
    live_model()
    return make_site()


def form(data: bytes, patient: str) -> bytes:
    """A multipart body with one file."""
    return (
        (
            f"--{BOUNDARY}\r\nContent-Disposition: form-data; name=patient_id\r\n\r\n{patient}\r\n"
            f"--{BOUNDARY}\r\nContent-Disposition: form-data; name=file; filename=a.jpg\r\n"
            "Content-Type: image/jpeg\r\n\r\n"
        ).encode()
        + data
        + f"\r\n--{BOUNDARY}--\r\n".encode()
    )


@contextmanager
def posting(server: Running, secret: str, length: int, *more: str) -> Iterator[socket.socket]:
    """A connection that has sent the head of an upload and nothing of its body."""
    address = urlsplit(server.url)
    head = [
        "POST /api/v1/submissions/ HTTP/1.1",
        f"Host: {address.netloc}",
        f"Authorization: Bearer {secret}",
        f"Content-Type: multipart/form-data; boundary={BOUNDARY}",
        f"Content-Length: {length}",
        *more,
    ]
    with socket.create_connection((str(address.hostname), int(address.port or 0)), 60) as sock:
        sock.sendall("\r\n".join([*head, "", ""]).encode())
        yield sock


def answer_to(sock: socket.socket) -> str:
    """The first answer that is more than a go-ahead, up to the end of its head."""
    text = ""
    while True:
        piece = sock.recv(65536)
        text += piece.decode("latin-1")
        rest = text.removeprefix("HTTP/1.1 100 Continue\r\n\r\n")
        if "\r\n\r\n" in rest or not piece:
            return rest


def test_while_there_is_no_room_every_way_of_sending_gets_its_503(
    site: Site, tmp_path: Path
) -> None:
    submit()
    # The place that is kept for stat images is taken too.
    submit(priority="stat")
    secret = make_token(site=site)[1]
    spool = tmp_path / "spool"
    spool.mkdir()
    before = Submission.objects.count()
    with web_server(tmp_path, BCWEB_MAX_QUEUE="1", TMPDIR=str(spool)) as server:
        with posting(server, secret, 5_000_000, "Expect: 100-continue") as sock:
            told = answer_to(sock)
            assert told.startswith("HTTP/1.1 503"), told
            assert "Retry-After: 30" in told
        # Half sent, and the sender waits: more of them than the server has threads.
        halves = []
        for _ in range(6):
            half = posting(server, secret, 5_000_000)
            sock = half.__enter__()
            # It may be refused before all of this has left.
            with suppress(ConnectionError):
                sock.sendall(os.urandom(100_000))
            halves.append((half, sock))
        for _, sock in halves:
            assert answer_to(sock).startswith("HTTP/1.1 503")
        assert httpx.get(f"{server.url}/healthz", timeout=60).status_code == 200
        for half, _ in halves:
            half.__exit__(None, None, None)
        # A client that sends all before it reads.
        response = httpx.post(
            f"{server.url}/api/v1/submissions/",
            headers={"Authorization": f"Bearer {secret}"},
            data={"patient_id": "P"},
            files={"file": ("a.jpg", os.urandom(3_000_000))},
            timeout=60,
        )
        assert (response.status_code, response.json()["code"]) == (503, "overloaded")
        assert response.headers["Retry-After"] == "30"
        assert list(spool.glob("bcweb-upload-*")) == []
    assert Submission.objects.count() == before
    assert Job.objects.count() == 2


def send_again(url: str, secret: str, key: str, body: bytes) -> httpx.Response:
    return httpx.post(
        f"{url}/api/v1/submissions/",
        headers={
            "Authorization": f"Bearer {secret}",
            "Idempotency-Key": key,
            "Content-Type": f"multipart/form-data; boundary={BOUNDARY}",
        },
        content=body,
        timeout=120,
    )


def test_a_web_server_restarted_with_uploads_in_flight_loses_and_doubles_nothing(
    site: Site, tmp_path: Path
) -> None:
    """Told to stop it takes in what is on its way; killed it takes in nothing of it. Whoever
    repeats with the same key has one submission in either case."""
    secret = make_token(site=site)[1]
    keys = [f"deploy-{uuid.uuid4()}" for _ in range(3)]
    bodies = [form(phantom_jpeg(), f"P{number}") for number in range(3)]
    with web_server(tmp_path, "new", TMPDIR=str(tmp_path)) as new:
        with web_server(tmp_path, "old", TMPDIR=str(tmp_path)) as old:
            with posting(old, secret, len(bodies[0]), f"Idempotency-Key: {keys[0]}") as in_flight:
                in_flight.sendall(bodies[0][:1000])
                wait_for("the request to be under way", lambda: _read_by(old) >= 1)
                old.tell_to_stop()
                rest = threading.Timer(1.0, lambda: in_flight.sendall(bodies[0][1000:]))
                rest.start()
                told = answer_to(in_flight)
                rest.join()
            assert told.startswith("HTTP/1.1 202"), told
            assert old.process.wait(PATIENCE_S) == 0
        with web_server(tmp_path, "killed", TMPDIR=str(tmp_path)) as killed:
            cut = posting(killed, secret, len(bodies[1]), f"Idempotency-Key: {keys[1]}")
            sock = cut.__enter__()
            sock.sendall(bodies[1][:-10])
            wait_for("the request to be under way", lambda: _read_by(killed) >= 1)
            killed.kill()
            cut.__exit__(None, None, None)
        assert Submission.objects.count() == 1
        # Each client asks again, as it is told to, also those that need not.
        for _ in range(2):
            for key, body in zip(keys, bodies, strict=True):
                answer = send_again(new.url, secret, key, body)
                assert answer.status_code == 202, answer.text
    assert Submission.objects.count() == Job.objects.count() == len(keys)


def _read_by(server: Running) -> int:
    """How many connections stand of which the server has read all, by the kernel's table."""
    port = f":{urlsplit(server.url).port:04X}"
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    fields = [line.split() for line in lines]
    return sum(
        1
        for row in fields
        if row[1].endswith(port) and row[3] == "01" and row[4].endswith(":00000000")
    )
