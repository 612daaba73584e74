"""Gate plans to start from, made through the services."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from cases.access import Actor
from cases.models import GatePlan, Site, TrainingRun, TrainingSnapshot
from cases.services.gate_fields import gate_plan_parse
from cases.services.gates import gate_plan_create
from cases.services.training import training_run_request
from cases.services.training_fields import TrainingPlan
from cases.services.training_work import TrainingNews, training_claim, training_succeed
from cases.vocabulary import IfRunning
from tests.factories import WORKER, make_actor, unique
from tests.training import card_of, make_snapshot

SENSITIVITY = {"metric": "sensitivity", "bound": 0.9}


def make_locked_set(first: int = 100) -> TrainingSnapshot:
    """Six pictures that no other snapshot of the tests has."""
    return make_snapshot(first=first)


def plan_raw(locked_set: TrainingSnapshot | None = None, **more: Any) -> dict[str, Any]:
    return {
        "name": f"plan {unique()}",
        "locked_set": (locked_set or make_locked_set()).pk,
        "limits": [SENSITIVITY],
        "minimum_malignant_patients": 1,
        **more,
    }


def make_plan(
    locked_set: TrainingSnapshot | None = None,
    *,
    actor: Actor | None = None,
    site: Site | None = None,
    **more: Any,
) -> GatePlan:
    return gate_plan_create(
        actor=actor or make_actor(roles=["admin"], site=site),
        fields=gate_plan_parse(plan_raw(locked_set, **more)),
    )


def judged(plan: GatePlan, *, active: dict[str, Any], **told: Any) -> TrainingRun:
    """A run that has ended with a model and the gate's report on it: passed on six pictures beside
    ``active``, where it is not ``told`` otherwise."""
    run = training_run_request(
        actor=make_actor(roles=["admin"], site=plan.site),
        snapshot_id=make_snapshot().pk,
        plan=TrainingPlan(),
        reason="because",
        if_running=IfRunning.QUEUE,
        gate_plan_id=plan.pk,
    )
    claim = training_claim(actor=WORKER)
    assert claim is not None
    weights, version = f"trained {run.pk}".encode(), f"v-{run.pk.hex[:8]}"
    sha256 = hashlib.sha256(weights).hexdigest()
    report: dict[str, Any] = {
        "state": "passed",
        "n": 6,
        "patients": 6,
        "malignant_patients": 2,
        "minimum_malignant_patients": 1,
        "left_out": 0,
        "plan_sha256": plan.sha256,
        "models": {
            "candidate": {"version": version, "sha256": sha256, "seen": 0},
            "active": active,
        },
        "limits": [],
        "pictures": [],
        **told,
    }
    training_succeed(
        actor=WORKER,
        claim=claim,
        weights=weights,
        card=card_of(weights, version),
        news=TrainingNews(),
        report=json.dumps(report).encode(),
    )
    run.refresh_from_db()
    return run
