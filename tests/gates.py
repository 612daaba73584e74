"""Gate plans to start from, made through the services."""

from __future__ import annotations

from typing import Any

from cases.access import Actor
from cases.models import GatePlan, Site, TrainingSnapshot
from cases.services.gate_fields import gate_plan_parse
from cases.services.gates import gate_plan_create
from tests.factories import make_actor, unique
from tests.training import make_snapshot

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
