"""What stands in for the model's process: answers soon, and dies of the pictures it is told to.

`python -m bench.chaos.engine FD OPTIONS`, as `worker.engine_child`; with BCWEB_CHAOS_MODEL=real
the real engine answers, and marked pictures have the same effect.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
import time
from hashlib import sha256 as hash_of
from pathlib import Path
from typing import Any

from bcweb.embedded.linux import die_with_parent
from bench.chaos.poison import poison_of
from bench.chaos.reading import SHAPE, THRESHOLD, reading_of
from worker import wire

IMAGE_S = float(os.environ.get("BCWEB_CHAOS_IMAGE_S", "0.05"))
SLOW_S = float(os.environ.get("BCWEB_CHAOS_SLOW_S", "4"))
HOARD_MB = int(os.environ.get("BCWEB_ENGINE_MEMORY_MB", "600")) + 200


class StandIn:
    """Takes a moment for each picture, and answers by its bytes."""

    def load(self, sha256: str, path: str) -> dict[str, Any]:
        return {"engine": "stand-in"}

    def predict(
        self, sha256: str, pictures: list[bytes]
    ) -> tuple[list[dict[str, Any]], list[bytes]]:
        time.sleep(IMAGE_S * len(pictures))
        readings = [reading_of(hash_of(picture).hexdigest()) for picture in pictures]
        answers = [
            {**ANSWER, "label": said.label, "scores": said.scores, "phash": said.phash}
            for said in readings
        ]
        return answers, [said.heatmap for said in readings]


ANSWER: dict[str, Any] = {
    "outcome": "answered",
    "reason": "",
    "reason_code": "",
    "operating_point": {"threshold": THRESHOLD, "sensitivity": 0.95},
    "temperature": 1.0,
    "minimum_score": None,
    "feature_distance": 1.0,
    "transform": {
        "picture": [256, 240],
        "content": [0, 0, 256, 240],
        "covered": [0.0, 0.0, 256.0, 240.0],
        "fit": "pad",
        "size": 224,
    },
    "heatmap_shape": list(SHAPE),
    "heatmap_box": [0.0, 0.0, 256.0, 240.0],
    "engine": "stand-in",
    "preprocessing": "stand-in",
    "duration_ms": 1000 * IMAGE_S,
}


def misbehave(kind: str, sock: socket.socket) -> None:
    """Do what the poison does to the process that reads it."""
    if kind == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif kind == "hang":
        threading.Event().wait()
    elif kind == "grow":
        hoard = [b"x" * 2**20 for _ in range(HOARD_MB)]
        threading.Event().wait()
        del hoard
    elif kind == "garbage":
        sock.sendall(b"\x00\x00\x00\x04nope")


def dawdle(flags: Path, worker: int) -> None:
    """While STATE/chaos/slow is there a batch takes long: tell who has it in its hands."""
    if (flags / "slow").exists():
        (flags / "slow.met").write_text(str(worker))
        time.sleep(SLOW_S)


def engine(options: dict[str, Any]) -> Any:
    if os.environ.get("BCWEB_CHAOS_MODEL") != "real":
        return StandIn()
    import ml.inference
    import ml.onnx_engine  # noqa: F401
    from worker.engine_child import Engine

    return Engine(device=options["device"], kind=options["kind"], threads=options["threads"])


def main() -> None:
    descriptor, options = int(sys.argv[1]), json.loads(sys.argv[2])
    die_with_parent(options["parent"])
    sock = socket.socket(fileno=descriptor)
    standing = engine(options)
    flags = Path(os.environ["BCWEB_STATE"]) / "chaos"
    while True:
        try:
            request, blobs = wire.receive(sock)
        except (wire.WireClosedError, OSError):
            return
        if request["do"] == "load":
            wire.send(sock, standing.load(request["sha256"], request["path"]))
            continue
        poisons = [poison_of(blob) for blob in blobs]
        if not any(poisons):
            # Who is slow must have an answer in the end.
            dawdle(flags, options["parent"])
        for kind in poisons:
            misbehave(kind, sock)
        answers, heatmaps = standing.predict(request["sha256"], blobs)
        wire.send(sock, {"answers": answers}, heatmaps)


if __name__ == "__main__":
    main()
