"""How a training ended, as a stable code, a sentence, and whether trying again may help."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_NO_SPACE = ("No space left on device", "Errno 28", "Disk quota exceeded")


@dataclass(frozen=True)
class Fault:
    code: str
    detail: str
    transient: bool = False


class CannotGoOnError(Exception):
    """An attempt ends here, by its fault."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.detail)
        self.fault = fault


DISK_FULL = Fault(
    "disk_full",
    "The disk of the training worker is full. Free some space and start the training again.",
)
STORAGE_DAMAGED = Fault("storage_damaged", "The stored snapshot is missing or damaged.")
STORAGE_AWAY = Fault("storage_unavailable", "The storage did not answer.", transient=True)
OUTPUT_INVALID = Fault("output_invalid", "The training left no usable model file.")
# What is wrong with data is told with names of files, and those may be patients': to the log.
DATA_UNUSABLE = Fault(
    "data_unusable", "The pictures cannot be trained from. The log has the particulars."
)
START_MISSING = Fault(
    "init_missing", "The file of initial weights is not in the worker's folder of them (initial/)."
)
PLAN_CHANGED = Fault(
    "plan_changed",
    "The gate plan is not the one that was frozen when the training was asked for.",
)
LOCKED_SET_UNREADABLE = Fault(
    "locked_set_unreadable", "The stored document of the locked set is missing or damaged."
)
ACTIVE_UNUSABLE = Fault(
    "active_model_unusable", "The live model's stored file is missing or damaged."
)
START_UNUSABLE = Fault("init_unusable", "The model to start from cannot be read from storage.")
# What the training says of itself is a sentence for people already.
_SAID = {
    "snapshot_unreadable": "snapshot_unreadable",
    "one_class": "one_class",
    "too_few_cases": "too_few_cases",
    "model_file": "init_unusable",
    "non_finite_loss": "non_finite_loss",
    "out_of_memory": "out_of_memory",
}
_GATE_SAID = (
    "locked_picture_seen",
    "locked_set_unreadable",
    "locked_set_taken_back",
    "active_model_unusable",
)
OTHER_PICTURES = "other pictures were read than those that were checked"


def no_space(text: str) -> bool:
    return any(words in text for words in _NO_SPACE)


def fault_of(error: Mapping[str, Any] | None, exit_code: int, log_tail: str) -> Fault:
    """The fault of a training that ended without a model.

    ``error`` is its last "error" event, where it could still send one.
    """
    code = str(error["code"]) if error else ""
    message = str(error["message"]) if error else ""
    if no_space(message) or (not error and no_space(log_tail)):
        return DISK_FULL
    if code == "model_file" and "checkpoint" in message:
        return Fault("checkpoint_unusable", _sentence(message))
    if code == "data_changed":
        return Fault(code, f"The data is not that of the snapshot: {message[:400]}.")
    if code == "dataset":
        return DATA_UNUSABLE
    if code in _SAID:
        return Fault(_SAID[code], _sentence(message))
    if code == "training_cancelled":
        return Fault("training_stopped", "The training process was told to stop.", transient=True)
    if code == "input_output":
        detail = "A file could not be read or written. The log has the particulars."
        return Fault("input_output", detail, transient=True)
    if error is None and exit_code == -signal.SIGKILL:
        return Fault(
            "training_killed",
            "The training process was killed, most likely because the machine ran out of memory.",
            transient=True,
        )
    if error is None and exit_code < 0:
        detail = f"The training process crashed (signal {-exit_code})."
        return Fault("training_crashed", detail, transient=True)
    return Fault("training_failed", "The training failed unexpectedly. The log has the reason.")


def gate_fault_of(error: Mapping[str, Any] | None, exit_code: int, log_tail: str) -> Fault:
    """The fault of a gate that ended without a verdict: as ``fault_of``."""
    code = str(error["code"]) if error else ""
    message = str(error["message"]) if error else ""
    if no_space(message) or (not error and no_space(log_tail)):
        return DISK_FULL
    if code == "locked_set_changed":
        return Fault(code, f"The locked set is not what was declared: {message[:400]}.")
    if code in _GATE_SAID:
        return Fault(code, _sentence(message))
    if code == "candidate_unusable":
        return OUTPUT_INVALID
    if code == "gate_plan":
        return Fault("gate_refused", _sentence(message))
    if code == "dataset":
        # The message names files, which may be called after patients: it is in the log only.
        return Fault("gate_refused", "The locked set cannot be used. The log has the particulars.")
    if code == "input_output":
        detail = "The gate could not read or write a file. The log has the particulars."
        return Fault("input_output", detail, transient=True)
    if error is None and exit_code < 0:
        detail = (
            f"The process that judges the model was killed or crashed (signal {-exit_code}), "
            "perhaps because the machine ran out of memory."
        )
        return Fault("gate_crashed", detail, transient=True)
    return Fault("gate_failed", "Judging the model failed unexpectedly. The log has the reason.")


def _sentence(message: str) -> str:
    text = message[:480].strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")
