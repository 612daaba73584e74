"""What the gate of a run is given, and what it left: the worker's side of worker.gate_child."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from cases.selectors.learning import model_active
from cases.selectors.snapshots import snapshot_void_hashes
from cases.services.gate_fields import plan_sha256
from cases.storage import read_bytes
from worker import training_faults as faults
from worker.model_store import ModelDamagedError, local_model
from worker.training_faults import CannotGoOnError, Fault

if TYPE_CHECKING:
    from cases.models import ModelVersion, TrainingRun

JUDGE_MODULE = "worker.gate_child"
REPORT = "gate.json"


def check_plan(run: TrainingRun) -> None:
    """Raise ``CannotGoOnError`` where the plan is not the one that was frozen."""
    if run.plan is not None and plan_sha256(run.plan.document) != run.plan_sha256:
        raise CannotGoOnError(faults.PLAN_CHANGED)


def judge_command(run: TrainingRun, folder: Path, *, nice: int, judges: bool) -> list[str]:
    """The command that judges the model in ``folder``; writes what it reads beside the model.

    Not ``judges``: that only looks whether anything will be in the way of it. Raises
    ``CannotGoOnError`` and ``OSError``.
    """
    assert run.plan is not None
    locked = run.plan.locked_set
    document, plan = folder / "locked.json", folder / "plan.json"
    try:
        content = read_bytes(locked.storage_name)
    except OSError as error:
        raise CannotGoOnError(faults.LOCKED_SET_UNREADABLE) from error
    document.write_bytes(content)
    plan.write_text(json.dumps(run.plan.document), encoding="utf-8")
    (folder / REPORT).unlink(missing_ok=True)
    options = {
        "parent": os.getpid(),
        "nice": nice,
        "document": str(document),
        "root": locked.data_root,
        "data": str(folder / f"locked-{locked.pk[:12]}"),
        "plan": str(plan),
        "candidate": str(folder / "out" / "model.safetensors") if judges else None,
        "active": _local(model_active(), faults.ACTIVE_UNUSABLE),
        "start": _local(run.init_model, faults.START_UNUSABLE),
        "report": str(folder / REPORT),
        # Taken back since the set was frozen: the figures are of the others.
        "left_out": snapshot_void_hashes(locked),
    }
    return [sys.executable, "-m", JUDGE_MODULE, json.dumps(options)]


def _local(model: ModelVersion | None, damaged: Fault) -> str | None:
    if model is None:
        return None
    try:
        return str(local_model(model))
    except ModelDamagedError as error:
        raise CannotGoOnError(damaged) from error


def read_report(folder: Path) -> bytes:
    return (folder / REPORT).read_bytes()
