"""The questions to the database behind `selectors.watch`: each one pass, counted there.

Plain SQL, because the figures need what the ORM cannot say: groups of groups, and bins.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection

from cases.measures import CALIBRATION_BINS
from cases.vocabulary import Label, Pathology, training_label
from cases.watching import NO_DEVICE, VERIFIED, WatchFilter

MALIGNANT = [p.value for p in Pathology if training_label(p) is Label.MALIGNANT]
BENIGN = [p.value for p in Pathology if training_label(p) is Label.BENIGN]

# Each image and frame once per version: its newest answer that was not withdrawn.
_STANDING = """standing AS (
  SELECT DISTINCT ON (r.model_version_id, r.image_id, r.frame)
    r.id, r.model_version_id AS version_id, c.site_id, {device} AS device, i.finding_id,
    r.outcome, r.label, r.reason_code, r.score_malignant, r.feature_distance, r.created_at
  FROM cases_result r
  JOIN cases_image i ON i.id = r.image_id
  JOIN cases_case c ON c.id = i.case_id
  LEFT JOIN cases_resultwithdrawal w ON w.result_id = r.id
  WHERE w.result_id IS NULL {where}
  ORDER BY r.model_version_id, r.image_id, r.frame, r.created_at DESC, r.id DESC
)"""
# What a finding turned out to be, as known now.
_CURRENT = """current_outcome AS (
  SELECT o.finding_id, o.pathology, o.basis FROM cases_findingoutcome o
  WHERE NOT EXISTS (SELECT FROM cases_findingoutcome l WHERE l.supersedes_id = o.id)
)"""
_PARTS = {
    "device": "btrim(i.manufacturer || ' ' || i.manufacturer_model)",
    "current_outcome": _CURRENT,
}

# One statement, so that the standing answers, which cost most, are found once.
# - mixes: by week too, of which the page draws lines;
# - findings: once for each version, and once for each device that saw them;
# - bins: a score of exactly 1 belongs to the last.
_COUNTS = """WITH {standing}, {current_outcome}, mixes AS (
  SELECT version_id, site_id, device, outcome, label, reason_code,
    date_trunc('week', created_at)::date AS week, count(*) AS n,
    count(*) FILTER (WHERE created_at >= %(recent)s) AS late
  FROM standing GROUP BY 1, 2, 3, 4, 5, 6, 7
), said AS (
  SELECT version_id, site_id, device, GROUPING(device) = 1 AS all_devices, finding_id,
    CASE WHEN bool_or(outcome = 'answered' AND label = 'malignant') THEN 'above'
      WHEN bool_or(outcome <> 'answered') THEN 'unanswered' ELSE 'below' END AS said
  FROM standing WHERE finding_id IS NOT NULL
  GROUP BY GROUPING SETS (
    (version_id, site_id, finding_id), (version_id, site_id, finding_id, device)
  )
), findings AS (
  SELECT version_id, site_id, CASE WHEN all_devices THEN NULL ELSE device END AS device, said,
    COALESCE(pathology, '') AS pathology, COALESCE(basis, '') AS basis, count(*) AS n
  FROM said LEFT JOIN current_outcome USING (finding_id) GROUP BY 1, 2, 3, 4, 5, 6
), scored AS (
  SELECT version_id, site_id, finding_id, score_malignant AS score,
    pathology = ANY(%(malignant)s) AS malignant,
    least(width_bucket(score_malignant, 0, 1, %(bins)s), %(bins)s) AS bin
  FROM standing JOIN current_outcome USING (finding_id)
  WHERE score_malignant IS NOT NULL AND basis = ANY(%(bases)s) AND pathology = ANY(%(told)s)
), bins AS (
  SELECT version_id, site_id, bin, count(*) AS n, avg(score) AS mean,
    count(*) FILTER (WHERE malignant) AS malignant,
    (SELECT count(DISTINCT f.finding_id) FROM scored f
     WHERE f.version_id = scored.version_id AND f.site_id = scored.site_id) AS findings
  FROM scored GROUP BY 1, 2, 3
)
SELECT 'mixes', to_jsonb(mixes)::text FROM mixes
UNION ALL SELECT 'findings', to_jsonb(findings)::text FROM findings
UNION ALL SELECT 'bins', to_jsonb(bins)::text FROM bins"""

_WITHDRAWN = """SELECT r.model_version_id, c.site_id, {device}, count(*)
FROM cases_resultwithdrawal w
JOIN cases_result r ON r.id = w.result_id
JOIN cases_image i ON i.id = r.image_id
JOIN cases_case c ON c.id = i.case_id
WHERE TRUE {where} GROUP BY 1, 2, 3"""

# The first images a version read at a site, whatever else is asked for.
_FIRST = """WITH first AS (
  SELECT r.feature_distance, r.created_at FROM cases_result r
  JOIN cases_image i ON i.id = r.image_id
  JOIN cases_case c ON c.id = i.case_id
  WHERE r.outcome <> 'refused' AND r.feature_distance IS NOT NULL {where}
  ORDER BY r.created_at, r.id LIMIT %(size)s
)
SELECT count(*), max(created_at),
  percentile_cont(%(points)s::float8[]) WITHIN GROUP (ORDER BY feature_distance) FROM first"""

_DISTANCES = """WITH {standing}
SELECT device, width_bucket(feature_distance, %(deciles)s::float8[]), count(*),
  count(*) FILTER (WHERE feature_distance > %(p95)s)
FROM standing WHERE outcome <> 'refused' AND feature_distance IS NOT NULL
  AND created_at > %(after)s
GROUP BY 1, 2"""


class Asked:
    """The filter as conditions on r, i and c, and their parameters."""

    def __init__(self, wanted: WatchFilter) -> None:
        self.parameters: dict[str, Any] = {}
        self._parts: list[str] = []
        device = "" if wanted.device == NO_DEVICE else wanted.device
        self._add("r.model_version_id = %(version)s", version=wanted.version)
        self._add("c.site_id = %(site)s", site=wanted.site)
        self._add("{device} = %(device)s", device=device)
        self._add("r.created_at >= %(since)s", since=wanted.since)
        self._add("r.created_at < %(until)s", until=wanted.until)

    def _add(self, condition: str, **parameter: Any) -> None:
        if None not in parameter.values():
            self._parts.append(f"AND {condition}")
            self.parameters |= parameter

    def rows(self, template: str, **more: Any) -> list[tuple[Any, ...]]:
        """What ``template`` finds, with the conditions at its ``{where}``."""
        parts = {**_PARTS, "where": " ".join(self._parts).format(**_PARTS)}
        sql = template.format(standing=_STANDING.format(**parts), **parts)
        with connection.cursor() as cursor:
            cursor.execute(sql, {**self.parameters, **more})
            return list(cursor.fetchall())


@dataclass(frozen=True)
class Counts:
    """What `counts` finds, each row by the names of its columns, ids as UUIDs.

    ``mixes``: version_id, site_id, device, outcome, label, reason_code, week (a Monday), n images,
    ``late`` of them recent. ``findings``: version_id, site_id, device (None: of all together), said
    (above, below, unanswered), pathology and basis ("" where no outcome is known), n. ``bins``, of
    findings that histology or follow-up told to be malignant or benign: version_id, site_id, bin
    from 1, n images, mean score, malignant ones, findings in all bins.
    """

    mixes: list[dict[str, Any]] = field(default_factory=list)
    findings: list[dict[str, Any]] = field(default_factory=list)
    bins: list[dict[str, Any]] = field(default_factory=list)


def counts(wanted: WatchFilter, *, recent: datetime) -> Counts:
    """The counts of what is ``wanted``; recent are those since ``recent``."""
    rows = Asked(wanted).rows(
        _COUNTS,
        recent=recent,
        bins=CALIBRATION_BINS,
        malignant=MALIGNANT,
        told=MALIGNANT + BENIGN,
        bases=[basis.value for basis in VERIFIED],
    )
    found = Counts()
    for part, text in rows:
        row = json.loads(text)
        row |= {name: UUID(row[name]) for name in ("version_id", "site_id")}
        getattr(found, part).append(row)
    return found


def withdrawn(wanted: WatchFilter) -> list[tuple[Any, ...]]:
    """(version, site, device, withdrawn answers)."""
    return Asked(wanted).rows(_WITHDRAWN)


def first_distances(
    *, version: UUID, site: UUID, size: int, points: list[float]
) -> tuple[int, datetime | None, list[float] | None]:
    """How many of the first ``size`` distances there are, the time of the last, and ``points``
    of their distribution (0..1)."""
    asked = Asked(WatchFilter(version=version, site=site))
    return asked.rows(_FIRST, size=size, points=points)[0]


def distances(
    wanted: WatchFilter, *, after: datetime, deciles: list[float], p95: float
) -> list[tuple[Any, ...]]:
    """(device, tenth from 0, images, of them beyond ``p95``) of images read after ``after``."""
    return Asked(wanted).rows(_DISTANCES, after=after, deciles=deciles, p95=p95)
