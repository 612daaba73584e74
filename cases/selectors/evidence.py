"""What lies outside the models' evidence, and what their cards say they were measured to do."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any
from uuid import UUID

from cases.models import CaseCircumstance, ModelVersion
from cases.vocabulary import Circumstance


def circumstances_of(*, case_id: UUID) -> list[CaseCircumstance]:
    """The newest statement of each kind about a case the actor may see, in one query."""
    rows = CaseCircumstance.objects.filter(case_id=case_id).order_by("kind", "-id")
    return list(rows.distinct("kind"))


def stated_of(*, case_id: UUID) -> frozenset[Circumstance]:
    """The circumstances that people stated for a case the actor may see."""
    rows = circumstances_of(case_id=case_id)
    return frozenset(Circumstance(row.kind) for row in rows if row.applies)


def cards_of(model_ids: Collection[UUID]) -> dict[UUID, dict[str, Any]]:
    """The cards of these versions, which the selectors of answers leave out: they are long."""
    if not model_ids:
        return {}
    return dict(ModelVersion.objects.filter(pk__in=model_ids).values_list("pk", "card"))
