"""Reading snapshots: which there are, what is in them, how they differ."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

from django.db.models import Case, Exists, OuterRef, Q, QuerySet, Value, When

from cases.access import Actor, Capability
from cases.errors import NotFound
from cases.models import FrozenPicture, GatePlan, TrainingSnapshot
from cases.states import CandidateState
from cases.storage import read_bytes
from cases.vocabulary import SnapshotLineage, SnapshotRole


def at_site(site_id: UUID) -> Q:
    """Snapshots that a site may see and train from: its own, and imported folders.

    One of accepted images that no site is told of (made by an earlier version) is nobody's.
    """
    return Q(site_id=site_id) | Q(site__isnull=True, role="")


def snapshot_list(*, actor: Actor) -> QuerySet[TrainingSnapshot]:
    """The snapshots of the actor's site and of imported folders, newest first, for viewers of
    models and trainers.

    ``is_locked``: models are judged on it, and nobody trains from it.
    """
    if not actor.can(Capability.TRAIN):
        actor.require(Capability.VIEW_MODELS)
    planned = Exists(GatePlan.objects.filter(locked_set=OuterRef("pk")))
    locked = Case(
        When(Q(role=SnapshotRole.LOCKED) | planned, then=Value(True)), default=Value(False)
    )
    snapshots = TrainingSnapshot.objects.filter(at_site(actor.own_site))
    return snapshots.annotate(is_locked=locked).order_by("-created_at", "-id")


def snapshot_list_free(*, actor: Actor) -> QuerySet[TrainingSnapshot]:
    """Those of them that models may be trained from: not locked, by a plan or when made."""
    return free(snapshot_list(actor=actor), site_id=actor.own_site)


def free(snapshots: QuerySet[TrainingSnapshot], *, site_id: UUID) -> QuerySet[TrainingSnapshot]:
    """Those that a training of the site may choose."""
    unlocked = snapshots.filter(gate_plans=None).exclude(role=SnapshotRole.LOCKED)
    return unlocked.filter(at_site(site_id))


def of_lineage(
    snapshots: QuerySet[TrainingSnapshot], *, kind: SnapshotLineage, name: str, site_id: UUID
) -> QuerySet[TrainingSnapshot]:
    """Those of them that a schedule of the site takes the newest of."""
    if kind is SnapshotLineage.FROZEN:
        return snapshots.filter(role=SnapshotRole.TRAINING, site_id=site_id)
    if kind is SnapshotLineage.IMPORTED:
        return snapshots.filter(role="", name=name)
    return snapshots


def imported_names(*, actor: Actor) -> list[str]:
    """The names of imported folders, as `snapshot_list`, for the form of a schedule."""
    imported = snapshot_list(actor=actor).filter(role="").exclude(data_root="")
    return list(imported.order_by("name").values_list("name", flat=True).distinct())


def snapshot_get(*, actor: Actor, snapshot_id: str) -> TrainingSnapshot:
    """One snapshot. ``NotFound`` where there is none of that id, or it is another site's."""
    snapshot = snapshot_list(actor=actor).filter(pk=snapshot_id).first()
    if snapshot is None:
        raise NotFound()
    return snapshot


def snapshot_find(*, site_id: UUID, text: str) -> TrainingSnapshot:
    """A snapshot of a site or of an imported folder by its id, the beginning of it, or "newest"
    (that can be trained from).

    ``NotFound`` where there is none, or where several begin so.
    """
    snapshots = TrainingSnapshot.objects.filter(at_site(site_id)).order_by("-created_at", "-id")
    if text == "newest":
        usable = free(snapshots.exclude(data_root=""), site_id=site_id)
        found = list(without_void(usable)[:1])
    else:
        found = list(snapshots.filter(pk__startswith=text)[:2]) if text else []
    if len(found) != 1:
        raise NotFound("There is no snapshot, or more than one, of this id.")
    return found[0]


def frozen_void() -> QuerySet[FrozenPicture]:
    """Frozen pictures that nobody may look at or train on any more: their patient's data was
    erased, the patient opted out, or the image is no longer accepted."""
    patient = "candidate__image__case__patient__"
    return FrozenPicture.objects.filter(
        Q(**{f"{patient}erased_at__isnull": False})
        | Q(**{f"{patient}research_opt_out": True})
        | ~Q(candidate__state=CandidateState.ACCEPTED)
    )


def snapshot_void_count(snapshot: TrainingSnapshot) -> int:
    """How many of a snapshot's pictures are such."""
    void = frozen_void().filter(freeze__snapshot=snapshot)
    return void.values("sha256").distinct().count()


def snapshot_void_hashes(snapshot: TrainingSnapshot) -> list[str]:
    """Which they are, by the SHA-256 of their files."""
    void = frozen_void().filter(freeze__snapshot=snapshot)
    return sorted(set(void.values_list("sha256", flat=True)))


def without_void(snapshots: QuerySet[TrainingSnapshot]) -> QuerySet[TrainingSnapshot]:
    """Those that hold no such picture."""
    return snapshots.filter(~Exists(frozen_void().filter(freeze__snapshot=OuterRef("pk"))))


def snapshot_has(*, snapshot_id: str) -> bool:
    return TrainingSnapshot.objects.filter(pk=snapshot_id).exists()


def snapshot_document(snapshot: TrainingSnapshot) -> dict[str, Any]:
    """The whole document. Raises ``FileNotFoundError`` or ``OSError`` where it is damaged."""
    document: dict[str, Any] = json.loads(read_bytes(snapshot.storage_name))
    return document
