"""The recall list as CSV, row by row. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from cases.models import ModelVersion, Result
from cases.reports.answers import withdrawal_of
from cases.reports.csv_lines import csv_lines

_IDENTITY = ("patient_id", "patient_issuer", "patient_name", "birth_date")
_COLUMNS = (
    "case_id",
    "accession_number",
    *_IDENTITY,
    "image_id",
    "frame",
    "result_id",
    "answered_at",
    "outcome",
    "label",
    "malignant_score",
    "threshold",
    "withdrawn_at",
    "withdrawn_reason",
    "erased_at",
    "model_version",
    "model_sha256",
)


def recall_columns(*, with_identity: bool) -> list[str]:
    return [name for name in _COLUMNS if with_identity or name not in _IDENTITY]


def recall_csv(
    results: Iterable[Result], *, model: ModelVersion, with_identity: bool
) -> Iterator[str]:
    """Lines of the list, the head first. Patients' names only ``with_identity``.

    ``withdrawn_at`` is filled where the answer must not be used any more, ``erased_at`` where the
    patient's data are gone, and with them what would stand under identity and accession number.
    """
    columns = recall_columns(with_identity=with_identity)
    rows = (_row(result, model) for result in results)
    yield from csv_lines(columns, ([row[name] for name in columns] for row in rows))


def _row(result: Result, model: ModelVersion) -> dict[str, Any]:
    case = result.image.case
    patient = case.patient
    withdrawal = withdrawal_of(result)
    return {
        "case_id": case.pk,
        "accession_number": case.accession_number,
        "patient_id": patient.patient_id,
        "patient_issuer": patient.issuer,
        "patient_name": patient.name,
        "birth_date": patient.birth_date or "",
        "image_id": result.image_id,
        "frame": result.frame,
        "result_id": result.pk,
        "answered_at": result.created_at.isoformat(),
        "outcome": result.outcome,
        "label": result.label,
        "malignant_score": "" if result.score_malignant is None else result.score_malignant,
        "threshold": result.threshold,
        "withdrawn_at": withdrawal.at.isoformat() if withdrawal else "",
        "withdrawn_reason": withdrawal.reason if withdrawal else "",
        "erased_at": patient.erased_at.isoformat() if patient.erased_at else "",
        "model_version": model.version,
        "model_sha256": model.sha256,
    }
