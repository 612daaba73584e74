"""A receiver of webhooks: a real HTTP server on this machine that keeps what it was sent."""

from __future__ import annotations

import json
import queue
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Received:
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def message(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(self.body)
        return told

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]


# What to answer: status and headers.
Reply = tuple[int, dict[str, str]]
OK: Reply = (204, {})


@dataclass
class Receiver:
    """``answer`` says what to reply to each message, and may wait."""

    port: int
    answer: Callable[[Received], Reply] = lambda received: OK
    received: list[Received] = field(default_factory=list)
    came: queue.SimpleQueue[Received] = field(default_factory=queue.SimpleQueue)
    scheme: str = "http"

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}/hook"

    def states_of(self, job_id: Any) -> list[str]:
        """The states that were told of a job, in the order in which they came."""
        messages = [item.message for item in self.received]
        return [
            m["data"]["state"]
            for m in messages
            if m["data"].get("job", {}).get("id") == str(job_id)
        ]


@contextmanager
def receiver(trust: ssl.SSLContext | None = None, *, port: int = 0) -> Iterator[Receiver]:
    """A receiver at 127.0.0.1, on a free port where none is given; over TLS with ``trust``, the
    server's context."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            item = Received(self.path, headers, body)
            it.received.append(item)
            it.came.put(item)
            status, more = it.answer(item)
            try:
                self.send_response(status)
                for name, value in more.items():
                    self.send_header(name, value)
                self.send_header("content-length", "0")
                self.end_headers()
            except OSError:
                return  # the sender waits no longer

        def log_message(self, format: str, *args: Any) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    it = Receiver(port=server.server_address[1])
    if trust is not None:
        it.scheme = "https"
        server.socket = trust.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield it
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
