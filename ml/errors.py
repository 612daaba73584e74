"""Errors of the ``ml`` package. Each message is one sentence that names what is wrong."""

from __future__ import annotations


class MlError(Exception):
    """Anything this package raises on purpose."""


class ImageUnreadableError(MlError):
    """Bytes that are no JPEG or PNG picture, or a broken, huge or tiny one.

    ``index`` is the position in the batch given to the predictor, None outside a batch.
    """

    def __init__(self, reason: str, *, index: int | None = None) -> None:
        self.reason = reason
        self.index = index
        super().__init__(reason if index is None else f"image {index}: {reason}")


class ModelFileError(MlError):
    """A model file or card that is missing, truncated, tampered with or of another architecture."""


class DatasetError(MlError):
    """A folder or manifest that cannot serve as data: empty, unknown class, one class only."""


class TrainingError(MlError):
    """Training could not go on; the last good checkpoint is kept."""


class NonFiniteLossError(TrainingError):
    """The loss became NaN or infinite."""


class TrainingCancelledError(TrainingError):
    """Somebody asked for the end; a resumed run goes on from the last finished epoch."""


class OutOfMemoryError(TrainingError):
    """The device has no memory left for this batch size."""


class EngineError(MlError):
    """An engine that cannot take the network, fails, or answers otherwise than PyTorch."""


class GatePlanError(MlError):
    """A plan that cannot be judged by: an unknown metric, a bound out of range, no pictures."""
