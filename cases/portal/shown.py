"""Which answers of a case a page puts before a person: the one place that decides."""

from __future__ import annotations

from cases.access import Actor, Capability
from cases.models import Case
from cases.reports.answers import CaseSummary, case_summary


def summary_shown(*, actor: Actor, case: Case) -> CaseSummary:
    """The case with the answers that this person may see now.

    Case page, list of priors, comparison and report take answers from here and from nowhere else.
    """
    actor.require(Capability.VIEW_CASES)
    return case_summary(case)
