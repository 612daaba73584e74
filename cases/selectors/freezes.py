"""Reading the snapshots of accepted images that were asked for, and which side patients are on."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from django.db.models import Count, QuerySet

from cases.access import Actor, Capability
from cases.errors import NotFound
from cases.models import PatientPartition, SnapshotFreeze, TrainingSnapshot
from cases.states import JOB, JobState
from cases.vocabulary import SnapshotRole

ENDED = [state.value for state in JOB.final]


def freeze_list(*, actor: Actor) -> QuerySet[SnapshotFreeze]:
    """The freezes of the actor's site, newest first. ``PermissionDenied`` without CURATE."""
    actor.require(Capability.CURATE)
    freezes = SnapshotFreeze.objects.filter(job__site_id=actor.own_site)
    return freezes.select_related("job", "snapshot").order_by("-created_at")


def freeze_get(*, actor: Actor, freeze_id: UUID) -> SnapshotFreeze:
    """One freeze. ``NotFound`` at another site."""
    freeze = freeze_list(actor=actor).filter(pk=freeze_id).first()
    if freeze is None:
        raise NotFound()
    return freeze


def patients_on_sides() -> dict[str, int]:
    """How many patients of all sites are in training, and how many locked."""
    counts = {role.value: 0 for role in SnapshotRole}
    rows = PatientPartition.objects.order_by().values("role").annotate(n=Count("pk"))
    return counts | {row["role"]: row["n"] for row in rows}


def side_of(*, patient_key: str) -> str:
    """On which side the patient with this key is; "" on neither yet."""
    row = PatientPartition.objects.filter(pk=patient_key).first()
    return row.role if row else ""


def freezes_ended(*, freeze_ids: Collection[UUID]) -> set[UUID]:
    """Those of ``freeze_ids`` that have ended, or are not known: their drafts can go."""
    known = SnapshotFreeze.objects.filter(pk__in=freeze_ids).exclude(job__state__in=ENDED)
    return set(freeze_ids) - set(known.values_list("pk", flat=True))


def freezes_unknown(*, snapshot_ids: Collection[str]) -> set[str]:
    """Those of ``snapshot_ids`` that no snapshot has: their folders can go. None while any freeze
    runs: it may have named its folder in a transaction that is not over. Folders are to be listed
    before this is asked."""
    if not snapshot_ids or SnapshotFreeze.objects.filter(job__state=JobState.RUNNING).exists():
        return set()
    known = TrainingSnapshot.objects.filter(pk__in=snapshot_ids).values_list("pk", flat=True)
    return set(snapshot_ids) - set(known)
