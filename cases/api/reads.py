"""Noting which results an answer shows to a token."""

from __future__ import annotations

from collections.abc import Iterable

from cases.access import Actor
from cases.reports.answers import ImageAnswer
from cases.selectors.reads import results_unread
from cases.services.results import results_read_note


def note_reads(actor: Actor, answers: Iterable[ImageAnswer]) -> None:
    """Audit the first reads among ``answers``; later reads leave nothing."""
    answers = list(answers)
    case_of = {result.pk: answer.image.case_id for answer in answers for result in answer.results}
    shown = [result for answer in answers for result in answer.results]
    unread = results_unread(actor=actor, results=shown)
    if unread:
        results_read_note(actor=actor, case_of={r.pk: case_of[r.pk] for r in unread})
