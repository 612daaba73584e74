"""The rows of the worklist: cases as one line each, and a fingerprint to poll by."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from cases.models import Case
from cases.portal.wording import STATES, StateWords, person_name
from cases.reports.answers import case_summary


@dataclass(frozen=True)
class Row:
    """One case as the worklist shows it. Patient fields are empty where they are hidden."""

    case_id: UUID
    accession: str
    patient_name: str
    patient_id: str
    images: int
    key: str
    words: str
    score: float | None
    threshold: float | None
    # Of the answers that were withdrawn: shown struck through.
    withdrawn_score: float | None
    withdrawn_threshold: float | None
    coverage: str
    received_at: datetime
    is_final: bool
    erased: bool

    @property
    def state(self) -> StateWords:
        return STATES[self.key]


def row_of(case: Case, *, with_identity: bool) -> Row:
    summary = case_summary(case)
    top, taken = summary.top, summary.withdrawn_top
    return Row(
        case_id=case.pk,
        accession=case.accession_number,
        patient_name=person_name(case.patient.name) if with_identity else "",
        patient_id=case.patient.patient_id if with_identity else "",
        images=summary.images,
        key="erased" if case.patient.erased_at is not None else summary.key,
        words="Erased" if case.patient.erased_at is not None else summary.words,
        score=top.score_malignant if top else None,
        threshold=top.threshold if top else None,
        withdrawn_score=taken.score_malignant if taken else None,
        withdrawn_threshold=taken.threshold if taken else None,
        coverage=summary.coverage,
        received_at=case.created_at,
        is_final=summary.is_final,
        erased=case.patient.erased_at is not None,
    )


def rows_of(cases: Iterable[Case], *, with_identity: bool) -> list[Row]:
    return [row_of(case, with_identity=with_identity) for case in cases]


def fingerprint(rows: Sequence[Row], newer: int) -> str:
    """Changes exactly when the page would look different."""
    return hashlib.sha256(repr((rows, newer)).encode()).hexdigest()[:16]
