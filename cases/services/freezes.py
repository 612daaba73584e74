"""Asking for a snapshot of accepted images. The worker's side: freeze_work.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import transaction

from cases import queue
from cases.access import Actor, Capability
from cases.errors import FieldInvalid, PermissionDenied, StateConflict
from cases.models import Job, SnapshotFreeze
from cases.services.clock import clock_now
from cases.services.locks import advisory_lock
from cases.services.moves import job_audit, jobs_record
from cases.services.review import reason_required, text_check
from cases.states import JOB
from cases.vocabulary import JobKind, PriorityRank, SnapshotRole

ACTIVE = [state.value for state in JOB.active]
MAX_NAME = 80


@dataclass(frozen=True)
class FreezeFields:
    """What is asked for. ``share``: of 100 patients on neither side, for a locked set."""

    role: SnapshotRole
    name: str
    share: int
    reason: str


def freeze_fields_parse(raw: Mapping[str, Any]) -> FreezeFields:
    """``raw`` (strings of a form) checked. ``FieldInvalid`` with all that is wrong at once."""
    errors: dict[str, list[str]] = {}
    name = reason = ""
    try:
        role = SnapshotRole(str(raw.get("role") or ""))
    except ValueError:
        role = SnapshotRole.TRAINING
        errors["role"] = ["Say what the snapshot is for: training, or a locked test set."]
    try:
        name = text_check(str(raw.get("name") or ""), name="name", limit=MAX_NAME)
        if not name or "\n" in name:
            errors["name"] = ["Give it a name of one line, without any patient's."]
    except FieldInvalid as error:
        errors |= error.errors or {}
    try:
        reason = reason_required(str(raw.get("reason") or ""))
    except FieldInvalid as error:
        errors |= error.errors or {}
    share = 0
    if role is SnapshotRole.LOCKED:
        text = str(raw.get("share") or "").strip()
        if text.isascii() and text.isdigit() and len(text) <= 3 and int(text) <= 100:
            share = int(text)
        else:
            errors["share"] = ["A whole number from 0 to 100."]
    if errors:
        raise FieldInvalid(errors=errors)
    return FreezeFields(role, name, share, reason)


@transaction.atomic
def freeze_request(*, actor: Actor, fields: FreezeFields) -> SnapshotFreeze:
    """A PENDING job that freezes the site's accepted images, rung for on commit.

    ``StateConflict`` while another one of the site waits or runs: pressed twice is once.
    ``PermissionDenied`` without CURATE, and for every token: it puts patients on a side for ever,
    and takes a person at the portal.
    """
    actor.require(Capability.CURATE)
    if actor.user_id is None or actor.token_id is not None:
        raise PermissionDenied("Freezing accepted images takes a person at the portal.")
    site_id = actor.own_site
    advisory_lock("freeze-request", str(site_id), wait=True)
    on = SnapshotFreeze.objects.filter(job__site_id=site_id, job__state__in=ACTIVE).first()
    if on is not None:
        raise StateConflict(f"A snapshot is being made already: {on.name}. Wait for its end.")
    job = Job.objects.create(
        kind=JobKind.FREEZE,
        site_id=site_id,
        priority=PriorityRank.ROUTINE,
        due_at=clock_now(),
        max_attempts=settings.BCWEB_MAX_ATTEMPTS,
        request_id=actor.request_id,
    )
    job.refresh_from_db()
    jobs_record([job], {}, actor=actor, reason="")
    freeze = SnapshotFreeze.objects.create(
        job=job,
        role=fields.role,
        name=fields.name,
        share=fields.share,
        reason=fields.reason,
        requested_by=actor.label,
        requested_by_user_id=actor.user_id,
        created_at=clock_now(),
    )
    freeze.refresh_from_db()
    told = {"role": fields.role.value, "share": fields.share, "reason": fields.reason}
    job_audit(actor, job, "job.created", detail=told)
    queue.ring_on_commit(kind=JobKind.FREEZE, job_ids=[job.pk])
    return freeze
