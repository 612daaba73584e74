"""Is the whole service ready? One GET of /readyz, without ever being deaf to Ctrl-C."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from .events import Signals

_ANSWER_SECONDS = 5.0


@dataclass(frozen=True)
class Readiness:
    """Where to ask, and how many of each service must be alive.

    `wanted` names entries of the answer's `"services": {"inference": n, …}`; `host_header` is a
    name that the application accepts.
    """

    host: str
    port: int
    host_header: str = "localhost"
    wanted: Mapping[str, int] = field(default_factory=dict)

    def missing(self, signals: Signals) -> list[str] | None:
        """Ask once; return what is not ready yet (empty: all is well), None while none answers.

        Returns early, with None, when a signal comes in the middle.
        """
        answer = self._get(signals)
        if answer is None:
            return None
        status, body = answer
        if status != 200:
            return _reasons(status, body)
        try:
            counts = json.loads(body).get("services", {})
        except (ValueError, AttributeError):
            return ["an answer of /readyz that can be read"]
        return [name for name, number in self.wanted.items() if counts.get(name, 0) < number]

    def _get(self, signals: Signals) -> tuple[int, bytes] | None:
        request = f"GET /readyz HTTP/1.0\r\nHost: {self.host_header}\r\n\r\n".encode()
        deadline = time.monotonic() + _ANSWER_SECONDS
        received = b""
        try:
            with socket.create_connection((reachable(self.host), self.port), 1.0) as connection:
                connection.sendall(request)
                while (left := deadline - time.monotonic()) > 0:
                    if not signals.wait(left, connection.fileno()):
                        return None
                    part = connection.recv(65536)
                    if not part:
                        break
                    received += part
        except OSError:
            return None
        head, _, body = received.partition(b"\r\n\r\n")
        words = head.split(None, 2)
        return (int(words[1]), body) if len(words) > 1 and words[1].isdigit() else None


def reachable(host: str) -> str:
    """Return an address at which a server bound to `host` can be asked from this machine."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)  # noqa: S104


def _reasons(status: int, body: bytes) -> list[str]:
    """Return what a 503 names as not ready: a JSON list of texts or of objects with `detail`."""
    try:
        said = json.loads(body)
    except ValueError:
        said = None
    if not isinstance(said, list):
        return [f"/readyz ({status})"]
    return [str(item.get("detail", item) if isinstance(item, dict) else item) for item in said]
