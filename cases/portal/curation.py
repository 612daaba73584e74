"""Candidates and freezes in words: states, labels, what speaks against one, what was left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext, ngettext

from cases.models import FindingOutcome, SnapshotFreeze, TrainingCandidate
from cases.portal.forms import FieldSpec
from cases.portal.lazily import lazy as _
from cases.portal.outcomes import PATHOLOGY
from cases.portal.wording import StateWords, place_of
from cases.selectors.curation import Lookalike
from cases.states import JOB, CandidateState, JobState
from cases.templatetags.said import said_inside
from cases.vocabulary import (
    CandidateConflict,
    Label,
    OutcomeBasis,
    Pathology,
    SnapshotRole,
    training_label,
)

STATES: dict[str, StateWords] = {
    "PENDING": StateWords("clock", "info", _("Nobody has decided about it yet."), ""),
    "ACCEPTED": StateWords("done", "good", _("It goes into the next snapshot of its side."), ""),
    "REJECTED": StateWords("cross", "neutral", _("It goes into no snapshot from now on."), ""),
    "LAPSED": StateWords("slash", "neutral", _("Nothing says any longer what it shows."), ""),
}
LABELS = {
    "PENDING": _("Waiting"),
    "ACCEPTED": _("Accepted"),
    "REJECTED": _("Rejected"),
    "LAPSED": _("Lapsed"),
}
CLASSES = {Label.BENIGN.value: _("Benign"), Label.MALIGNANT.value: _("Malignant")}
CONFLICTS = {
    CandidateConflict.FINDINGS.value: (
        _(
            "Another finding of this breast turned out to be of the other class, and may be in the "
            "image too."
        )
    ),
    CandidateConflict.SIDE.value: _("The image is of one breast, its finding lies in the other."),
}
# Within a line of what is known.
BASES = {
    OutcomeBasis.HISTOLOGY: _("histology"),
    OutcomeBasis.FOLLOW_UP: _("follow-up, unchanged for at least 24 months"),
    OutcomeBasis.READER_ONLY: _("the reader's judgement only"),
}
SIDES = {
    "": _("on neither side of the test yet"),
    SnapshotRole.TRAINING.value: _("in training, for ever"),
    SnapshotRole.LOCKED.value: _("locked to test with, for ever"),
}
ROLES = {
    SnapshotRole.TRAINING.value: _("Training"),
    SnapshotRole.LOCKED.value: _("Locked test set"),
}
LEFT_OUT = {
    "not_in_research": _("the patient wants no part in research"),
    "withdrawn": _("the answer was withdrawn"),
    "contradicted": _("looks like an image of the other class"),
    "patient_is_locked": _("the patient is locked to test with"),
    "patient_is_in_training": _("the patient is in training"),
    "patient_not_drawn": _("the patient was not drawn for the locked set"),
    "by_a_reader_alone": _("the label rests on a reader alone"),
    "on_the_other_side": _("looks like an image of the other side of the test"),
    "same_picture": _("the same image twice"),
    "unreadable": _("too small to be read"),
    "undrawable": _("its stored image cannot be drawn"),
}
FREEZE_STATES: dict[str, StateWords] = {
    "PENDING": StateWords("clock", "neutral", "", ""),
    "RUNNING": StateWords("scan", "info", "", ""),
    "SUCCEEDED": StateWords("done", "good", "", ""),
    "FAILED": StateWords("alert", "alert", "", ""),
    "CANCELLED": StateWords("cross", "neutral", "", ""),
}
FREEZE_LABELS = {
    "PENDING": _("Waiting"),
    "RUNNING": _("Being made"),
    "SUCCEEDED": _("Made"),
    "FAILED": _("Failed"),
    "CANCELLED": _("Cancelled"),
}

Choices = tuple[tuple[str, str], ...]
FILTERS: tuple[tuple[str, str, Choices], ...] = (
    ("state", _("State"), (("", _("Any")), *((s.value, LABELS[s.value]) for s in CandidateState))),
    ("label", _("Class"), (("", _("Any")), *CLASSES.items())),
    (
        "basis",
        _("Known by"),
        (
            ("", _("Anything")),
            (OutcomeBasis.HISTOLOGY.value, _("Histology")),
            (OutcomeBasis.FOLLOW_UP.value, _("Follow-up")),
            (OutcomeBasis.READER_ONLY.value, _("A reader alone")),
        ),
    ),
    (
        "only",
        _("Findings and snapshots"),
        (
            ("", _("All")),
            ("conflict", _("With conflicting findings")),
            ("unfrozen", _("In no snapshot")),
        ),
    ),
)
FREEZE_FIELDS = (
    # Nothing is chosen beforehand: there is no way back from either.
    FieldSpec(
        "role",
        _("What for"),
        kind="radios",
        choices=(
            (SnapshotRole.LOCKED.value, _("A locked test set: nobody ever trains on its patients")),
            (SnapshotRole.TRAINING.value, _("Training: every patient who is not locked")),
        ),
    ),
    FieldSpec(
        "name",
        _("Name"),
        hint=_("Shown in lists. Do not use a patient's name."),
        max_length=80,
        width="half",
    ),
    FieldSpec(
        "share",
        _("Share of unassigned patients to lock"),
        kind="number",
        minimum="0",
        maximum="100",
        step="1",
        unit="%",
        default="20",
        width="half",
        hint=_(
            "For a locked test set only. Drawn from the patients on neither side yet: apart among "
            "those with a malignant image and among the others."
        ),
    ),
    FieldSpec(
        "reason", _("Why"), hint=_("Kept with the snapshot and in the audit trail."), max_length=500
    ),
)


@dataclass(frozen=True)
class Option:
    """An outcome that a person may choose for a picture of conflicting findings."""

    outcome: FindingOutcome
    words: str


def option_words(outcomes: Sequence[FindingOutcome]) -> list[Option]:
    return [Option(outcome, outcome_words(outcome)) for outcome in outcomes]


def outcome_words(outcome: FindingOutcome) -> str:
    """ "Finding 1 (Left, 2 o'clock): Benign, by histology: benign"."""
    label = training_label(Pathology(outcome.pathology))
    place = place_of(outcome.finding)
    told = {
        "finding": outcome.finding.number,
        "where": f" ({place})" if place else "",
        "pathology": PATHOLOGY[Pathology(outcome.pathology)],
        "basis": basis_words(outcome.basis),
        "label": said_inside(label.value) if label else gettext("no class"),
    }
    return gettext("Finding %(finding)d%(where)s: %(pathology)s, by %(basis)s: %(label)s") % told


def basis_words(basis: str) -> str:
    return BASES[OutcomeBasis(basis)] if basis else ""


@dataclass(frozen=True)
class Line:
    """A candidate as the list shows it."""

    candidate: TrainingCandidate

    @property
    def state(self) -> StateWords:
        return STATES[self.candidate.state]

    @property
    def words(self) -> str:
        return LABELS[self.candidate.state]

    @property
    def label(self) -> str:
        return CLASSES.get(self.candidate.label, "")

    @property
    def basis(self) -> str:
        return basis_words(self.candidate.basis)

    @property
    def conflict(self) -> str:
        return CONFLICTS.get(self.candidate.conflict, "")


@dataclass(frozen=True)
class LookalikeLine:
    look: Lookalike
    contradicts: bool

    @property
    def line(self) -> Line | None:
        return Line(self.look.candidate) if self.look.candidate else None


def lookalike_lines(
    candidate: TrainingCandidate, looks: Sequence[Lookalike]
) -> list[LookalikeLine]:
    return [LookalikeLine(look, look.contradicts(candidate.label)) for look in looks]


@dataclass(frozen=True)
class FreezeLine:
    """A freeze as the list shows it."""

    freeze: SnapshotFreeze

    @property
    def state(self) -> StateWords:
        return FREEZE_STATES[self.freeze.job.state]

    @property
    def words(self) -> str:
        return FREEZE_LABELS[self.freeze.job.state]

    @property
    def role(self) -> str:
        return ROLES[self.freeze.role]

    @property
    def is_active(self) -> bool:
        return JobState(self.freeze.job.state) in JOB.active

    @property
    def doing(self) -> str:
        told: Mapping[str, Any] = self.freeze.job.progress or {}
        if self.freeze.job.state != JobState.RUNNING or "of" not in told:
            return ""
        words = ngettext("%(done)d of %(n)d image cut", "%(done)d of %(n)d images cut", told["of"])
        return words % {"done": told["done"], "n": told["of"]}

    @property
    def left_out(self) -> list[str]:
        """ "2: the patient is in training"."""
        return [f"{n}: {LEFT_OUT.get(why, why)}" for why, n in self.freeze.left_out.items()]
