"""The engine process: holds the network, decodes and answers batches, and may die of it.

Started by `worker.engine` as `python -m worker.engine_child FD OPTIONS`. Imports torch, not
Django. Whatever a picture does to the decoder or the network happens here, where the worker can
kill it from outside.
"""

from __future__ import annotations

import json
import logging
import socket
import sys
from collections import OrderedDict
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from bcweb.embedded.linux import die_with_parent
from worker import wire

if TYPE_CHECKING:
    from ml.inference import Prediction, Predictor

# The live model, and another: the one before it while its last jobs finish, or that of a replay.
MAX_MODELS = 2


class Engine:
    """Loaded predictors by SHA-256 of their weights, the latest used last."""

    def __init__(self, *, device: str, kind: str, threads: int) -> None:
        from ml.threads import default_threads

        self.device = device
        self.kind = kind
        self.threads = threads or default_threads()
        self.loaded: OrderedDict[str, Predictor] = OrderedDict()

    def load(self, sha256: str, path: str) -> dict[str, Any]:
        """Have the model ready. One that does not load, whatever the reason, is told as a fault:
        the models that did load keep answering."""
        if sha256 not in self.loaded:
            try:
                predictor = self._predictor(path)
            except Exception as error:  # noqa: BLE001
                detail = f"{type(error).__name__}: {error}"
                return {"fault": "model_unavailable", "detail": detail[:500]}
            if predictor.model.sha256 != sha256:
                return {"fault": "model_unavailable", "detail": "the model file is another one"}
            self.loaded[sha256] = predictor
            while len(self.loaded) > MAX_MODELS:
                self.loaded.popitem(last=False)
        self.loaded.move_to_end(sha256)
        predictor = self.loaded[sha256]
        return {"engine": predictor.engine, "warning": predictor.warning}

    def _predictor(self, path: str) -> Predictor:
        from ml.inference import Predictor

        predictor = Predictor(path, device=self.device, threads=self.threads, engine=self.kind)
        predictor.warm_up()
        predictor.compact()
        return predictor

    def predict(
        self, sha256: str, pictures: list[bytes]
    ) -> tuple[list[dict[str, Any]], list[bytes]]:
        """Answers in order, and the heatmaps of those that have a ``heatmap_shape``."""
        from ml.errors import ImageUnreadableError

        answers: list[dict[str, Any]] = []
        heatmaps: list[bytes] = []
        for item in self.loaded[sha256].predict_each(pictures):
            if isinstance(item, ImageUnreadableError):
                answers.append({"error": "image_unreadable", "detail": item.reason})
                continue
            answers.append(_answer(item))
            if item.outcome != "refused":
                heatmaps.append(item.heatmap.tobytes())
        return answers, heatmaps


def _answer(prediction: Prediction) -> dict[str, Any]:
    """A prediction for the wire. What was refused has no scores and no heatmap."""
    refused = prediction.outcome == "refused"
    return {
        "outcome": prediction.outcome,
        "reason": prediction.reason or "",
        "reason_code": prediction.reason_code or "",
        "label": prediction.label or "",
        "scores": None if refused else prediction.probabilities,
        "operating_point": asdict(prediction.operating_point),
        "temperature": prediction.temperature,
        "minimum_score": prediction.minimum_score,
        "transform": prediction.transform,
        "feature_distance": prediction.feature_distance,
        "heatmap_shape": None if refused else list(prediction.heatmap.shape),
        "heatmap_box": [float(edge) for edge in prediction.heatmap_box],
        "phash": prediction.phash,
        "engine": prediction.engine,
        "preprocessing": prediction.preprocessing,
        "duration_ms": prediction.duration_ms,
    }


def serve(sock: socket.socket, engine: Engine) -> None:
    """Answer requests until the worker closes the socket."""
    while True:
        try:
            request, blobs = wire.receive(sock)
        except (wire.WireClosedError, OSError):
            return
        if request["do"] == "load":
            wire.send(sock, engine.load(request["sha256"], request["path"]))
        else:
            answers, heatmaps = engine.predict(request["sha256"], blobs)
            wire.send(sock, {"answers": answers}, heatmaps)


def main() -> None:
    descriptor, options = int(sys.argv[1]), json.loads(sys.argv[2])
    die_with_parent(options["parent"])
    sock = socket.socket(fileno=descriptor)
    # Warnings travel in the answer to `load`, and the worker logs them as JSON.
    logging.getLogger("ml").addHandler(logging.NullHandler())
    # Seconds of import, before the first request asks for them.
    import ml.inference
    import ml.onnx_engine  # noqa: F401

    serve(
        sock,
        Engine(device=options["device"], kind=options["kind"], threads=options["threads"]),
    )


if __name__ == "__main__":
    main()
