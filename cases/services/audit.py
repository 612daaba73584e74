"""The one door to the audit trail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from cases.access import Actor
from cases.models import AuditEvent


def audit_record(
    *,
    actor: Actor,
    action: str,
    object_type: str,
    object_id: UUID | str = "",
    site_id: UUID | None = None,
    case_id: UUID | None = None,
    changed_fields: Sequence[str] = (),
    detail: dict[str, Any] | None = None,
    every_site: bool = False,
) -> AuditEvent:
    """Append one event, in the caller's transaction.

    Without ``site_id`` it is the actor's site's. ``every_site``: of what all sites share, such as
    models, so it is no site's and the auditors of all see it, whoever acted.

    ``action`` is ``noun.verb`` in the past tense (``case.viewed``). ``changed_fields`` holds
    names, and ``detail`` ids, codes and counts: never identity values. Raises ``ValueError``
    where the actor has no label: a change by nobody is not written.
    """
    event = _event(
        actor=actor,
        action=action,
        object_type=object_type,
        object_id=object_id,
        site_id=site_id,
        case_id=case_id,
        changed_fields=changed_fields,
        detail=detail,
        every_site=every_site,
    )
    event.save(force_insert=True)
    return event


def audit_record_all(
    *,
    actor: Actor,
    action: str,
    object_type: str,
    case_of: Mapping[UUID, UUID],
    site_of: Mapping[UUID, UUID] | None = None,
    detail_of: Mapping[UUID, dict[str, Any]] | None = None,
) -> None:
    """Append one event per object (id to its case) in one statement, as ``audit_record`` would.

    ``site_of`` and ``detail_of``: each object's own, where it is not the actor's site and there is
    something to tell.
    """
    AuditEvent.objects.bulk_create(
        _event(
            actor=actor,
            action=action,
            object_type=object_type,
            object_id=object_id,
            site_id=site_of[object_id] if site_of else None,
            case_id=case_id,
            detail=detail_of[object_id] if detail_of else None,
        )
        for object_id, case_id in case_of.items()
    )


def _event(
    *,
    actor: Actor,
    action: str,
    object_type: str,
    object_id: UUID | str,
    site_id: UUID | None = None,
    case_id: UUID | None = None,
    changed_fields: Sequence[str] = (),
    detail: dict[str, Any] | None = None,
    every_site: bool = False,
) -> AuditEvent:
    if not actor.label:
        raise ValueError("an audit event needs an actor")
    if every_site and site_id is not None:
        raise ValueError("an audit event of every site names none")
    return AuditEvent(
        actor_kind=actor.kind.value,
        actor_label=actor.label,
        user_id=actor.user_id,
        token_id=actor.token_id,
        action=action,
        object_type=object_type,
        object_id=str(object_id),
        site_id=None if every_site else site_id or actor.site_id,
        case_id=case_id,
        request_id=actor.request_id,
        changed_fields=list(changed_fields),
        detail=detail or {},
    )
