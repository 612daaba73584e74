"""What the gate of a run wrote: checked against the run, and kept with the locked set's use."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from django.core.files.base import ContentFile

from cases.models import LockedSetUse, TrainingRun
from cases.services.clock import clock_now
from cases.storage import store_once

_FACTS = (
    "state",
    "n",
    "patients",
    "malignant_patients",
    "minimum_malignant_patients",
    # Pictures of the set that were taken back: the figures are without them.
    "left_out",
    "models",
    "data",
    "grouping_rule",
)


@dataclass(frozen=True)
class Judged:
    """A report that is this run's. ``verdict``: as `model_candidate_register` takes it."""

    content: bytes
    verdict: dict[str, Any]
    facts: dict[str, Any]


def gate_report_read(run: TrainingRun, report: bytes | None, *, sha256: str) -> Judged | None:
    """The report on the model with this SHA-256; None for a run without a plan.

    Raises ``ValueError`` where it is missing, not asked for, or of another plan or model.
    """
    if (run.plan_id is None) != (report is None):
        raise ValueError("a run has a gate's report exactly when it has a plan")
    if report is None:
        return None
    told = json.loads(report)
    if told["plan_sha256"] != run.plan_sha256:
        raise ValueError("the gate's report is of another plan")
    if told["models"]["candidate"]["sha256"] != sha256:
        raise ValueError("the gate's report is of another model")
    verdict = {key: told[key] for key in ("state", "limits", "plan_sha256")}
    return Judged(report, verdict, {key: told[key] for key in _FACTS if key in told})


def gate_report_keep(run: TrainingRun, judged: Judged) -> str:
    """Store the report and note the use of the locked set; the report's name in storage."""
    assert run.plan is not None
    name = f"gate-reports/{hashlib.sha256(judged.content).hexdigest()}.json"
    store_once(name, ContentFile(judged.content))
    LockedSetUse.objects.create(
        snapshot_id=run.plan.locked_set_id,
        plan=run.plan,
        run=run,
        facts=judged.facts,
        at=clock_now(),
    )
    return name
