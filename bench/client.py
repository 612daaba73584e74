"""Clients that keep their connections and cost little: they run on the machine they measure."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

BOUNDARY = "bench-9c1f0c3e7a"


@dataclass
class Answer:
    """One request: its status, its headers and body, and the seconds it took."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    seconds: float

    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """One connection, opened again where the server has closed it."""

    def __init__(self, url: str, token: str = "") -> None:
        parts = urlsplit(url)
        self._connection = http.client.HTTPConnection(
            parts.hostname or "127.0.0.1", parts.port, timeout=60
        )
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
        began = time.perf_counter()
        told = self._headers | {name.replace("_", "-"): text for name, text in headers.items()}
        try:
            response = self._send(method, path, body, told)
        except (http.client.RemoteDisconnected, ConnectionError):
            self._connection.close()
            response = self._send(method, path, body, told)
        data = response.read()
        return Answer(response.status, response.headers, data, time.perf_counter() - began)

    def _send(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str]
    ) -> http.client.HTTPResponse:
        if self._connection.sock is None:
            self._connection.connect()
            self._connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connection.request(method, path, body=body, headers=headers)
        return self._connection.getresponse()

    def close(self) -> None:
        self._connection.close()


def submission(picture: bytes, **fields: str) -> tuple[bytes, dict[str, str]]:
    """Body and headers of `POST /submissions/` with one file."""
    fields.setdefault("patient_id", f"BENCH-{uuid.uuid4().hex[:12]}")
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    parts.append(
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="p.jpg"\r\n'
        "Content-Type: image/jpeg\r\n\r\n".encode()
    )
    body = b"".join(parts) + picture + f"\r\n--{BOUNDARY}--\r\n".encode()
    return body, {"Content_Type": f"multipart/form-data; boundary={BOUNDARY}"}


@dataclass
class Load:
    """What several clients at once found: seconds of each request, by status, and of it all."""

    seconds: list[float] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)
    wall_s: float = 0.0

    @property
    def rate(self) -> float:
        return len(self.seconds) / self.wall_s


def together(
    clients: Sequence[Client], ask: Callable[[Client, int], Answer | None], *, seconds: float = 0
) -> Load:
    """Each client asks once, and again and again until ``seconds`` are over or ``ask`` gives None.

    ``ask`` is given the client and its number of requests so far.
    """
    load, lock = Load(), threading.Lock()
    failed: list[BaseException] = []
    until = time.perf_counter() + seconds if seconds else None

    def work(client: Client) -> None:
        done = 0
        try:
            while until is None or not done or time.perf_counter() < until:
                answer = ask(client, done)
                if answer is None:
                    return
                done += 1
                with lock:
                    load.seconds.append(answer.seconds)
                    load.statuses[answer.status] = load.statuses.get(answer.status, 0) + 1
        except BaseException as error:  # noqa: BLE001 - raised again by the thread that waits
            failed.append(error)

    threads = [threading.Thread(target=work, args=(client,)) for client in clients]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    load.wall_s = time.perf_counter() - began
    if failed:
        raise failed[0]
    return load
