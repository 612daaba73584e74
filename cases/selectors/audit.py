"""Reading the audit trail."""

from __future__ import annotations

from uuid import UUID

from django.db.models import QuerySet

from cases.access import Actor, Capability
from cases.models import AuditEvent


def audit_list(*, actor: Actor) -> QuerySet[AuditEvent]:
    """The events of the actor's site, and those of no site, newest first."""
    actor.require(Capability.VIEW_AUDIT)
    events = AuditEvent.objects.order_by("-id")
    own = events.filter(site_id=actor.site_id) | events.filter(site_id__isnull=True)
    return own.order_by("-id")


def case_audit(*, case_id: UUID) -> QuerySet[AuditEvent]:
    """What happened to one case, oldest first. The caller has let the actor see the case."""
    return AuditEvent.objects.filter(case_id=case_id).order_by("id")


def audit_has(*, action: str, object_id: str) -> bool:
    """Whether the trail holds this action on this object."""
    return AuditEvent.objects.filter(action=action, object_id=object_id).exists()
