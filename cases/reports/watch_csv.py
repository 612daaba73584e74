"""What is watched as CSV, one figure a line. Pure functions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cases.measures import Share
from cases.reports.csv_lines import csv_lines
from cases.watching import Watch, WatchRow

COLUMNS = (
    "site",
    "model_version",
    "model_sha256",
    "device",
    "measure",
    "of",
    "basis",
    "count",
    "n",
    "value",
    "low95",
    "high95",
)
_Line = tuple[Any, ...]


def watch_csv(told: Watch) -> Iterator[str]:
    """Lines, the head first. ``value`` and interval are empty where ``n`` is too small for them."""
    return csv_lines(COLUMNS, (line for row in told.rows for line in _row(row)))


def _row(row: WatchRow) -> Iterator[_Line]:
    head = (row.site, row.version, row.sha256, row.device_name)
    for line in (*_mix(row), *_outcomes(row), *_calibration(row), *_drift(row)):
        yield (*head, *line)


def _share(measure: str, share: Share, of: str = "", basis: str = "") -> _Line:
    figures = ["" if v is None else round(v, 6) for v in (share.value, share.low, share.high)]
    return (measure, of, basis, share.count, share.n, *figures)


def _mix(row: WatchRow) -> Iterator[_Line]:
    for prefix, mix in (("", row.mix), ("recent_", row.recent)):
        for label, count in sorted(mix.answered.items()):
            yield _share(f"{prefix}answered", mix.share(count), label)
        yield _share(f"{prefix}abstained", mix.abstained_share)
        yield _share(f"{prefix}refused", mix.refused_share)
        for code, count in sorted(mix.refused.items()):
            yield _share(f"{prefix}refused", mix.share(count), code)
    yield ("withdrawn", "", "", row.withdrawn, "", "", "", "")


def _outcomes(row: WatchRow) -> Iterator[_Line]:
    for basis, known in row.known.items():
        if not known.n:
            continue
        for measure in (
            "sensitivity",
            "specificity",
            "ppv",
            "sensitivity_all",
            "specificity_all",
        ):
            yield _share(measure, getattr(known, measure), basis=basis.value)
    yield _share("verified", row.verification.above, "above")
    yield _share("verified", row.verification.below, "below")


def _calibration(row: WatchRow) -> Iterator[_Line]:
    if row.calibration is None:
        return
    error = row.calibration.error
    told = "" if error is None else round(error, 6)
    yield ("calibration_error", "", "verified", "", row.calibration.n, told, "", "")
    width = 1 / len(row.calibration.bins)
    for number, one in enumerate(row.calibration.bins):
        if one.n:
            of = f"{number * width:.3f}-{(number + 1) * width:.3f} mean {one.mean_score:.3f}"
            yield _share("calibration_bin", one.share, of, "verified")


def _drift(row: WatchRow) -> Iterator[_Line]:
    if row.drift is None:
        return
    of = row.drift.reference.of
    psi = "" if row.drift.psi is None else round(row.drift.psi, 6)
    yield ("drift_psi", of, "", "", row.drift.n, psi, "", "")
    yield _share("drift_beyond_p95", row.drift.far, of)
    for number, count in enumerate(row.drift.counts, start=1):
        yield _share("drift_tenth", Share(count, row.drift.n), str(number))
