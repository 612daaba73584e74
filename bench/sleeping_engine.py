"""An engine child that sleeps a millisecond per picture: the queue without the model."""

from __future__ import annotations

import socket
import sys
import time
from typing import Any

from tests.worker.fake_engine import answer
from worker import wire

SECONDS_PER_PICTURE = 0.001
HEATMAP = b"\0" * 294


def reply(request: dict[str, Any], blobs: list[bytes]) -> tuple[dict[str, Any], list[bytes]]:
    if request["do"] == "load":
        return {"engine": "sleeping"}, []
    time.sleep(SECONDS_PER_PICTURE * len(blobs))
    return {"answers": [answer(blob) for blob in blobs]}, [HEATMAP] * len(blobs)


def main() -> None:
    sock = socket.socket(fileno=int(sys.argv[1]))
    while True:
        try:
            request, blobs = wire.receive(sock)
        except (wire.WireClosedError, OSError):
            return
        wire.send(sock, *reply(request, blobs))


if __name__ == "__main__":
    main()
