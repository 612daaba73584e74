"""Reading snapshots: which there are, what is in them, how they differ."""

from __future__ import annotations

import json
from typing import Any

from django.db.models import Case, Exists, OuterRef, Q, QuerySet, Value, When

from cases.access import Actor, Capability
from cases.errors import NotFound
from cases.models import GatePlan, TrainingSnapshot
from cases.storage import read_bytes
from cases.vocabulary import SnapshotRole


def snapshot_list(*, actor: Actor) -> QuerySet[TrainingSnapshot]:
    """All snapshots, newest first, for viewers of models and trainers. They belong to no site.

    ``is_locked``: models are judged on it, and nobody trains from it.
    """
    if not actor.can(Capability.TRAIN):
        actor.require(Capability.VIEW_MODELS)
    planned = Exists(GatePlan.objects.filter(locked_set=OuterRef("pk")))
    locked = Case(
        When(Q(role=SnapshotRole.LOCKED) | planned, then=Value(True)), default=Value(False)
    )
    return TrainingSnapshot.objects.annotate(is_locked=locked).order_by("-created_at", "-id")


def snapshot_list_free(*, actor: Actor) -> QuerySet[TrainingSnapshot]:
    """Those of them that models may be trained from: not locked, by a plan or when made."""
    return free(snapshot_list(actor=actor))


def free(snapshots: QuerySet[TrainingSnapshot]) -> QuerySet[TrainingSnapshot]:
    return snapshots.filter(gate_plans=None).exclude(role=SnapshotRole.LOCKED)


def snapshot_get(*, actor: Actor, snapshot_id: str) -> TrainingSnapshot:
    """One snapshot. ``NotFound`` where there is none of that id."""
    snapshot = snapshot_list(actor=actor).filter(pk=snapshot_id).first()
    if snapshot is None:
        raise NotFound()
    return snapshot


def snapshot_find(*, text: str) -> TrainingSnapshot:
    """A snapshot by its id, the beginning of it, or "newest" (that can be trained from).

    ``NotFound`` where there is none, or where several begin so.
    """
    snapshots = TrainingSnapshot.objects.order_by("-created_at", "-id")
    if text == "newest":
        found = list(free(snapshots.exclude(data_root=""))[:1])
    else:
        found = list(snapshots.filter(pk__startswith=text)[:2]) if text else []
    if len(found) != 1:
        raise NotFound("There is no snapshot, or more than one, of this id.")
    return found[0]


def snapshot_has(*, snapshot_id: str) -> bool:
    return TrainingSnapshot.objects.filter(pk=snapshot_id).exists()


def snapshot_document(snapshot: TrainingSnapshot) -> dict[str, Any]:
    """The whole document. Raises ``FileNotFoundError`` or ``OSError`` where it is damaged."""
    document: dict[str, Any] = json.loads(read_bytes(snapshot.storage_name))
    return document
