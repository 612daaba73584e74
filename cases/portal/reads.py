"""Noting which answers a page shows to a person for the first time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from cases.access import Actor, Capability
from cases.models import Result
from cases.reports.answers import CaseSummary
from cases.selectors.reads import results_unread
from cases.services.results import results_read_note

STRETCH = 500


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


def note_scores(actor: Actor, summaries: Iterable[CaseSummary]) -> None:
    """The same for the scores of a worklist, where they matter: for those who sign readings.

    A reading says whether its reader had seen an answer, and a score in a list is one.
    """
    if actor.can(Capability.READ_CASES):
        case_of = {
            shown: summary.case.pk
            for summary in summaries
            for shown in (summary.top, summary.withdrawn_top)
            if shown is not None
        }
        unread = results_unread(actor=actor, results=case_of)
        results_read_note(actor=actor, case_of={r.pk: case_of[r] for r in unread})


def note_listed(actor: Actor, results: Iterable[Result]) -> Iterator[Result]:
    """The results of a list, each noted as read before it is given out, for the same people.

    Works through a list of any length in stretches: what somebody broke off before is not noted.
    The results come with their images.
    """
    rows = iter(results)
    while stretch := list(islice(rows, STRETCH)):
        if actor.can(Capability.READ_CASES):
            case_of = {result.pk: result.image.case_id for result in stretch}
            unread = results_unread(actor=actor, results=stretch)
            results_read_note(actor=actor, case_of={r.pk: case_of[r.pk] for r in unread})
        yield from stretch
