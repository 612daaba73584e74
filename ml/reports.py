"""Evaluation results as text and tables for people."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import Any

from ml.config import CLASSES
from ml.scored import Scored

MAIN = (
    "accuracy",
    "macro_precision",
    "macro_recall",
    "macro_f1",
    "auc_malignant",
    "auc_macro",
    "average_precision",
    "sensitivity",
    "specificity",
    "specificity_at_95_sensitivity",
    "specificity_at_98_sensitivity",
    "brier",
    "ece",
)
_PART = ("accuracy", "auc_malignant", "sensitivity", "specificity")


def predictions_csv(scored: Scored) -> str:
    """The contract's predictions table: file,label,p_benign,p_malignant,p_normal,outcome.

    ``label`` is the answer, empty where there is none.
    """
    buffer = io.StringIO()
    table = csv.writer(buffer, lineterminator="\n")
    table.writerow(["file", "label", *(f"p_{name}" for name in CLASSES), "outcome"])
    rows = zip(scored.records, scored.labels, scored.scores, scored.outcomes, strict=True)
    for record, label, scores, outcome in rows:
        table.writerow([record.file, label or "", *(f"{s:.6f}" for s in scores), outcome])
    return buffer.getvalue()


def summary(result: Mapping[str, Any]) -> str:
    """The main figures with their intervals, one a line, then tables and parts."""
    lines = [
        f"{result['n']} pictures in {result['n_groups']} groups: {result['counts']}",
        f"groups: {result['grouping_rule']}",
    ]
    for key in MAIN:
        if result[key] is not None:
            chance = f"  by chance alone {result['ece_floor']:.3f}" if key == "ece" else ""
            interval = _range(result["ci95"].get(key))
            lines.append(f"{key:30s} {result[key]:.3f}  {interval}{chance}")
    for wanted, found in result["specificity_at_sensitivity"].items():
        if found is not None:
            lines.append(_reached(wanted, found))
    at_point = result["at_operating_point"]
    lines.append(f"{'accuracy at operating point':30s} {at_point['accuracy']:.3f}")
    lines.append(f"{'malignant called normal':30s} {result['malignant_called_normal']}")
    for name, part in (("largest score", result), ("operating point", at_point)):
        lines.append(f"confusion by the {name} (rows truth, columns answer; {', '.join(CLASSES)}):")
        lines.extend("  " + " ".join(f"{v:5d}" for v in row) for row in part["confusion"])
    cancer = result["cancer_confusion"]
    lines.append(f"{' / '.join(cancer['classes'])} at the operating point:")
    lines.extend("  " + " ".join(f"{v:5d}" for v in row) for row in cancer["operating_point"])
    return "\n".join([*lines, *_predictive(result), *_outcomes(result), *_parts(result)])


def _range(interval: list[float] | None) -> str:
    return "" if interval is None else f"[{interval[0]:.3f}, {interval[1]:.3f}]"


def _reached(wanted: str, found: Mapping[str, Any]) -> str:
    return (
        f"  at {100 * float(wanted):.0f} % sensitivity: {found['caught']} of {found['malignant']} "
        f"caught, {_range(found['sensitivity_wilson95'])}, lower bound "
        f"{found['sensitivity_wilson95'][0]:.3f}; specificity {found['specificity']:.3f} "
        f"{_range(found['specificity_wilson95'])} (Wilson)"
    )


def _predictive(result: Mapping[str, Any]) -> list[str]:
    """Only there when a prevalence was stated."""
    values = result.get("predictive_values")
    if values is None:
        return []
    intervals = result["ci95"].get("predictive_values", {})
    share = f"{100 * values['prevalence']:g} %"
    return [
        f"{key.upper()} at a stated prevalence of {share}: {values[key]:.4f} "
        f"{_range(intervals.get(key))}"
        for key in ("ppv", "npv")
        if values[key] is not None
    ]


def _outcomes(result: Mapping[str, Any]) -> list[str]:
    refused, abstained = result["n_refused"], result["n_abstained"]
    checked = "refusal not checked" if refused is None else f"refused {refused}"
    lines = [f"{checked}, abstained {abstained} of {result['n']}"]
    if refused or abstained:
        counted = result["as_if_positive"]
        lines.extend(
            f"  {key} if these count as called malignant: {counted[key]:.3f} "
            f"{_range(counted['wilson95'][key])}"
            for key in ("sensitivity", "specificity")
            if counted[key] is not None
        )
    lines.append("coverage by the largest score: " + "; ".join(_covered(result["coverage"])))
    return lines


def _covered(rows: list[Mapping[str, Any]]) -> list[str]:
    return [f"{100 * row['coverage']:.0f} %: error {row['error']:.3f}" for row in rows]


def _parts(result: Mapping[str, Any]) -> list[str]:
    lines: list[str] = []
    for key in ("per_source", "per_device", "per_birads", "per_lesion_area"):
        parts = result[key] or {}
        if len([v for v in parts.values() if isinstance(v, dict)]) < 2:
            continue
        lines.append(f"{key.replace('_', ' ')} (sensitivity, specificity: Wilson's intervals):")
        for name, part in parts.items():
            if isinstance(part, dict):
                lines.append(f"  {name}: n {part['n']}, {_short(part)}")
    return lines


def _short(part: Mapping[str, Any]) -> str:
    """Shares with Wilson's intervals: resampling shows no spread in 20 of 20."""
    bounds = {**part["ci95"], **part["wilson95"]}
    known = [(key, part[key]) for key in _PART if part[key] is not None]
    return ", ".join(f"{k} {v:.3f} {_range(bounds.get(k))}" for k, v in known)
