"""Answers for pictures: one forward pass gives scores, label, heatmap and the refusal check."""

from __future__ import annotations

import ctypes
import gc
import math
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import torch

from ml import registry
from ml.calibrate import softmax
from ml.cli import UsageError
from ml.config import CLASSES
from ml.engine import Outputs, make_engine
from ml.errors import ImageUnreadableError, ModelFileError
from ml.phash import perceptual_hash
from ml.preprocessing import Float32Image, Geometry, UInt8Image, as_rgb, decode_raster
from ml.registry import LoadedModel, OperatingPoint

MAX_HELD_BYTES: Final = 256 * 1024**2
"""Decoded pixels kept for the refusal check at a time; beyond it a batch is run in parts."""

Outcome = Literal["answered", "abstained", "refused"]
Picture = bytes | npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Prediction:
    """The answer for one picture.

    ``probabilities`` are calibrated scores by class that sum to 1; evaluation counts them also
    where the picture was refused, a service does not show them then. ``label`` follows the
    operating point; it is None when refused. ``reason`` says in a sentence why there is no
    answer, ``reason_code`` in a word. ``heatmap`` is float16 3 x 7 x 7 in the order of
    ``ml.config.CLASSES``: what each cell adds to the class's logit before calibration; it spans
    ``heatmap_box`` (x0, y0, x1, y1 in original pixels, beyond the picture where it was padded).
    ``transform`` says how the picture was put on the input square. ``temperature``,
    ``operating_point`` and ``minimum_score`` (None: never abstains) turned logits into this
    answer. ``feature_distance``, from the training ultrasounds, is 1 in their mean square
    (``ml.refusal.Detector.distances``); None where the model has no refusal check. ``phash`` is
    unsigned, 64 bits. ``duration_ms`` is the time for decoding, preparing and checking this
    picture plus its share of the batch's forward pass.
    """

    outcome: Outcome
    reason: str | None
    reason_code: str | None
    label: str | None
    probabilities: dict[str, float]
    operating_point: OperatingPoint
    temperature: float
    minimum_score: float | None
    heatmap: npt.NDArray[np.float16]
    heatmap_box: tuple[float, float, float, float]
    transform: dict[str, Any]
    feature_distance: float | None
    width: int
    height: int
    phash: int
    preprocessing: str
    engine: str
    model_version: str
    model_sha256: str
    duration_ms: float

    def to_json(self) -> dict[str, Any]:
        """The contract's ``result`` as far as ml knows it: no id, no heatmap address."""
        scores = {k: round(v, 6) for k, v in self.probabilities.items()}
        return {
            "outcome": self.outcome,
            "reason": self.reason,
            "reason_code": self.reason_code,
            "label": self.label,
            "probabilities": None if self.outcome == "refused" else scores,
            "operating_point": self.operating_point.to_json(),
            "temperature": self.temperature,
            "minimum_score": self.minimum_score,
            "frame": 0,
            "model": {"version": self.model_version, "sha256": self.model_sha256},
            "engine": self.engine,
            "preprocessing": self.preprocessing,
            "duration_ms": round(self.duration_ms, 1),
            "research_use_only": True,
            "width": self.width,
            "height": self.height,
            "heatmap_box": [round(v, 2) for v in self.heatmap_box],
            "transform": self.transform,
        }


@dataclass(frozen=True)
class _Prepared:
    """One decoded picture on its way into a batch; ``seconds`` is what that took.

    ``pixels`` are kept only where a refusal check wants them.
    """

    index: int
    tensor: Float32Image
    geometry: Geometry
    phash: int
    pixels: UInt8Image | None
    seconds: float


def label_for(scores: npt.NDArray[np.floating[Any]], threshold: float) -> str:
    """The answer by the operating point, from calibrated scores in class order.

    Malignant when its score reaches ``threshold``, else the larger of benign and normal.
    """
    benign, malignant, normal = (float(v) for v in scores)
    if malignant >= threshold:
        return "malignant"
    return "benign" if benign >= normal else "normal"


def resolve_device(device: str = "auto") -> torch.device:
    """Turn "auto" into CUDA where there is one, else the CPU; other names go to torch.

    Raises ``UsageError`` for a name that torch does not know and for a device that cannot be used.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        found = torch.device(device)
        torch.zeros(1, device=found).item()
    except (RuntimeError, AssertionError):  # the second: torch was built without CUDA
        raise UsageError(f"the device {device!r} cannot be used here") from None
    return found


class Predictor:
    """A loaded model on an engine. Not thread-safe: one per process or thread.

    ``model`` is a weights file, a loaded model, or None for the shipped one; its network moves
    to the engine's device. ``engine`` is auto, pytorch or onnx, see :func:`ml.engine.make_engine`;
    ``warning`` says why it is not the wanted one ("" where it is). ``threads`` sets the CPU
    threads, torch's for the whole process; None leaves them. Raises ``ModelFileError`` for a bad
    model file.
    """

    def __init__(
        self,
        model: LoadedModel | Path | str | None = None,
        device: str = "auto",
        threads: int | None = None,
        engine: str = "auto",
    ) -> None:
        self.model = model if isinstance(model, LoadedModel) else registry.load_model(model)
        self.minimum_score = minimum_score(self.model.card)
        made = make_engine(
            self.model.network,
            size=self.model.preprocessing.size,
            device=resolve_device(device),
            kind=engine,
            threads=threads,
        )
        self._engine, self.warning = made.engine, made.warning
        self._detector = self.model.detector
        self._preprocessing_digest = self.model.preprocessing.digest()

    @property
    def engine(self) -> str:
        """Name, version and device, such as "onnxruntime-1.20.1-cpu"."""
        return self._engine.name

    def warm_up(self) -> None:
        """Run one black picture through, so that the first real one does not pay for set-up."""
        size = self.model.preprocessing.size
        self.run([np.zeros((3, size, size), dtype=np.float32)])

    def compact(self) -> None:
        """Give back what only loading needed, for a process that keeps the model for long.

        Where ONNX Runtime answers it has weights of its own: PyTorch's copy goes (about 90 MiB;
        ``model.network`` has shapes without values from then on). On glibc, freed memory goes
        back to the system.
        """
        if not self._engine.uses_network:
            self.model.network.to("meta")
        gc.collect()
        # Not glibc, or none at all: nothing is lost but the memory.
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)

    def predict(self, images: Sequence[Picture]) -> list[Prediction]:
        """Answer a batch, in order: bytes of a JPEG or PNG, or uint8 arrays HxW or HxWx3.

        Raises ``ImageUnreadableError``, with the ``index`` of the first bad picture. See
        :meth:`predict_each` for answers to the rest.
        """
        answers = []
        for answer in self.predict_each(images):
            if isinstance(answer, ImageUnreadableError):
                raise answer
            answers.append(answer)
        return answers

    def predict_each(self, images: Sequence[Picture]) -> list[Prediction | ImageUnreadableError]:
        """Answer a batch, in order; a bad picture gives its error, with ``index``, instead."""
        found: dict[int, Prediction | ImageUnreadableError] = {}
        ready: list[_Prepared] = []
        for index, image in enumerate(images):
            try:
                ready.append(self._prepare(index, image))
            except ImageUnreadableError as error:
                found[index] = error
            if (
                sum(item.pixels.nbytes for item in ready if item.pixels is not None)
                > MAX_HELD_BYTES
            ):
                found.update(self._answers(ready))
                ready = []
        found.update(self._answers(ready))
        return [found[index] for index in range(len(images))]

    def run(self, tensors: Sequence[Float32Image]) -> Outputs:
        """One forward pass over prepared inputs, float32 3 x S x S each; at least one."""
        return self._engine.run(np.stack(tensors))

    def _prepare(self, index: int, image: Picture) -> _Prepared:
        started = time.perf_counter()
        try:
            pixels = decode_raster(image) if isinstance(image, bytes) else as_rgb(image)
        except ImageUnreadableError as error:
            raise ImageUnreadableError(error.reason, index=index) from None
        tensor, geometry = self.model.preprocessing.apply(pixels)
        phash = perceptual_hash(pixels)
        kept = None if self._detector is None else pixels
        return _Prepared(index, tensor, geometry, phash, kept, time.perf_counter() - started)

    def _answers(self, ready: Sequence[_Prepared]) -> dict[int, Prediction]:
        if not ready:
            return {}
        started = time.perf_counter()
        outputs = self.run([item.tensor for item in ready])
        scores = softmax(outputs.logits, self.model.temperature)
        distances = self._distances(outputs)
        share = (time.perf_counter() - started) / len(ready)
        return {
            item.index: self._answer(
                item, scores[row], outputs, row, distances[row], item.seconds + share
            )
            for row, item in enumerate(ready)
        }

    def _answer(
        self,
        item: _Prepared,
        scores: npt.NDArray[np.float64],
        outputs: Outputs,
        row: int,
        distance: float | None,
        seconds: float,
    ) -> Prediction:
        started = time.perf_counter()
        outcome, code, reason = self._verdict(item, scores, outputs.texture[row])
        point, geometry = self.model.operating_point, item.geometry
        seconds += time.perf_counter() - started
        return Prediction(
            outcome=outcome,
            reason=reason,
            reason_code=code,
            label=None if outcome == "refused" else label_for(scores, point.threshold),
            probabilities=dict(zip(CLASSES, map(float, scores), strict=True)),
            operating_point=point,
            temperature=self.model.temperature,
            minimum_score=self.minimum_score,
            heatmap=_to_float16(outputs.maps[row]),
            heatmap_box=geometry.covered,
            transform=self._transform(geometry),
            feature_distance=distance,
            width=geometry.width,
            height=geometry.height,
            phash=item.phash,
            preprocessing=self._preprocessing_digest,
            engine=self.engine,
            model_version=self.model.version,
            model_sha256=self.model.sha256,
            duration_ms=1000 * seconds,
        )

    def _distances(self, outputs: Outputs) -> list[float | None]:
        """From the texture that the pass gave anyway; None where there is no number to tell."""
        if self._detector is None:
            return [None] * len(outputs.logits)
        found = self._detector.distances(outputs.texture).tolist()
        return [value if math.isfinite(value) else None for value in found]

    def _verdict(
        self,
        item: _Prepared,
        scores: npt.NDArray[np.float64],
        texture: npt.NDArray[np.float32],
    ) -> tuple[Outcome, str | None, str | None]:
        """Outcome, reason in a word, reason in a sentence: refusal goes before abstention."""
        if self._detector is not None:
            assert item.pixels is not None  # kept for just this
            refusal = self._detector.check(item.pixels, texture)
            if refusal is not None:
                return "refused", refusal.code, refusal.sentence
        if self.minimum_score is not None and scores.max() < self.minimum_score:
            sentence = (
                "The model is too uncertain: its largest score is below "
                f"{self.minimum_score:.2f}, from which on it answers."
            )
            return "abstained", "uncertain", sentence
        return "answered", None, None

    def _transform(self, geometry: Geometry) -> dict[str, Any]:
        """How the picture lies on the input square; boxes in the picture's own pixels."""
        return {
            "picture": [geometry.width, geometry.height],
            "content": list(geometry.content),
            "covered": list(geometry.covered),
            "fit": self.model.preprocessing.fit,
            "size": self.model.preprocessing.size,
        }


def minimum_score(card: registry.Card) -> float | None:
    """The largest score must reach this for an answer (Chow 1970); None: there is no such rule.

    Raises ``ModelFileError`` where the card's rule is not understood.
    """
    rule = card.get("abstention")
    if rule is None:
        return None
    try:
        least = float(rule["minimum_score"])
    except (KeyError, TypeError, ValueError):
        least = math.nan
    if not 0 <= least <= 1:
        raise ModelFileError("the card's rule for abstention is not understood")
    return least


def _to_float16(maps: npt.NDArray[np.float32]) -> npt.NDArray[np.float16]:
    limit = np.finfo(np.float16).max
    return np.clip(maps, -limit, limit).astype(np.float16)
