"""Candidates and freezes in words: states, labels, what speaks against one, what was left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cases.models import FindingOutcome, SnapshotFreeze, TrainingCandidate
from cases.portal.forms import FieldSpec
from cases.portal.outcomes import BASIS, PATHOLOGY
from cases.portal.wording import StateWords, count_of, place_of
from cases.selectors.curation import Lookalike
from cases.states import JOB, CandidateState, JobState
from cases.vocabulary import (
    CandidateConflict,
    Label,
    OutcomeBasis,
    Pathology,
    SnapshotRole,
    training_label,
)

STATES: dict[str, StateWords] = {
    "PENDING": StateWords("clock", "info", "Nobody has decided about it yet.", ""),
    "ACCEPTED": StateWords("done", "good", "It goes into the next snapshot of its side.", ""),
    "REJECTED": StateWords("cross", "neutral", "It goes into no snapshot from now on.", ""),
    "LAPSED": StateWords("slash", "neutral", "Nothing says any longer what it shows.", ""),
}
LABELS = {"PENDING": "Waiting", "ACCEPTED": "Accepted", "REJECTED": "Rejected", "LAPSED": "Lapsed"}
CLASSES = {Label.BENIGN.value: "Benign", Label.MALIGNANT.value: "Malignant"}
CONFLICTS = {
    CandidateConflict.FINDINGS.value: (
        "Another finding of this breast turned out to be of the other class, and may be in the "
        "picture too."
    ),
    CandidateConflict.SIDE.value: "The image is of one breast, its finding lies in the other.",
}
SIDES = {
    "": "on neither side of the test yet",
    SnapshotRole.TRAINING.value: "in training, for ever",
    SnapshotRole.LOCKED.value: "locked to test with, for ever",
}
ROLES = {
    SnapshotRole.TRAINING.value: "Training",
    SnapshotRole.LOCKED.value: "Locked test set",
}
LEFT_OUT = {
    "not_in_research": "the patient wants no part in research",
    "withdrawn": "the answer was withdrawn",
    "contradicted": "looks like an image of the other class",
    "patient_is_locked": "the patient is locked to test with",
    "patient_is_in_training": "the patient is in training",
    "patient_not_drawn": "the patient was not drawn for the locked set",
    "by_a_reader_alone": "the label rests on a reader alone",
    "on_the_other_side": "looks like a picture of the other side of the test",
    "same_picture": "the same picture twice",
    "unreadable": "too small to be read",
    "undrawable": "its stored picture cannot be drawn",
}
FREEZE_STATES: dict[str, StateWords] = {
    "PENDING": StateWords("clock", "neutral", "", ""),
    "RUNNING": StateWords("scan", "info", "", ""),
    "SUCCEEDED": StateWords("done", "good", "", ""),
    "FAILED": StateWords("alert", "alert", "", ""),
    "CANCELLED": StateWords("cross", "neutral", "", ""),
}
FREEZE_LABELS = {
    "PENDING": "Waiting",
    "RUNNING": "Being made",
    "SUCCEEDED": "Made",
    "FAILED": "Failed",
    "CANCELLED": "Cancelled",
}

Choices = tuple[tuple[str, str], ...]
FILTERS: tuple[tuple[str, str, Choices], ...] = (
    ("state", "State", (("", "Any"), *((s.value, LABELS[s.value]) for s in CandidateState))),
    ("label", "Class", (("", "Any"), *CLASSES.items())),
    (
        "basis",
        "Known by",
        (
            ("", "Anything"),
            (OutcomeBasis.HISTOLOGY.value, "Histology"),
            (OutcomeBasis.FOLLOW_UP.value, "Follow-up"),
            (OutcomeBasis.READER_ONLY.value, "A reader alone"),
        ),
    ),
    (
        "only",
        "Only",
        (("", "All"), ("conflict", "With conflicting findings"), ("unfrozen", "In no snapshot")),
    ),
)
FREEZE_FIELDS = (
    FieldSpec(
        "role",
        "What for",
        kind="radios",
        choices=(
            (SnapshotRole.LOCKED.value, "A locked test set: nobody ever trains on its patients"),
            (SnapshotRole.TRAINING.value, "Training: every patient who is not locked"),
        ),
        default=SnapshotRole.TRAINING.value,
    ),
    FieldSpec("name", "Name", hint="Shown in lists. No patient's.", max_length=80, width="half"),
    FieldSpec(
        "share",
        "Of the patients on neither side, lock",
        kind="number",
        minimum="0",
        maximum="100",
        step="1",
        unit="%",
        default="20",
        width="half",
        hint="For a locked test set only; of those with a malignant image and of the others.",
    ),
    FieldSpec(
        "reason", "Why", hint="Kept with the snapshot and in the audit trail.", max_length=500
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
    where = f" ({place})" if place else ""
    return (
        f"Finding {outcome.finding.number}{where}: {PATHOLOGY[Pathology(outcome.pathology)]}, "
        f"by {basis_words(outcome.basis)}: {label.value if label else 'no class'}"
    )


def basis_words(basis: str) -> str:
    words = BASIS[OutcomeBasis(basis)] if basis else ""
    return words[:1].lower() + words[1:]


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
        return f"{told['done']} of {count_of(told['of'], 'image')} cut"

    @property
    def left_out(self) -> list[str]:
        """ "2: the patient is in training"."""
        return [f"{n}: {LEFT_OUT.get(why, why)}" for why, n in self.freeze.left_out.items()]
