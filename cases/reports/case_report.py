"""A case on paper: every word of it, for the page to print and the PDF alike. No ORM, no layout."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from django.utils.translation import gettext_noop as _

# More pictures than these make no report that anybody reads.
MAX_IMAGES = 30


@dataclass(frozen=True)
class Fact:
    label: str
    text: str


@dataclass(frozen=True)
class Score:
    """A score as a bar (0 to 1) and as people read it."""

    key: str
    label: str
    text: str
    value: float


@dataclass(frozen=True)
class Scale:
    """The scores of an answer on one axis, with the operating point."""

    scores: tuple[Score, ...]
    threshold: float
    threshold_text: str


@dataclass(frozen=True)
class ReportImage:
    """One image with the answer that decides its state; ``result_id`` has its heatmap, if any."""

    image_id: UUID
    frame: int
    result_id: UUID | None
    title: str
    facts: tuple[Fact, ...]
    state: str
    headline: str
    scale: Scale | None
    notes: tuple[str, ...]
    rests_on: tuple[Fact, ...]
    others: tuple[str, ...]
    """Answers for other frames, in a line each."""


@dataclass(frozen=True)
class ReportReading:
    """What a person signed, with their addenda."""

    title: str
    lines: tuple[str, ...]
    signed: str
    addenda: tuple[ReportReading, ...] = ()


@dataclass(frozen=True)
class ReportPlace:
    """A finding, or the case as a whole; without readings where nobody signed one yet."""

    title: str
    readings: tuple[ReportReading, ...]


@dataclass(frozen=True)
class CaseReport:
    """The whole report. ``reference`` names the case without saying anything of the patient."""

    reference: str
    title: str
    facts: tuple[Fact, ...]
    summary: str
    outside: tuple[str, ...]
    """Why the case lies outside the models' evidence; empty where nothing tells so."""
    outside_meaning: str
    images: tuple[ReportImage, ...]
    images_left_out: str
    places: tuple[ReportPlace, ...]
    cannot_know: str
    research_note: str
    printed: str
    heatmap: str
    """What the heatmap over the pictures is; empty where none is shown."""
    not_read: str


READINGS_TITLE = _("What people read")
OUTSIDE_TITLE = _("Outside the model's evidence")
CANNOT_TITLE = _("What the model cannot know")
CANNOT_KNOW = _(
    "It sees single images: not the patient, the history, other views or earlier examinations. "
    "Its scores follow the mix of its training data and say nothing of how likely a disease is."
)
