"""Noting that somebody drew up a recall list."""

from __future__ import annotations

from datetime import datetime

from cases.access import Actor
from cases.models import AuditEvent, ModelVersion
from cases.services.audit import audit_record


def recall_note(
    *,
    actor: Actor,
    model: ModelVersion,
    since: datetime | None,
    until: datetime | None,
    cases: int,
    results: int,
    exported: bool,
) -> AuditEvent:
    """Audit that the cases a version answered in a period were listed, or taken away as CSV."""
    return audit_record(
        actor=actor,
        action="recall.exported" if exported else "recall.listed",
        object_type="model",
        object_id=model.pk,
        detail={
            "sha256": model.sha256,
            "since": since.isoformat() if since else None,
            "until": until.isoformat() if until else None,
            "cases": cases,
            "results": results,
        },
    )
