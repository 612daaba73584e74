"""What the models were not tested on, as the case page shows it and asks for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext

from cases.access import Actor, Capability
from cases.models import Case, CaseCircumstance
from cases.reports.evidence import CIRCUMSTANCE_WORDS, MEANING, case_flags
from cases.selectors.evidence import circumstances_of
from cases.vocabulary import Circumstance


@dataclass(frozen=True)
class CircumstanceChoice:
    """A circumstance with its box, and who said so last."""

    value: str
    words: str
    applies: bool
    row: CaseCircumstance | None


def evidence_context(*, actor: Actor, case: Case) -> dict[str, Any]:
    """What the case page needs to show and to state it."""
    rows = {Circumstance(row.kind): row for row in circumstances_of(case_id=case.pk)}
    stated = {kind for kind, row in rows.items() if row.applies}
    with_identity = actor.can(Capability.VIEW_IDENTITY)
    return {
        "case_flags": case_flags(case, stated, with_identity),
        "flags_meaning": gettext(MEANING),
        "circumstances": [
            CircumstanceChoice(kind.value, words, kind in stated, rows.get(kind))
            for kind, words in CIRCUMSTANCE_WORDS.items()
        ],
    }


def changes_of(form: Mapping[str, str]) -> dict[Circumstance, bool]:
    """The boxes somebody changed: what another person ticked meanwhile is not undone by it."""
    return {
        kind: ticked
        for kind in Circumstance
        if (ticked := kind.value in form) != (form.get(f"was_{kind.value}") == "1")
    }
