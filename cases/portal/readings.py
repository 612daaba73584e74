"""The readings of a case as its page shows them: what is signed, and the forms to write with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from django.utils.translation import gettext
from django.utils.translation import gettext_noop as _

from cases.access import Actor, Capability
from cases.errors import UserFacingError
from cases.lexicon import descriptors_of
from cases.models import Case, Finding, Reading, Result
from cases.models.readings import MAX_READING_TEXT
from cases.portal.reading_form import LexiconGroup, lexicon_groups, lexicon_values
from cases.portal.wording import frame_words, place_of
from cases.reports.answers import CaseSummary, withdrawal_of
from cases.reports.lexicon import LEGENDS, described
from cases.selectors.reader_first import answers_withheld
from cases.selectors.readings import case_readings, drafts_of
from cases.services.readings import Place
from cases.told import told
from cases.vocabulary import BiradsCategory, BiradsEdition, ReadingLabel
from cases.words import Words

Choices = tuple[tuple[str, str], ...]

WHOLE_CASE = _("The case as a whole")
EDITIONS = Words({BiradsEdition.FIFTH_2013: _("BI-RADS 5th ed. (2013)")})
CATEGORIES = Words(
    {
        BiradsCategory.C0: _("0: incomplete"),
        BiradsCategory.C1: _("1: negative"),
        BiradsCategory.C2: _("2: benign"),
        BiradsCategory.C3: _("3: probably benign"),
        BiradsCategory.C4A: _("4A: low suspicion"),
        BiradsCategory.C4B: _("4B: moderate suspicion"),
        BiradsCategory.C4C: _("4C: high suspicion"),
        BiradsCategory.C5: _("5: highly suggestive of malignancy"),
        BiradsCategory.C6: _("6: known, proven malignancy"),
    }
)
LABELS = Words(
    {
        ReadingLabel.NONE: _("None"),
        ReadingLabel.BENIGN: _("Benign"),
        ReadingLabel.MALIGNANT: _("Malignant"),
        ReadingLabel.NORMAL: _("Normal"),
    }
)


@dataclass(frozen=True)
class RecordedAnswer:
    """An answer of the model that was live when a reading was signed."""

    image: int
    frame: str
    result: Result

    @property
    def withdrawn(self) -> bool:
        return withdrawal_of(self.result) is not None


@dataclass(frozen=True)
class ReadingForm:
    """A form for one place. ``key`` makes the ids of its fields unique on the page.

    ``opens``: signing it shows the answer of the model, which is withheld until then.
    """

    key: str
    place: Place
    version: int
    values: Mapping[str, Any]
    groups: tuple[LexiconGroup, ...] = ()
    draft: Reading | None = None
    errors: Mapping[str, Sequence[str]] = field(default_factory=dict)
    opens: bool = False
    # Findings that this reader has not signed: what they sign of them later comes after the answer.
    unread: tuple[int, ...] = ()

    edition = BiradsEdition.FIFTH_2013.value
    max_text = MAX_READING_TEXT

    @property
    def edition_words(self) -> str:
        return EDITIONS[BiradsEdition.FIFTH_2013]

    @property
    def categories(self) -> Choices:
        return tuple((c.value, words) for c, words in CATEGORIES.items())

    @property
    def labels(self) -> Choices:
        return tuple((v.value, words) for v, words in LABELS.items())

    @property
    def problems(self) -> list[tuple[str, str]]:
        """Each field that is wrong, and why, as the summary on top links to it."""
        names = {
            "category": gettext("Category"),
            "label": gettext("Label"),
            "text": gettext("Text"),
            **LEGENDS,
        }
        return [
            (name, f"{names.get(name, name.capitalize())}: {' '.join(told(list(sentences)))}")
            for name, sentences in self.errors.items()
        ]

    @property
    def is_addendum(self) -> bool:
        return self.place.addendum_to_id is not None


@dataclass(frozen=True)
class SignedReading:
    reading: Reading
    category: str
    edition: str
    label: str
    text: str
    text_hidden: bool
    described: list[tuple[str, str]]
    # Which answers were live is told once they are open.
    answers_withheld: bool
    answers: tuple[RecordedAnswer, ...]
    # An answer is live by now that was not when this was signed.
    newer: bool
    addenda: tuple[SignedReading, ...] = ()
    addendum_form: ReadingForm | None = None

    @property
    def seen(self) -> str:
        """What its reader knew of the model's answer, in a sentence."""
        reading = self.reading
        if reading.after_reveal:
            return gettext("Signed after the model's answer was shown.")
        if reading.ai_seen:
            return gettext("An answer of the model had been seen.")
        if reading.after_reveal is False:
            return gettext("Signed before the model's answer was shown.")
        return gettext("No answer of the model had been seen.")


@dataclass(frozen=True)
class PlaceReadings:
    """A finding, or the case as a whole, with its readings and the reader's own form."""

    title: str
    finding: Finding | None
    readings: tuple[SignedReading, ...]
    form: ReadingForm | None
    # Where answers are withheld: what this reader reads next, so its form is open.
    is_next: bool = False


def readings_context(*, actor: Actor, case: Case, summary: CaseSummary) -> dict[str, Any]:
    """What the case page needs for its readings."""
    signed = case_readings(actor=actor, case_id=case.pk)
    drafts = drafts_of(actor=actor, case_id=case.pk)
    withheld = bool(answers_withheld(actor=actor, case_ids=[case.pk]))
    page = _Page(actor, case, summary, signed, drafts, withheld)
    # The case as a whole comes last, as it is read.
    findings: list[Finding | None] = [*case.findings.all(), None]
    places = [page.place(finding) for finding in findings]
    unread = (n for n, place in enumerate(places) if withheld and place.form is not None)
    following = next(unread, None)
    if following is not None:
        places[following] = replace(places[following], is_next=True)
    # What the page leads to: until the case as a whole is signed, the first that is to be read.
    to_write = [place.form for place in places if place.form is not None]
    return {
        "reading_places": places,
        "reading_next": to_write[0] if places[-1].form is not None else None,
        "can_read": actor.can(Capability.READ_CASES),
        "answers_withheld": withheld,
    }


def form_for(
    place: Place,
    *,
    draft: Reading | None = None,
    typed: Mapping[str, Any] | None = None,
    error: UserFacingError | None = None,
    version: int | None = None,
    opens: bool = False,
    unread: tuple[int, ...] = (),
) -> ReadingForm:
    """The form for a place: empty, with its draft, or with what was typed and why it failed."""
    values: Mapping[str, Any] = {"category": "", "label": ReadingLabel.NONE.value, "text": ""}
    if draft is not None:
        said = {"category": draft.category, "label": draft.label, "text": draft.text}
        values = {**said, **lexicon_values(draft)}
    if typed is not None:
        values = typed
    errors = (error.errors if error else None) or {}
    about = place.addendum_to_id or place.finding_id
    kind = "addendum" if place.addendum_to_id else "reading"
    return ReadingForm(
        key=f"{kind}-{about or 'case'}",
        place=place,
        version=version if version is not None else draft.version if draft else 0,
        values=values,
        groups=lexicon_groups(
            of_finding=place.finding_id is not None, values=values, errors=errors
        ),
        draft=draft,
        errors=errors,
        opens=opens,
        unread=unread,
    )


def title_of(finding: Finding | None) -> str:
    return (
        gettext(WHOLE_CASE)
        if finding is None
        else gettext("Finding {number}: {place}").format(
            number=finding.number, place=place_of(finding)
        )
    )


@dataclass(frozen=True)
class _Page:
    actor: Actor
    case: Case
    summary: CaseSummary
    signed: Sequence[Reading]
    drafts: Sequence[Reading]
    withheld: bool

    def place(self, finding: Finding | None) -> PlaceReadings:
        about = finding.pk if finding else None
        here = [r for r in self.signed if r.finding_id == about]
        roots = [r for r in here if r.addendum_to_id is None]
        own = any(r.reader_id == self.actor.user_id for r in roots)
        may_write = self.actor.can(Capability.READ_CASES) and not own
        return PlaceReadings(
            title=title_of(finding),
            finding=finding,
            readings=tuple(self._with_addenda(root, here) for root in roots),
            form=self._form(Place(finding_id=about)) if may_write else None,
        )

    def _with_addenda(self, root: Reading, here: Sequence[Reading]) -> SignedReading:
        place = Place(finding_id=root.finding_id, addendum_to_id=root.pk)
        return self._signed(
            root,
            addenda=tuple(self._signed(r) for r in here if r.addendum_to_id == root.pk),
            form=self._form(place) if self.actor.can(Capability.READ_CASES) else None,
        )

    def _form(self, place: Place) -> ReadingForm:
        opens = self.withheld and place == Place()
        return form_for(
            place,
            draft=draft_at(self.drafts, place),
            opens=opens,
            unread=self._unread() if opens else (),
        )

    def _unread(self) -> tuple[int, ...]:
        """The findings that this reader has not signed."""
        mine = {r.finding_id for r in self.signed if r.reader_id == self.actor.user_id}
        return tuple(f.number for f in self.case.findings.all() if f.pk not in mine)

    def _signed(
        self,
        reading: Reading,
        *,
        addenda: tuple[SignedReading, ...] = (),
        form: ReadingForm | None = None,
    ) -> SignedReading:
        known = self._results()
        live = {result.pk for answer in self.summary.answers for result in answer.standing}
        with_text = self.actor.can(Capability.VIEW_IDENTITY)
        return SignedReading(
            reading=reading,
            category=CATEGORIES[BiradsCategory(reading.category)] if reading.category else "",
            edition=EDITIONS[BiradsEdition(reading.edition)],
            label="" if reading.label == ReadingLabel.NONE else LABELS[ReadingLabel(reading.label)],
            # Free text about a patient may name them.
            text=reading.text if with_text else "",
            text_hidden=bool(reading.text) and not with_text,
            described=described(descriptors_of(reading)),
            answers_withheld=self.withheld,
            answers=tuple(known[pk] for pk in reading.results_of_record if pk in known),
            newer=not live <= set(reading.results_of_record),
            addenda=addenda,
            addendum_form=form,
        )

    def _results(self) -> dict[UUID, RecordedAnswer]:
        known = {}
        for number, image in enumerate(self.case.images.all(), start=1):
            for job in image.jobs.all():
                result = getattr(job, "result", None)
                if result is not None:
                    frame = frame_words(image, result.frame)
                    known[result.pk] = RecordedAnswer(number, frame, result)
        return known


def draft_at(drafts: Sequence[Reading], place: Place) -> Reading | None:
    """The draft for a place among the reader's own."""
    for draft in drafts:
        if (draft.finding_id, draft.addendum_to_id) == (place.finding_id, place.addendum_to_id):
            return draft
    return None
