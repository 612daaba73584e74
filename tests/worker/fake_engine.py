"""An engine child without a network, which misbehaves at the pictures it is told to.

`BCWEB_TEST_POISON` holds `sha256=crash|hang|grow|garbage|worker|gate` pairs, separated by commas;
`*` stands for every other picture. `worker` takes the whole worker down; `gate` waits for as long
as the file `BCWEB_TEST_GATE` is there, having made a file beside it that says so.
"""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import sys
import threading
from pathlib import Path

from worker import wire

POISON = dict(
    pair.split("=") for pair in os.environ.get("BCWEB_TEST_POISON", "").split(",") if pair
)


def answer(picture: bytes) -> dict[str, object]:
    if picture == b"unreadable":
        return {"error": "image_unreadable", "detail": "not an image"}
    return {
        "outcome": "answered",
        "reason": "",
        "reason_code": "",
        "label": "benign",
        "scores": {"benign": 0.8, "malignant": 0.1, "normal": 0.1},
        "operating_point": {"threshold": 0.4, "sensitivity": 0.95},
        "temperature": 1.2,
        "minimum_score": None,
        "feature_distance": 1.25,
        "transform": {
            "picture": [10, 10],
            "content": [0, 0, 10, 10],
            "covered": [0.0, 0.0, 10.0, 10.0],
            "fit": "pad",
            "size": 224,
        },
        "heatmap_shape": [3, 7, 7],
        "heatmap_box": [0.0, 0.0, 10.0, 10.0],
        "phash": 2**64 - 1,
        "engine": "fake",
        "preprocessing": "fake",
        "duration_ms": 1.0,
    }


def misbehave(kind: str, sock: socket.socket) -> None:
    if kind == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif kind == "hang":
        threading.Event().wait()
    elif kind == "grow":
        hoard = [b"x" * 50_000_000 for _ in range(12)]
        threading.Event().wait(60)
        del hoard
    elif kind == "worker":
        os.kill(os.getppid(), signal.SIGKILL)
        os._exit(1)
    elif kind == "gate":
        gate = Path(os.environ["BCWEB_TEST_GATE"])
        gate.with_suffix(".reached").touch()
        while gate.exists():
            threading.Event().wait(0.05)
    elif kind == "garbage":
        sock.sendall(b"\x00\x00\x00\x04nope")


def main() -> None:
    sock = socket.socket(fileno=int(sys.argv[1]))
    while True:
        try:
            request, blobs = wire.receive(sock)
        except (wire.WireClosedError, OSError):
            return
        if request["do"] == "load":
            wire.send(sock, {"engine": f"fake-{os.getpid()}"})
            continue
        for blob in blobs:
            misbehave(POISON.get(hashlib.sha256(blob).hexdigest(), POISON.get("*", "")), sock)
        answers = [answer(blob) for blob in blobs]
        heatmaps = [b"\0" * 294 for item in answers if "error" not in item]
        wire.send(sock, {"answers": answers}, heatmaps)


if __name__ == "__main__":
    main()
