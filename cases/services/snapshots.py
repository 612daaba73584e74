"""Snapshots known to the service: which there are, and where their pictures lie."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from typing import Any
from uuid import UUID

from django.core.files.base import ContentFile
from django.db import transaction

from cases.access import Actor, Capability
from cases.models import TrainingSnapshot
from cases.services.audit import audit_record
from cases.services.clock import clock_now
from cases.services.imported_patients import imported_patients_keep
from cases.services.locks import advisory_lock
from cases.storage import store_once


def snapshot_storage_name(snapshot_id: str) -> str:
    return f"snapshots/{snapshot_id}.json"


@transaction.atomic
def snapshot_register(
    *,
    actor: Actor,
    document: Mapping[str, Any],
    content: bytes,
    name: str,
    data_root: str,
    patient_keys: Collection[str] = (),
    role: str = "",
    made_by: str = "",
    site_id: UUID | None = None,
) -> tuple[TrainingSnapshot, bool]:
    """Make a snapshot known, with its document in storage. Returns (row, whether it is new).

    ``document`` has been checked against its id by the caller, and ``content`` is its text.
    ``data_root``: the folder its pictures are relative to; "" where nobody knows. ``patient_keys``
    (`imported_patients`): of the patients it holds, where the caller has read their ids.
    ``role``: what a snapshot of accepted images is for; ``made_by``: who asked for it;
    ``site_id``: whose patients it holds (None: an imported folder, which is everybody's).
    Known already: nothing changes but that folder, where another one is told, and the site of one
    of accepted images, where an earlier version told none; keys that are new are added.
    """
    actor.require(Capability.CURATE)
    snapshot_id = str(document["id"])
    advisory_lock("snapshot", snapshot_id, wait=True)
    known = TrainingSnapshot.objects.filter(pk=snapshot_id).first()
    if known is not None:
        imported_patients_keep(known, patient_keys)
        if known.role and known.site_id is None and site_id is not None:
            TrainingSnapshot.objects.filter(pk=known.pk).update(site_id=site_id)
            known.refresh_from_db()
        return _moved(actor, known, data_root), False
    storage_name = snapshot_storage_name(snapshot_id)
    store_once(storage_name, ContentFile(content))
    made = TrainingSnapshot.objects.create(
        pk=snapshot_id,
        name=name[:200],
        images=len(document["files"]),
        classes=document["classes"],
        sources=[
            {key: source[key] for key in ("source", "images", "licence")}
            for source in document["sources"]
        ],
        grouping=document["grouping"],
        skipped=len(document["skipped"]),
        data_root=data_root,
        storage_name=storage_name,
        document_sha256=hashlib.sha256(content).hexdigest(),
        role=role,
        site_id=site_id,
        created_by=made_by or actor.label,
        created_at=clock_now(),
    )
    imported_patients_keep(made, patient_keys)
    audit_record(
        actor=actor,
        action="snapshot.registered",
        object_type="snapshot",
        object_id=snapshot_id,
        site_id=site_id,
        detail={"images": made.images, "pictures_known": bool(data_root)},
    )
    made.refresh_from_db()
    return made, True


def _moved(actor: Actor, snapshot: TrainingSnapshot, data_root: str) -> TrainingSnapshot:
    """Note another folder for the pictures; whether they are there is checked by each run."""
    if not data_root or data_root == snapshot.data_root:
        return snapshot
    TrainingSnapshot.objects.filter(pk=snapshot.pk).update(data_root=data_root)
    audit_record(
        actor=actor,
        action="snapshot.moved",
        object_type="snapshot",
        object_id=snapshot.pk,
        changed_fields=["data_root"],
    )
    snapshot.data_root = data_root
    return snapshot
