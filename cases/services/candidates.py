"""Which images are candidates for training data, by what their findings turned out to be.

An image of a finding takes the label of that finding's current outcome. An image of no finding is
no candidate: nobody has said what it shows. Where the image is of the other breast than its
finding, or another finding of the same breast turned out to be of the other class (it may be in
the picture too), there is a conflict and no label: a person decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Exists, F, OuterRef

from cases.access import Actor
from cases.models import CandidateEvent, Case, Finding, FindingOutcome, Image, TrainingCandidate
from cases.services.candidate_moves import (
    UNDECIDED,
    UNLABELLED,
    candidate_event,
    candidate_move,
    labelled,
)
from cases.states import CandidateState
from cases.vocabulary import CandidateConflict, Label, Laterality, Pathology, training_label

CHANGED = "what was found has changed"
_SIDES = (Laterality.LEFT.value, Laterality.RIGHT.value)
# Outcomes that say which class an image is of.
_LEARNED = [p.value for p in Pathology if training_label(p) is not None]


@dataclass(frozen=True)
class Known:
    """A finding's current outcome that a model may learn from."""

    finding: Finding
    outcome: FindingOutcome
    label: Label


@dataclass(frozen=True)
class Proposal:
    """What an image may be trained as: by ``known[0]``, its finding's; with ``conflict`` by none
    of ``known`` before a person has decided."""

    conflict: str
    known: tuple[Known, ...]

    @property
    def rests_on(self) -> list[str]:
        return [str(known.outcome.pk) for known in self.known]

    @property
    def columns(self) -> dict[str, Any]:
        own = self.known[0]
        label = UNLABELLED if self.conflict else labelled(own.outcome, own.label.value)
        return {"conflict": self.conflict, "rests_on": self.rests_on, **label}


def propose(image: Image, known: Sequence[Known]) -> Proposal | None:
    """What ``known``, of the image's case, says of it; None where that is nothing."""
    own = next((k for k in known if k.finding.pk == image.finding_id), None)
    if own is None:
        return None
    if not _may_be_one_side(image.laterality, own.finding.laterality):
        return Proposal(CandidateConflict.SIDE.value, (own,))
    others = tuple(
        k
        for k in known
        if k.label is not own.label
        and _may_be_one_side(k.finding.laterality, own.finding.laterality)
    )
    return Proposal(CandidateConflict.FINDINGS.value if others else "", (own, *others))


def _may_be_one_side(one: str, other: str) -> bool:
    """Whether two sides may be the same breast: not where both are told and differ."""
    return one not in _SIDES or other not in _SIDES or one == other


def known_of(case: Case) -> list[Known]:
    """The current outcomes of a case's findings that a model may learn from, by finding."""
    outcomes = FindingOutcome.objects.filter(case=case, superseded_by=None)
    found = []
    for outcome in outcomes.select_related("finding").order_by("finding__number"):
        label = training_label(Pathology(outcome.pathology))
        if label is not None:
            found.append(Known(outcome.finding, outcome, label))
    return found


@transaction.atomic
def candidates_refresh(*, actor: Actor, case: Case) -> int:
    """Bring the candidates of a case up to what its findings say. How many changed.

    New: PENDING. Says something else than a decision rested on: back to PENDING; says nothing any
    longer: LAPSED; says something again: LAPSED -> PENDING. Twice is once. The caller holds the
    lock of the case, or is alone with it.
    """
    known = known_of(case)
    images = Image.objects.filter(case=case, finding__isnull=False)
    there = {
        candidate.image_id: candidate
        for candidate in TrainingCandidate.objects.select_for_update(no_key=True)
        .filter(image__case=case)
        .order_by("pk")
    }
    changed = 0
    if known or there:
        for image in images.order_by("created_at", "position", "id"):
            proposal = propose(image, known)
            changed += _refresh(actor, image, there.get(image.pk), proposal)
    return changed


def _refresh(
    actor: Actor, image: Image, candidate: TrainingCandidate | None, proposal: Proposal | None
) -> bool:
    if candidate is None:
        if proposal is None:
            return False
        made = TrainingCandidate.objects.create(image=image, **proposal.columns)
        candidate_event(made, source=None, actor=actor, verb="proposed")
        return True
    if proposal is None:
        if candidate.state == CandidateState.LAPSED:
            return False
        _lapse(actor, candidate, "nothing says what it shows any longer")
        return True
    same = (candidate.conflict, candidate.rests_on) == (proposal.conflict, proposal.rests_on)
    if same and candidate.state != CandidateState.LAPSED:
        return False
    _to_pending(actor, candidate, CHANGED, proposal.columns)
    return True


def _to_pending(
    actor: Actor, candidate: TrainingCandidate, reason: str, columns: dict[str, Any]
) -> None:
    if candidate.state == CandidateState.PENDING:
        # No move; but whoever has its page open must look again.
        TrainingCandidate.objects.filter(pk=candidate.pk).update(
            version=F("version") + 1, **columns
        )
        return
    candidate_move(
        candidate,
        to=CandidateState.PENDING,
        actor=actor,
        reason=reason,
        changes={**UNDECIDED, **columns},
    )


def _lapse(actor: Actor, candidate: TrainingCandidate, reason: str) -> None:
    candidate_move(
        candidate,
        to=CandidateState.LAPSED,
        actor=actor,
        reason=reason,
        changes={"conflict": "", "rests_on": [], **UNDECIDED, **UNLABELLED},
    )


def candidates_reopen(*, actor: Actor, case: Case, reason: str) -> None:
    """Every decided candidate of a case -> PENDING, with the label its findings say.

    For the caller that changes whose the images are, in its transaction, with the case locked.
    """
    known = known_of(case)
    candidates = TrainingCandidate.objects.select_for_update(no_key=True, of=("self",))
    for candidate in candidates.select_related("image").filter(image__case=case).order_by("pk"):
        proposal = propose(candidate.image, known)
        if candidate.state != CandidateState.LAPSED and proposal is not None:
            _to_pending(actor, candidate, reason, proposal.columns)


def candidates_erase(*, actor: Actor, case_ids: Iterable[UUID]) -> None:
    """Every candidate of the cases -> LAPSED, and every reason that was given empty.

    For an erasure only, in its transaction, once their patient is marked as erased.
    """
    cases = list(case_ids)
    candidates = TrainingCandidate.objects.select_for_update(no_key=True)
    for candidate in candidates.filter(image__case_id__in=cases).order_by("pk"):
        if candidate.state != CandidateState.LAPSED:
            _lapse(actor, candidate, "")
    CandidateEvent.objects.filter(case_id__in=cases).exclude(reason="").update(reason="")


def candidates_refresh_all(*, actor: Actor) -> int:
    """`candidates_refresh` for every case with an outcome that was recorded before there were
    candidates. How many changed; none when run again."""
    known = FindingOutcome.objects.filter(
        finding=OuterRef("finding"), superseded_by=None, pathology__in=_LEARNED
    )
    waiting = Image.objects.filter(Exists(known), candidate__isnull=True)
    cases = Case.objects.filter(patient__erased_at__isnull=True, images__in=waiting)
    changed = 0
    for pk in list(cases.order_by("pk").values_list("pk", flat=True).distinct()):
        with transaction.atomic():
            case = Case.objects.select_for_update(no_key=True).get(pk=pk)
            changed += candidates_refresh(actor=actor, case=case)
    return changed
