"""Noting which answers a page shows to a person for the first time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cases.access import Actor, Capability
from cases.models import Case
from cases.reports.answers import CaseSummary, case_summaries
from cases.selectors.reads import results_unread
from cases.services.results import results_read_note


def note_shown(actor: Actor, summaries: Iterable[CaseSummary]) -> None:
    """Audit the first reads among the answers of whole cases."""
    case_of = {
        result: summary.case.pk
        for summary in summaries
        for answer in summary.answers
        for result in answer.results
    }
    unread = results_unread(actor=actor, results=case_of)
    results_read_note(actor=actor, case_of={result.pk: case_of[result] for result in unread})


def note_scores(actor: Actor, cases: Sequence[Case]) -> None:
    """The same for the scores of a worklist, where they matter: for those who sign readings.

    A reading says whether its reader had seen an answer, and a score in a list is one.
    """
    if actor.can(Capability.READ_CASES):
        case_of = {
            shown: summary.case.pk
            for summary in case_summaries(cases)
            for shown in (summary.top, summary.withdrawn_top)
            if shown is not None
        }
        unread = results_unread(actor=actor, results=case_of)
        results_read_note(actor=actor, case_of={r.pk: case_of[r] for r in unread})
