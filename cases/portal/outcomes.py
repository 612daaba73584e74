"""Findings of a case, what they turned out to be, and the forms that say so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.utils.translation import gettext
from django.utils.translation import gettext_noop as _

from cases.access import Actor, Capability
from cases.errors import UserFacingError
from cases.models import Case, Finding, FindingOutcome
from cases.portal.wording import LATERALITY, QUADRANT
from cases.selectors.outcomes import outcomes_of
from cases.vocabulary import Laterality, OutcomeBasis, Pathology, training_label
from cases.words import Words

PATHOLOGY = Words(
    {
        Pathology.INVASIVE: _("Invasive carcinoma"),
        Pathology.IN_SITU: _("Carcinoma in situ"),
        Pathology.HIGH_RISK: _("High-risk lesion (B3)"),
        Pathology.BENIGN: _("Benign"),
        Pathology.INSUFFICIENT: _("Sample insufficient"),
    }
)
BASIS = Words(
    {
        OutcomeBasis.HISTOLOGY: _("Histology"),
        OutcomeBasis.FOLLOW_UP: _("Follow-up, unchanged for at least 24 months"),
        OutcomeBasis.READER_ONLY: _("The reader's judgement only"),
    }
)
CLOCK = (12, *range(1, 12))


@dataclass(frozen=True)
class OutcomeWords:
    outcome: FindingOutcome
    pathology: str
    basis: str
    label: str
    reason: str


@dataclass(frozen=True)
class TypedForm:
    """What was typed into a form, and what is wrong with it by field."""

    values: Mapping[str, Any] = field(default_factory=dict)
    errors: Mapping[str, Sequence[str]] = field(default_factory=dict)


def typed_form(
    values: Mapping[str, Any] | None = None, error: UserFacingError | None = None
) -> TypedForm:
    return TypedForm(values or {}, (error.errors if error else None) or {})


@dataclass(frozen=True)
class FindingOutcomes:
    """A finding, its outcome that counts now, and those that counted before (newest first)."""

    finding: Finding
    images: tuple[int, ...]
    current: OutcomeWords | None
    earlier: tuple[OutcomeWords, ...]

    @property
    def key(self) -> str:
        return str(self.finding.number)


def outcomes_context(*, actor: Actor, case: Case) -> dict[str, Any]:
    """What the case page needs for its findings and their outcomes."""
    outcomes = outcomes_of(case_ids=[case.pk])
    with_reason = actor.can(Capability.VIEW_IDENTITY)
    images = list(enumerate(case.images.all(), start=1))
    rows = []
    for finding in case.findings.all():
        told = [_words(o, with_reason) for o in outcomes if o.finding_id == finding.pk]
        shown = tuple(number for number, image in images if image.finding_id == finding.pk)
        rows.append(
            FindingOutcomes(finding, shown, told[-1] if told else None, tuple(told[-2::-1]))
        )
    return {
        "finding_outcomes": rows,
        "can_record": actor.can(Capability.RECORD_OUTCOMES),
        "outcome_form": typed_form(),
        "finding_form": typed_form(),
        **form_choices(case),
    }


def form_choices(case: Case) -> dict[str, Any]:
    """What the two forms offer to choose from."""
    return {
        "pathologies": [(p.value, words) for p, words in PATHOLOGY.items()],
        "bases": [(b.value, words) for b, words in BASIS.items()],
        "sides": [(s.value, LATERALITY[s]) for s in (Laterality.LEFT, Laterality.RIGHT)],
        "quadrants": [(q.value, words) for q, words in QUADRANT.items()],
        "clock": CLOCK,
        "images_without_finding": [
            (number, image)
            for number, image in enumerate(case.images.all(), start=1)
            if image.finding_id is None
        ],
    }


def _words(outcome: FindingOutcome, with_reason: bool) -> OutcomeWords:
    label = training_label(Pathology(outcome.pathology))
    return OutcomeWords(
        outcome=outcome,
        pathology=PATHOLOGY[Pathology(outcome.pathology)],
        basis=BASIS[OutcomeBasis(outcome.basis)],
        label=gettext(label.value) if label else "",
        reason=outcome.reason if with_reason else "",
    )
