"""Keeping the worklist's entries in step with the cases they are about.

The database notes which cases changed (triggers of migration 0020), in the transaction of the
change. Whoever reads the list folds these notes first, so that what was committed is in it; so does
the sweep, where nobody looks (docs/adr/0018).
"""

from __future__ import annotations

from typing import Any

from django.db import OperationalError, connection, transaction

from cases.models import WorklistChange
from cases.services.locks import advisory_lock, lock_patience
from cases.states import JOB, JobState
from cases.vocabulary import Outcome, PriorityRank
from cases.worklisting import NO_SCORE, RANK_ERASED, RANK_READ

# A page must not wait long for a backlog: what is left is in the list at the next look.
AT_ONCE = 2_000
PATIENCE_MS = 500


def worklist_fold(*, limit: int = AT_ONCE) -> int:
    """Make the entries of changed cases anew; how many changes were worked off.

    One at a time does: who comes while another does it waits ``PATIENCE_MS``, then leaves it to
    them and returns 0. Entries are changed by this function alone and nobody else locks them.
    """
    if not WorklistChange.objects.exists():
        # What nearly everybody finds who polls.
        return 0
    try:
        with transaction.atomic():
            lock_patience(PATIENCE_MS)
            advisory_lock("worklist", wait=True)
            return _fold(limit)
    except OperationalError as error:
        if getattr(error.__cause__, "sqlstate", "") == LOCK_NOT_AVAILABLE:
            return 0
        raise


LOCK_NOT_AVAILABLE = "55P03"


def _fold(limit: int) -> int:
    with connection.cursor() as cursor:
        cursor.execute(_TAKE, [limit])
        taken = [row[0] for row in cursor.fetchall()]
        if taken:
            # A statement of its own: it sees at least all that the notes it took away speak of.
            cursor.execute(_MAKE, {**_WORDS, "cases": list(set(taken))})
    return len(taken)


_TAKE = """
DELETE FROM cases_worklistchange
WHERE id IN (SELECT id FROM cases_worklistchange ORDER BY id LIMIT %s) RETURNING case_id
"""
_WORDS: dict[str, Any] = {
    "pending": JobState.PENDING.value,
    "running": JobState.RUNNING.value,
    "succeeded": JobState.SUCCEEDED.value,
    "failed": JobState.FAILED.value,
    "final": sorted(state.value for state in JOB.final),
    "answered": Outcome.ANSWERED.value,
    "routine": PriorityRank.ROUTINE.value,
    "no_score": NO_SCORE,
    "rank_read": RANK_READ,
    "rank_erased": RANK_ERASED,
}

# What `reports.answers.CaseSummary` says of each case, for any number of them in one statement;
# tests/cases/test_worklist_entries.py holds the two to each other.
_MAKE = """
WITH kase AS (
  SELECT kase.id, kase.site_id, kase.created_at, patient.erased_at IS NOT NULL AS erased
  FROM cases_case AS kase JOIN cases_patient AS patient ON patient.id = kase.patient_id
  WHERE kase.id = ANY(%(cases)s)
), picture AS (
  SELECT id, case_id, created_at FROM cases_image WHERE case_id = ANY(%(cases)s)
), job AS (
  SELECT job.id, job.image_id, job.frame, job.state, job.priority, picture.case_id,
         row_number() OVER (
           PARTITION BY job.image_id ORDER BY job.created_at DESC, job.id DESC) AS nth
  FROM cases_job AS job JOIN picture ON picture.id = job.image_id
), answer AS (
  -- Of each frame the newest.
  SELECT DISTINCT ON (job.image_id, result.frame)
         job.image_id, result.frame, result.outcome, result.label, job.nth,
         result.score_malignant AS score, result.score_malignant >= result.threshold AS reaches,
         withdrawal.result_id IS NOT NULL AS withdrawn
  FROM job JOIN cases_result AS result ON result.job_id = job.id
  LEFT JOIN cases_resultwithdrawal AS withdrawal ON withdrawal.result_id = result.id
  WHERE job.state = %(succeeded)s
  ORDER BY job.image_id, result.frame, job.nth
), lost AS (
  -- Frames whose newest ended job brought no answer, and none before it did.
  SELECT image_id, bool_or(state = %(failed)s) AS failed
  FROM (SELECT DISTINCT ON (image_id, frame) image_id, frame, state FROM job
        WHERE state = ANY(%(final)s) ORDER BY image_id, frame, nth) AS ended
  WHERE NOT EXISTS (SELECT 1 FROM answer
                    WHERE answer.image_id = ended.image_id AND answer.frame = ended.frame)
  GROUP BY image_id
), told AS (
  SELECT image_id, bool_or(withdrawn) AS withdrawn,
         bool_or(reaches) FILTER (WHERE NOT withdrawn AND outcome = %(answered)s) AS above,
         (array_agg(outcome ORDER BY nth)
           FILTER (WHERE NOT withdrawn AND outcome <> %(answered)s))[1] AS unanswered,
         (array_agg(label ORDER BY score DESC, nth)
           FILTER (WHERE NOT withdrawn AND outcome = %(answered)s))[1] AS label,
         max(score) FILTER (WHERE NOT withdrawn AND outcome = %(answered)s) AS score
  FROM answer GROUP BY image_id
), said AS (
  SELECT picture.case_id, picture.created_at, told.score, coalesce(told.above, false) AS above,
         CASE WHEN newest.state = %(pending)s THEN 'waiting'
              WHEN newest.state = %(running)s THEN 'reading'
              WHEN told.above THEN 'above'
              WHEN told.unanswered IS NOT NULL THEN told.unanswered
              WHEN lost.failed THEN 'failed'
              WHEN lost.image_id IS NOT NULL THEN 'cancelled'
              WHEN told.withdrawn THEN 'withdrawn'
              WHEN told.score IS NULL THEN 'failed'
              WHEN told.label = 'normal' THEN 'no_lesion'
              ELSE 'below' END AS key,
         -- Of the work alone: what the model said must not tell on it.
         CASE WHEN newest.state = %(pending)s THEN 'waiting'
              WHEN newest.state = %(running)s THEN 'reading'
              WHEN lost.failed THEN 'failed'
              WHEN lost.image_id IS NOT NULL THEN 'cancelled'
              WHEN told.image_id IS NULL THEN 'failed'
              ELSE 'done' END AS state
  FROM picture
  LEFT JOIN job AS newest ON newest.image_id = picture.id AND newest.nth = 1
  LEFT JOIN told ON told.image_id = picture.id
  LEFT JOIN lost ON lost.image_id = picture.id
), whole AS (
  SELECT case_id, max(created_at) AS grew_at, max(score) AS score, bool_or(above) AS above,
         array_agg(key) AS keys, array_agg(state) AS states
  FROM said GROUP BY case_id
), urgency AS (
  SELECT case_id, min(priority) AS priority FROM job GROUP BY case_id
), signature AS (
  SELECT case_id, max(signed_at) AS at FROM cases_reading
  WHERE case_id = ANY(%(cases)s) AND signed_at IS NOT NULL GROUP BY case_id
), summed AS (
  SELECT kase.*, whole.score, coalesce(urgency.priority, %(routine)s) AS priority,
         -- Images that came after the last signature are to be read.
         signature.at IS NOT NULL AND signature.at >= coalesce(whole.grew_at, signature.at) AS read,
         (extract(epoch FROM kase.created_at) * 1000000)::bigint AS age,
         CASE WHEN erased THEN 'erased' WHEN whole.keys IS NULL THEN 'waiting'
              ELSE coalesce((SELECT state FROM unnest(ARRAY['reading', 'waiting', 'failed',
                             'cancelled']) WITH ORDINALITY AS each (state, nth)
                             WHERE state = ANY(whole.states) ORDER BY nth LIMIT 1), 'done')
         END AS state,
         CASE WHEN erased OR whole.keys IS NULL THEN 'waiting' WHEN whole.above THEN 'above'
              ELSE (SELECT key FROM unnest(ARRAY['reading', 'waiting', 'failed', 'refused',
                    'abstained', 'cancelled', 'withdrawn', 'below', 'no_lesion'])
                    WITH ORDINALITY AS each (key, nth)
                    WHERE key = ANY(whole.keys) ORDER BY nth LIMIT 1)
         END AS key
  FROM kase LEFT JOIN whole ON whole.case_id = kase.id
  LEFT JOIN urgency ON urgency.case_id = kase.id
  LEFT JOIN signature ON signature.case_id = kase.id
)
INSERT INTO cases_worklistentry AS entry
  (case_id, site_id, arrived_at, priority, state, answer, top_score, rank, place)
SELECT id, site_id, created_at, priority, state,
       CASE WHEN key IN ('reading', 'waiting', 'failed', 'cancelled') THEN 'none' ELSE key END,
       CASE WHEN erased THEN %(no_score)s ELSE coalesce(score, %(no_score)s) END,
       CASE WHEN erased THEN %(rank_erased)s WHEN read THEN %(rank_read)s ELSE priority END,
       CASE WHEN erased OR read THEN -age ELSE age END
FROM summed ORDER BY created_at, id
ON CONFLICT (case_id) DO UPDATE SET
  priority = excluded.priority, state = excluded.state, answer = excluded.answer,
  top_score = excluded.top_score, rank = excluded.rank, place = excluded.place
WHERE (entry.priority, entry.state, entry.answer, entry.top_score, entry.rank, entry.place)
  IS DISTINCT FROM (excluded.priority, excluded.state, excluded.answer, excluded.top_score,
                    excluded.rank, excluded.place)
"""
