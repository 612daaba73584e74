"""Answers for pictures: one forward pass gives scores, label and heatmap."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ml import registry
from ml.config import CLASSES
from ml.errors import ImageUnreadableError
from ml.model import forward_with_cam
from ml.phash import perceptual_hash
from ml.preprocessing import Float32Image, Geometry, as_rgb, decode_raster
from ml.registry import LoadedModel, OperatingPoint

Outcome = Literal["answered", "abstained", "refused"]
Picture = bytes | npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Prediction:
    """The answer for one picture.

    ``probabilities`` are calibrated scores by class that sum to 1. ``label`` follows the
    operating point; it is None when refused. ``heatmap`` is float16 3 x 7 x 7 in the order of
    ``ml.config.CLASSES``: what each cell adds to the class's logit before calibration; it spans
    ``heatmap_box`` (x0, y0, x1, y1 in original pixels, beyond the picture where it was padded).
    ``phash`` is unsigned, 64 bits. ``duration_ms`` is the time for decoding and preparing this
    picture plus its share of the batch's forward pass.
    """

    outcome: Outcome
    reason: str | None
    label: str | None
    probabilities: dict[str, float]
    operating_point: OperatingPoint
    heatmap: npt.NDArray[np.float16]
    heatmap_box: tuple[float, float, float, float]
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
        return {
            "outcome": self.outcome,
            "reason": self.reason,
            "label": self.label,
            "probabilities": {k: round(v, 6) for k, v in self.probabilities.items()},
            "operating_point": self.operating_point.to_json(),
            "frame": 0,
            "model": {"version": self.model_version, "sha256": self.model_sha256},
            "engine": self.engine,
            "preprocessing": self.preprocessing,
            "duration_ms": round(self.duration_ms, 1),
            "research_use_only": True,
            "width": self.width,
            "height": self.height,
            "heatmap_box": [round(v, 2) for v in self.heatmap_box],
        }


@dataclass(frozen=True)
class _Prepared:
    """One decoded picture on its way into a batch; ``seconds`` is what that took."""

    tensor: Float32Image
    geometry: Geometry
    phash: int
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
    """Turn "auto" into CUDA where there is one, else the CPU; other names go to torch."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(device)


class Predictor:
    """A loaded model on a device. Not thread-safe: one per process or thread.

    ``model`` is a weights file, a loaded model, or None for the shipped one. ``threads`` sets
    torch's CPU threads for the whole process. Raises ``ModelFileError`` for a bad model file.
    """

    def __init__(
        self,
        model: LoadedModel | Path | str | None = None,
        device: str = "auto",
        threads: int | None = None,
    ) -> None:
        if threads is not None:
            torch.set_num_threads(threads)
        self.model = model if isinstance(model, LoadedModel) else registry.load_model(model)
        self.device = resolve_device(device)
        network = self.model.network.to(self.device, memory_format=torch.channels_last)
        self._network = network.eval()
        self._preprocessing_digest = self.model.preprocessing.digest()

    @property
    def engine(self) -> str:
        """Name, version and device, such as "pytorch-2.14.1-cpu"."""
        return f"pytorch-{torch.__version__.split('+')[0]}-{self.device.type}"

    def warm_up(self) -> None:
        """Run one black picture through, so that the first real one does not pay for set-up."""
        size = self.model.preprocessing.size
        self.scores([np.zeros((3, size, size), dtype=np.float32)])

    def predict(self, images: Sequence[Picture]) -> list[Prediction]:
        """Answer a batch, in order: bytes of a JPEG or PNG, or uint8 arrays HxW or HxWx3.

        Raises ``ImageUnreadableError``, with the ``index`` of the first bad picture, before
        anything is computed. See :meth:`predict_each` for answers to the rest.
        """
        return self._answers([self._prepare(index, image) for index, image in enumerate(images)])

    def predict_each(self, images: Sequence[Picture]) -> list[Prediction | ImageUnreadableError]:
        """Answer a batch, in order; a bad picture gives its error, with ``index``, instead."""
        prepared: list[_Prepared | ImageUnreadableError] = []
        for index, image in enumerate(images):
            try:
                prepared.append(self._prepare(index, image))
            except ImageUnreadableError as error:
                prepared.append(error)
        answers = iter(self._answers([p for p in prepared if isinstance(p, _Prepared)]))
        return [p if isinstance(p, ImageUnreadableError) else next(answers) for p in prepared]

    def _prepare(self, index: int, image: Picture) -> _Prepared:
        started = time.perf_counter()
        try:
            pixels = decode_raster(image) if isinstance(image, bytes) else as_rgb(image)
        except ImageUnreadableError as error:
            raise ImageUnreadableError(error.reason, index=index) from None
        tensor, geometry = self.model.preprocessing.apply(pixels)
        phash = perceptual_hash(pixels)
        return _Prepared(tensor, geometry, phash, time.perf_counter() - started)

    def _answers(self, prepared: Sequence[_Prepared]) -> list[Prediction]:
        started = time.perf_counter()
        scores, maps = self.scores([item.tensor for item in prepared])
        share = (time.perf_counter() - started) / max(1, len(prepared))
        return [
            self._answer(item, scores[row], maps[row], 1000 * (item.seconds + share))
            for row, item in enumerate(prepared)
        ]

    def scores(
        self, tensors: Sequence[Float32Image]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float16]]:
        """Calibrated scores and class activation maps of prepared inputs.

        ``tensors``: float32 3 x S x S each, from the model's own preprocessing. Returns
        (float64 N x 3 rows summing to 1, float16 N x 3 x S/32 x S/32).
        """
        size = self.model.preprocessing.size
        if not tensors:
            cells = size // 32
            return np.zeros((0, 3)), np.zeros((0, 3, cells, cells), dtype=np.float16)
        batch = torch.from_numpy(np.stack(tensors))
        batch = batch.to(self.device, memory_format=torch.channels_last, non_blocking=True)
        with torch.inference_mode(), self._autocast():
            logits, maps = forward_with_cam(self._network, batch)
        return calibrated(logits, self.model.temperature), _to_float16(maps)

    def _autocast(self) -> torch.autocast:
        cuda = self.device.type == "cuda"
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=cuda)

    def _answer(
        self,
        item: _Prepared,
        scores: npt.NDArray[np.float64],
        maps: npt.NDArray[np.float16],
        duration_ms: float,
    ) -> Prediction:
        point = self.model.operating_point
        return Prediction(
            outcome="answered",
            reason=None,
            label=label_for(scores, point.threshold),
            probabilities=dict(zip(CLASSES, map(float, scores), strict=True)),
            operating_point=point,
            heatmap=maps,
            heatmap_box=item.geometry.covered,
            width=item.geometry.width,
            height=item.geometry.height,
            phash=item.phash,
            preprocessing=self._preprocessing_digest,
            engine=self.engine,
            model_version=self.model.version,
            model_sha256=self.model.sha256,
            duration_ms=duration_ms,
        )


def calibrated(logits: Tensor, temperature: float) -> npt.NDArray[np.float64]:
    """Softmax of logits over a temperature: N x classes -> float64 rows that sum to 1."""
    scaled = logits.detach().cpu().double() / temperature
    return np.asarray(torch.softmax(scaled, dim=1).numpy(), dtype=np.float64)


def _to_float16(maps: Tensor) -> npt.NDArray[np.float16]:
    limit = torch.finfo(torch.float16).max
    return np.asarray(maps.detach().cpu().float().clamp(-limit, limit).half().numpy())
