"""Model files on this machine, fetched from the service's storage by their SHA-256."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from django.conf import settings

from cases.intake.files import is_full
from cases.storage import read_bytes
from ml import registry

if TYPE_CHECKING:
    from cases.models import ModelVersion


class ModelDamagedError(OSError):
    """The service's own copy of a model is not the one that was registered."""


def local_model(model: ModelVersion, beside: Callable[[], None] = lambda: None) -> Path:
    """Path of the weights, their card beside them; fetched at first use.

    ``beside`` is called now and then while they are fetched. A cached file of the wrong size is
    fetched again; the engine verifies the hash at load. Raises ``ModelDamagedError`` where the
    stored bytes are missing or are not those of ``model.sha256``, another ``OSError`` where this
    machine's disk is the trouble.
    """
    folder = Path(settings.STATE_DIR) / "models"
    weights = folder / f"{model.sha256}.safetensors"
    if weights.exists() and weights.stat().st_size == model.size:
        return weights
    folder.mkdir(parents=True, exist_ok=True)
    try:
        data = read_bytes(model.storage_name, beside)
    except OSError as error:
        if is_full(error):
            raise
        raise ModelDamagedError(f"the stored bytes of model {model.version}: {error}") from error
    if hashlib.sha256(data).hexdigest() != model.sha256:
        raise ModelDamagedError(
            f"the stored bytes of model {model.version} are not those of its sha256"
        )
    registry.write_card(weights, model.card)
    registry.write_atomic(weights, data)
    return weights


def forget(model: ModelVersion) -> None:
    """Drop the cached file, so that the next use fetches it again."""
    (Path(settings.STATE_DIR) / "models" / f"{model.sha256}.safetensors").unlink(missing_ok=True)
