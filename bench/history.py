"""Years of history in a minute: cases with images, jobs, results and audit events, by SQL.

Written past the services, which would take a day: measuring is all these rows are for. They have
the shape and the spread of what the services write (a case has two or three images; most are
answered, some failed, and of a hundred cases one in all its images), and several sites share the
tables. All but the ids follows from a case's number, so that two databases of the same size differ
in nothing that a page could need one query more for.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django.db import connection
from django.urls import reverse

from cases.access import SYSTEM, Actor
from cases.models import Case, Image, Job, Site
from cases.selectors.worklist import Cursor, in_order, worklist
from cases.services.people import site_create
from cases.services.worklist import worklist_fold
from cases.worklisting import worklist_filters_parse
from tests.factories import live_model

# Of all rows; the rest is another site's.
OWN_SHARE = 0.6
SPAN = "interval '3 years'"
# Multiples of the golden ratio, taken modulo 1, are spread evenly and in no order.
GOLDEN = "0.6180339887498949"

_CASES = """
WITH numbered AS (
  SELECT n, gen_random_uuid() AS patient, gen_random_uuid() AS kase, gen_random_uuid() AS sub,
         CASE WHEN n %% 100 < 100 * %(share)s THEN %(own)s::uuid ELSE %(other)s::uuid END AS site,
         now() - mod(n * {golden}, 1)::float * {span} AS at
  FROM generate_series(%(first)s::int, %(last)s::int) AS n
), patients AS (
  INSERT INTO cases_patient (id, site_id, patient_id, issuer, name, sex, created_at)
  SELECT patient, site, 'P' || n, 'BENCH', 'Bench^' || n, 'F', at FROM numbered
), kases AS (
  INSERT INTO cases_case (id, site_id, patient_id, accession_number, accession_issuer,
                          study_instance_uid, indication, created_at)
  SELECT kase, site, patient, 'A' || n, 'BENCH', '', 'symptomatic', at FROM numbered
), submissions AS (
  INSERT INTO cases_submission (id, site_id, case_id, idempotency_key, fingerprint, skipped,
                                override_reason, created_at)
  SELECT sub, site, kase, '', repeat('0', 64), '[]', '', at FROM numbered
), pictures AS (
  SELECT gen_random_uuid() AS image, gen_random_uuid() AS job, gen_random_uuid() AS result,
         numbered.*, position,
         CASE WHEN n %% 100 = 7 THEN 0.99 ELSE mod((4 * n + position) * {golden}, 1)::float END
           AS fate
  FROM numbered, generate_series(0, 1 + (n %% 2)) AS position
), images AS (
  INSERT INTO cases_image (id, case_id, submission_id, position, file_name, sha256, size,
    storage_name, format, media_type, width, height, frames, frame, laterality,
    study_instance_uid, series_instance_uid, sop_instance_uid, manufacturer, manufacturer_model,
    header_overruled, facts, created_at)
  SELECT image, kase, sub, position, 'image.jpg', md5(image::text) || md5(job::text), 40000,
    'blobs/' || md5(image::text) || md5(job::text), 'JPEG', 'image/jpeg', 500, 470, 1, 0,
    'unknown', '', '', '', '', '', false, '{{}}', at
  FROM pictures
), jobs AS (
  INSERT INTO cases_job (id, kind, state, site_id, submission_id, image_id, frame,
    model_version_id, priority, due_at, available_at, attempt, max_attempts, worker, error_code,
    error_detail, request_id, created_at, started_at, finished_at)
  SELECT job, 'inference', CASE WHEN fate < 0.98 THEN 'SUCCEEDED' ELSE 'FAILED' END, site, sub,
    image, 0, %(model)s::uuid, 2, at, at, 1, 3, 'bench',
    CASE WHEN fate < 0.98 THEN '' ELSE 'engine_crashed' END, '', '', at, at, at
  FROM pictures
)
INSERT INTO cases_result (id, job_id, image_id, frame, model_version_id, attempt, outcome, reason,
  reason_code, label, score_benign, score_malignant, score_normal, threshold, sensitivity,
  heatmap, heatmap_rows, heatmap_columns, engine, preprocessing, duration_ms, created_at)
SELECT result, job, image, 0, %(model)s::uuid, 1, 'answered', '', '',
  CASE WHEN fate < 0.3 THEN 'malignant' ELSE 'benign' END, 1 - fate, fate, 0,
  CASE WHEN fate < 0.3 THEN 0 ELSE 1 END, 0.95, decode(repeat('00', 294), 'hex'), 7, 7, 'bench',
  'bench', 60, at
FROM pictures WHERE fate < 0.98
"""

_EVENTS = """
INSERT INTO cases_auditevent (at, actor_kind, actor_label, action, object_type, object_id, site_id,
                              case_id, request_id, changed_fields, detail)
SELECT now() - (%(count)s - n) * ({span} / %(count)s), 'user', 'bench',
       (ARRAY['case.viewed', 'case.listed', 'result.stored', 'image.viewed', 'job.created',
              'submission.created', 'result.read', 'case.created'])[1 + n %% 8],
       'case', picked.id::text, picked.site_id, picked.id, '', '{{}}', '{{}}'
FROM generate_series(1, %(count)s) AS n
JOIN (SELECT id, site_id, row_number() OVER () AS place FROM cases_case) AS picked
  ON picked.place = 1 + n %% %(cases)s
"""

_QUEUE = """
INSERT INTO cases_job (id, kind, state, site_id, image_id, frame, model_version_id, priority,
  due_at, available_at, attempt, max_attempts, worker, error_code, error_detail, request_id)
SELECT gen_random_uuid(), 'inference', 'PENDING', %(own)s::uuid, image.id, 1 + n / %(many)s,
  %(model)s::uuid, 2, now() - random() * interval '1 hour', now() - interval '1 day', 0, 3, '', '',
  '', 'bench-queue'
FROM generate_series(0, %(count)s - 1) AS n
JOIN (SELECT id, row_number() OVER () - 1 AS place FROM cases_image LIMIT %(many)s) AS image
  ON image.place = n %% %(many)s
"""


def prepare() -> Site:
    live_model()
    site_create(actor=SYSTEM, code="other", name="Another site")
    return site_create(actor=SYSTEM, code="bench", name="A site")


def _execute(sql: str, **params: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql.format(span=SPAN, golden=GOLDEN), params)


def _told(site: Site) -> dict[str, Any]:
    other = Site.objects.exclude(pk=site.pk).get()
    return {"own": site.pk, "other": other.pk, "share": OWN_SHARE, "model": live_model().pk}


def grow(site: Site, *, cases: int, events: int) -> None:
    """Up to so many cases; so many more audit events. Then the statistics a planner goes by."""
    have = Case.objects.count()
    step = 20_000
    for first in range(have + 1, cases + 1, step):
        last = min(first + step - 1, cases)
        _execute(_CASES, first=first, last=last, **_told(site))
    _execute(_EVENTS, count=events, cases=Case.objects.count())
    while worklist_fold(limit=20_000):
        pass
    with connection.cursor() as cursor:
        cursor.execute("VACUUM (ANALYZE)")


def places(site: Site) -> dict[str, str]:
    """Addresses by name; the name begins with who asks."""
    cases = Case.objects.filter(site=site).order_by("-created_at", "-id")
    count = cases.count()
    depths = {f"{share:.0%} down": cases[int(share * (count - 1))] for share in (0.1, 0.5, 0.95)}
    listed = reverse("api:case-list")
    found = {
        **worklists(site),
        "api cases": listed,
        "api cases, pages of 200": f"{listed}?page_size=200",
        **{
            f"api cases, {depth}": f"{listed}?{urlencode({'cursor': _cursor(case)})}"
            for depth, case in depths.items()
        },
        "api one case": reverse("api:case-detail", args=[depths["50% down"].pk]),
        "api jobs": reverse("api:job-list"),
        "api jobs, failed": f"{reverse('api:job-list')}?state=FAILED",
        "api jobs, waiting": f"{reverse('api:job-list')}?state=PENDING",
        "api jobs, replays": f"{reverse('api:job-list')}?kind=replay",
        "admin audit": reverse("api:audit-list"),
        "admin audit, one action": f"{reverse('api:audit-list')}?action=site.created",
        "admin audit, one case": (
            f"{reverse('api:audit-list')}?{urlencode({'case': depths['50% down'].pk})}"
        ),
        "admin audit, until long ago": (
            f"{reverse('api:audit-list')}?"
            + urlencode({"until": depths["95% down"].created_at.isoformat()})
        ),
    }
    return found


_TODAY = datetime.now(UTC).date()
# Frequent and rare ones; each also from its middle on, and the order in which it is asked for.
FILTERS: dict[str, dict[str, str]] = {
    "": {},
    ", newest": {"order": "newest"},
    ", by score": {"order": "score"},
    ", failed": {"state": "failed"},
    ", above": {"answer": "above"},
    ", no answer, by score": {"answer": "none", "order": "score"},
    ", refused (none)": {"answer": "refused"},
    ", stat (none)": {"priority": "stat"},
    ", unread, of the last year": {"reading": "unread", "since": str(_TODAY - timedelta(days=365))},
    ", signed (none)": {"reading": "signed"},
    ", mine (none)": {"mine": "reading"},
    ", of long ago": {"until": str(_TODAY - timedelta(days=730))},
}


def worklists(site: Site) -> dict[str, str]:
    """Pages of the worklist: each filter from the top and from its middle, and a poll."""
    url, asker = reverse("worklist"), Actor(kind=SYSTEM.kind, label="bench", site_id=site.pk)
    found = {}
    for name, query in FILTERS.items():
        filters = worklist_filters_parse(query)
        found[f"portal worklist{name}"] = f"{url}?{urlencode(query or {'view': 'all'})}"
        entries = in_order(worklist(actor=asker, filters=filters), filters.order)
        count = entries.count()
        shares = (0.1, 0.5, 0.95) if not query else (0.5,)
        # A page below the last entry would be empty, and ask for less than the others.
        for share in shares if count > 1 else ():
            cursor = Cursor.of(entries[int(share * (count - 1))], filters.order).encode()
            told = urlencode({**query, "after": cursor})
            found[f"portal worklist{name}, {share:.0%} down"] = f"{url}?{told}"
        if not query:
            told = urlencode({"before": Cursor.of(entries[count // 2], filters.order).encode()})
            found["portal worklist, back up from the middle"] = f"{url}?{told}"
            ids = "".join(entry.case_id.hex for entry in entries[:30])
            told = urlencode({"view": "all", "on_top": 1, "ids": ids, "number": 1})
            found["portal worklist rows, polled"] = f"{reverse('worklist-rows')}?{told}"
    return found


def _cursor(case: Case) -> str:
    from cases.api.pagination import Cursor

    return Cursor(backward=False, key=(case.created_at.isoformat(), case.pk)).encode()


def queue(site: Site, count: int) -> None:
    """So many readings that wait, all of them due."""
    told = _told(site)
    many = min(1_000, Image.objects.count())
    _execute(_QUEUE, count=count, many=many, own=told["own"], model=told["model"])
    with connection.cursor() as cursor:
        cursor.execute("VACUUM (ANALYZE) cases_job")


def unqueue() -> None:
    with connection.cursor() as cursor:
        # Their events cannot be deleted, so the jobs that were taken stay: as failed ones.
        cursor.execute("DELETE FROM cases_job WHERE request_id = 'bench-queue' AND attempt = 0")
        cursor.execute(
            "UPDATE cases_job SET state = 'FAILED', finished_at = now(), lease_expires_at = NULL, "
            "error_code = 'bench' WHERE request_id = 'bench-queue' AND state = 'RUNNING'"
        )


def claim_plan() -> str:
    """How the database finds what is most due, in a line."""
    waiting = Job.objects.filter(kind="inference", state="PENDING").order_by("due_at", "id")
    return " / ".join(line.strip() for line in waiting[:8].explain().splitlines())
