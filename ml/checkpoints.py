"""What a run writes after each epoch, by atomic rename: its checkpoint and its history."""

from __future__ import annotations

import csv
import io
import os
import pickle
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from ml.errors import ModelFileError
from ml.registry import write_atomic

PICTURES = "pictures"
"""The identity's digest of who is trained on; checkpoints of earlier versions lack it."""

_BROKEN = (
    OSError,
    RuntimeError,
    KeyError,
    IndexError,
    TypeError,
    ValueError,
    AttributeError,
    EOFError,
    pickle.UnpicklingError,
)
"""What torch raises for files that are cut short, damaged, or hold something else."""


def write_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Write tensors and plain values; whoever reads ``path`` sees the old file or the new one.

    It streams to a temporary file beside it, so no second copy of the weights is held in memory.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            torch.save(dict(state), file)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def read_checkpoint(
    path: Path, device: torch.device, identity: Mapping[str, Any]
) -> dict[str, Any]:
    """Read what :func:`write_checkpoint` wrote, without running any code from the file.

    Raises ``ModelFileError`` when it cannot be read or its ``identity`` differs from the run's.
    One that does not say which pictures it was trained on is taken, with a note on stderr.
    """
    try:
        saved: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
        theirs = dict(saved["identity"])
    except _BROKEN as error:
        raise not_a_checkpoint(path, error) from None
    unsaid = PICTURES in identity and PICTURES not in theirs
    for key, value in identity.items():
        if theirs.get(key) != value and not (unsaid and key == PICTURES):
            raise ModelFileError(f"{path.name} is of another run: {key} differs")
    if unsaid:
        print(
            f"note: {path.name} does not say which pictures it was trained on; they are taken to "
            "be those of this run",
            file=sys.stderr,
        )
    return saved


def not_a_checkpoint(path: Path, error: Exception) -> ModelFileError:
    """The one-line error for a file that is damaged or of another architecture."""
    first = str(error).splitlines()[0] if str(error) else type(error).__name__
    return ModelFileError(f"{path.name} is no checkpoint of this network: {first}")


def write_history(path: Path, history: list[dict[str, float]]) -> None:
    """One row per epoch, by atomic rename. Epochs without validation leave its columns empty."""
    buffer = io.StringIO()
    columns = max(history, key=len)
    table = csv.DictWriter(buffer, fieldnames=list(columns), lineterminator="\n")
    table.writeheader()
    for row in history:
        table.writerow({k: int(v) if k == "epoch" else f"{v:.6f}" for k, v in row.items()})
    write_atomic(path, buffer.getvalue().encode())


def remove_leftovers(folder: Path, names: Iterable[str]) -> list[str]:
    """Remove the temporary files that a killed run left beside these files; returns their names.

    Only for the one process that writes into the folder: a running one's would go too.
    """
    removed = []
    for name in names:
        for path in sorted(folder.glob(f".{name}.*")):
            path.unlink(missing_ok=True)
            removed.append(path.name)
    return removed
