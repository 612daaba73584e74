"""What a worklist may tell of the model's answers: the one place that decides it.

Every column, filter, order and export of the worklist asks here. Where a reader is to read first,
`AiView` says which cases keep their answer back and that the list is neither filtered nor ordered
by what the model said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from cases.access import Actor
from cases.models import Case
from cases.selectors.reader_first import answers_rank, answers_withheld


@dataclass(frozen=True)
class AiView:
    """``offered``: the list may be filtered and ordered by answers, and has columns for them.
    ``withheld``: cases whose answer this person is not told yet."""

    offered: bool = True
    withheld: frozenset[UUID] = frozenset()

    def tells(self, case_id: UUID) -> bool:
        return case_id not in self.withheld


def ai_offered(*, actor: Actor) -> bool:
    """Whether filters and orders by the model's answers are offered to the actor at all."""
    return answers_rank(actor)


def ai_view(*, actor: Actor, cases: Sequence[Case]) -> AiView:
    """What the actor may be told of the answers for these cases."""
    withheld = answers_withheld(actor=actor, case_ids=[case.pk for case in cases])
    return AiView(offered=ai_offered(actor=actor), withheld=withheld)
