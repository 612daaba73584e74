"""Out-of-fold logits: each picture scored once, by a network that saw nothing of its group."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ml.calibrate import Calibration, Floats, Indices, fit_calibration, group_weights
from ml.errors import ModelFileError
from ml.registry import write_atomic

FILE: Final = "oof.npz"
_PARTS: Final = 5


@dataclass(frozen=True)
class OutOfFold:
    """Logits float64 N x 3 (up to a constant per row), targets, folds and groups int64 N.

    ``sha256`` and ``files`` name the pictures. ``identity`` is what the networks were made from:
    digests of settings, data and preprocessing, and the initial weights.
    """

    files: tuple[str, ...]
    sha256: tuple[str, ...]
    logits: Floats
    targets: Indices
    folds: Indices
    groups: Indices
    identity: dict[str, Any]

    @cached_property
    def parts(self) -> Indices:
        """What calibration is fitted without in turn: the folds, int64 N.

        Where only one fold was scored, its groups in five parts, each class dealt out in turn.
        """
        if len(np.unique(self.folds)) > 1:
            return self.folds
        names, first, place = np.unique(self.groups, return_index=True, return_inverse=True)
        dealt = np.zeros(len(names), dtype=np.int64)
        for label in np.unique(self.targets[first]):
            own = np.flatnonzero(self.targets[first] == label)
            dealt[own] = np.arange(len(own)) % _PARTS
        return np.asarray(dealt[place.reshape(-1)])

    def calibration(self, sensitivity: float, *, without: int | None = None) -> Calibration:
        """Fit on all, or on all ``parts`` but one: what is measured on it is not fitted on it.

        Near-duplicates count once. Raises ``ValueError`` when no malignant picture is left.
        """
        used = self.parts != without if without is not None else np.ones(len(self.folds), bool)
        weights = group_weights(self.groups[used])
        return fit_calibration(self.logits[used], self.targets[used], weights, sensitivity)

    def save(self, path: Path) -> None:
        """Write by atomic rename."""
        buffer = io.BytesIO()
        np.savez_compressed(
            buffer,
            files=np.array(self.files),
            sha256=np.array(self.sha256),
            logits=self.logits,
            targets=self.targets,
            folds=self.folds,
            groups=self.groups,
            identity=np.array(json.dumps(self.identity, sort_keys=True)),
        )
        write_atomic(path, buffer.getvalue())

    @classmethod
    def load(cls, path: Path) -> OutOfFold:
        """Read what :meth:`save` wrote. Raises :class:`ModelFileError` for anything else."""
        try:
            with np.load(path, allow_pickle=False) as saved:
                return cls(
                    files=tuple(saved["files"].tolist()),
                    sha256=tuple(saved["sha256"].tolist()),
                    logits=np.asarray(saved["logits"], dtype=np.float64),
                    targets=np.asarray(saved["targets"], dtype=np.int64),
                    folds=np.asarray(saved["folds"], dtype=np.int64),
                    groups=np.asarray(saved["groups"], dtype=np.int64),
                    identity=json.loads(str(saved["identity"])),
                )
        except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise ModelFileError(f"{path.name} holds no out-of-fold scores ({error})") from None


def logits_from_scores(scores: npt.NDArray[np.floating[Any]]) -> Floats:
    """Scores of a model with temperature 1 back to logits, up to a constant per row."""
    return np.asarray(np.log(np.maximum(np.asarray(scores, dtype=np.float64), 1e-30)))
