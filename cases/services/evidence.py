"""What people state of a patient at an examination that lies outside the models' evidence."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from django.db import transaction

from cases.access import Actor, Capability
from cases.models import CaseCircumstance
from cases.services.audit import audit_record
from cases.services.review import case_locked
from cases.vocabulary import Circumstance


@transaction.atomic
def case_circumstances_state(
    *, actor: Actor, case_id: UUID, stated: Mapping[Circumstance, bool]
) -> list[CaseCircumstance]:
    """Note which circumstances apply at an examination; those not in ``stated`` stay as they are.

    Each change is a new row, and what is so already makes none: twice is once. No answer changes by
    it. The trail says that something was stated, not what: that is health data. ``NotFound`` at
    another site, ``Erased``, ``PermissionDenied`` without SUBMIT (whoever brings a patient's images
    knows them).
    """
    actor.require(Capability.SUBMIT)
    case = case_locked(actor=actor, case_id=case_id)
    rows = CaseCircumstance.objects.filter(case=case).order_by("kind", "-id")
    now = {row.kind: row.applies for row in rows.distinct("kind")}
    changed = [kind for kind, applies in stated.items() if now.get(kind.value, False) != applies]
    if not changed:
        return []
    made = [
        CaseCircumstance.objects.create(
            case=case,
            kind=kind.value,
            applies=stated[kind],
            stated_by_id=actor.user_id,
            stated_by_label=actor.label,
        )
        for kind in changed
    ]
    audit_record(
        actor=actor,
        action="case.circumstances_stated",
        object_type="case",
        object_id=case.pk,
        site_id=case.site_id,
        case_id=case.pk,
        changed_fields=["circumstances"],
    )
    return made
