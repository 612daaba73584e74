"""The rows of the worklist: cases as one line each, and a fingerprint to poll by."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from django.utils.translation import gettext
from django.utils.translation import gettext_noop as _

from cases.access import Actor, Capability
from cases.models import Case, Reading, WorklistEntry
from cases.portal.ai_view import AiView
from cases.portal.wording import STATES, StateWords, person_name
from cases.reports.answers import CaseSummary
from cases.vocabulary import PriorityRank
from cases.words import Words
from cases.worklisting import RANK_READ, WorkAnswer, WorkState

# How far the work has come, as people say it.
WORK_WORDS = Words(
    {
        WorkState.WAITING: _("Waiting"),
        WorkState.READING: _("Reading the image"),
        WorkState.DONE: _("Processed"),
        WorkState.FAILED: _("Failed"),
        WorkState.CANCELLED: _("Cancelled"),
        WorkState.ERASED: _("Erased"),
    }
)
_DONE = StateWords("done", "neutral", _("The model is through with its images."), "")
MOST_NAMES = 2


@dataclass(frozen=True)
class Readers:
    """Who reads a case at this moment and who has signed, by name; the person asking as "you"."""

    drafting: tuple[str, ...] = ()
    signed: tuple[str, ...] = ()
    # Images came after the last signature.
    grown: bool = False


@dataclass(frozen=True)
class Row:
    """One case as the worklist shows it. Patient fields are empty where they are hidden, and so
    is what the model said where that is withheld."""

    case_id: UUID
    accession: str
    patient_name: str
    patient_id: str
    images: int
    work: WorkState
    priority: str
    # Of the answer: empty where there is none yet, or it is withheld.
    key: str
    words: str
    withheld: bool
    score: float | None
    threshold: float | None
    # Of the answers that were withdrawn: shown struck through.
    withdrawn_score: float | None
    withdrawn_threshold: float | None
    coverage: str
    readers: Readers = field(default_factory=Readers)
    devices: str = ""
    site: str = ""
    received_at: datetime = datetime.min  # noqa: DTZ901 - always given
    is_final: bool = True
    erased: bool = False

    @property
    def work_state(self) -> StateWords:
        return _DONE if self.work is WorkState.DONE else STATES[self.work.value]

    @property
    def work_words(self) -> str:
        return WORK_WORDS[self.work]

    @property
    def answer_state(self) -> StateWords | None:
        return STATES[self.key] if self.key else None

    @property
    def name(self) -> str:
        """What to call the row where it is spoken of."""
        return self.accession or gettext("the case without an accession number")

    @property
    def news(self) -> str:
        """What is said aloud where it has changed. Of a case that is read again: how far that is,
        and then the answer, also where it is the same as before."""
        return self.words if self.words and self.work is WorkState.DONE else self.work_words


def row_of(entry: WorklistEntry, summary: CaseSummary, *, actor: Actor, ai: AiView) -> Row:
    case = entry.case
    erased = case.patient.erased_at is not None
    tells = ai.tells(case.pk) and not erased
    said = summary.said if tells else WorkAnswer.NONE
    top = summary.top if tells else None
    taken = summary.withdrawn_top if tells else None
    with_identity = actor.can(Capability.VIEW_IDENTITY)
    return Row(
        case_id=case.pk,
        accession=case.accession_number,
        patient_name=person_name(case.patient.name) if with_identity else "",
        patient_id=case.patient.patient_id if with_identity else "",
        images=summary.images,
        work=WorkState.ERASED if erased else summary.work,
        priority=PriorityRank(entry.priority).name.lower(),
        key="" if said is WorkAnswer.NONE else said.value,
        words="" if said is WorkAnswer.NONE else summary.words,
        withheld=not ai.tells(case.pk) and not erased and summary.work is WorkState.DONE,
        score=top.score_malignant if top else None,
        threshold=top.threshold if top else None,
        withdrawn_score=taken.score_malignant if taken else None,
        withdrawn_threshold=taken.threshold if taken else None,
        coverage=(summary.coverage if top else summary.share) if tells else "",
        readers=_readers(entry, actor),
        devices=_devices(summary),
        site=case.site.name,
        received_at=case.created_at,
        is_final=summary.is_final,
        erased=erased,
    )


def rows_of(
    entries: Sequence[WorklistEntry],
    summaries: Sequence[CaseSummary],
    *,
    actor: Actor,
    ai: AiView,
) -> list[Row]:
    """A row for each entry; ``summaries`` are those of their cases, in the same order."""
    pairs = zip(entries, summaries, strict=True)
    return [row_of(entry, summary, actor=actor, ai=ai) for entry, summary in pairs]


def cases_of(entries: Iterable[WorklistEntry]) -> list[Case]:
    return [entry.case for entry in entries]


def _readers(entry: WorklistEntry, actor: Actor) -> Readers:
    readings = list(entry.case.readings.all())
    signed = _names((r for r in readings if r.signed_at is not None), actor)
    return Readers(
        drafting=_names((r for r in readings if r.signed_at is None), actor),
        signed=signed,
        grown=bool(signed) and entry.rank < RANK_READ,
    )


def _names(readings: Iterable[Reading], actor: Actor) -> tuple[str, ...]:
    """Each reader once, oneself first."""
    you = gettext("you")
    names: dict[str, None] = {}
    for reading in readings:
        reader = reading.reader
        own = reading.reader_id == actor.user_id
        names[you if own else reader.get_full_name() or reader.username] = None
    return tuple(sorted(names, key=lambda name: name != you))


def _devices(summary: CaseSummary) -> str:
    found: dict[str, None] = {}
    for answer in summary.answers:
        device = " ".join(
            part for part in (answer.image.manufacturer, answer.image.manufacturer_model) if part
        )
        if device:
            found[device] = None
    names = list(found)
    more = (
        gettext(" and {number} more").format(number=len(names) - MOST_NAMES)
        if len(names) > MOST_NAMES
        else ""
    )
    return ", ".join(names[:MOST_NAMES]) + more


def fingerprint(rows: Sequence[Row], newer: int) -> str:
    """Changes exactly when the page would look different."""
    return hashlib.sha256(repr((rows, newer)).encode()).hexdigest()[:16]
