"""Readings: a draft only its reader changes, a signature after which nobody does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar
from uuid import UUID

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now

from cases.access import Actor, Capability
from cases.errors import FieldInvalid, NotFound, PermissionDenied, StateConflict
from cases.lexicon import NOTHING_SAID, Descriptors
from cases.models import ApiToken, Case, Finding, Reading, Result, ResultRead
from cases.models.readings import MAX_READING_TEXT
from cases.selectors.reader_first import reader_first_now
from cases.services.audit import audit_record
from cases.services.reading_fields import descriptors_parse, descriptors_require_place
from cases.services.review import case_locked, finding_of, text_check
from cases.vocabulary import BiradsCategory, BiradsEdition, ReadingLabel

E = TypeVar("E", bound=StrEnum)

OTHER_TAB = (
    "This draft was saved elsewhere since you opened it, perhaps in another tab. Nothing was "
    "overwritten."
)


@dataclass(frozen=True)
class ReadingContent:
    """What a reader says. ``category`` None: none chosen yet, or left as it is (addendum)."""

    category: BiradsCategory | None
    edition: BiradsEdition
    label: ReadingLabel
    text: str
    descriptors: Descriptors = NOTHING_SAID

    @property
    def is_empty(self) -> bool:
        return (
            self.category is None
            and self.label is ReadingLabel.NONE
            and not self.text
            and self.descriptors.is_empty
        )

    def columns(self) -> dict[str, Any]:
        return {
            "category": self.category or "",
            "edition": self.edition,
            "label": self.label,
            "text": self.text,
            **self.descriptors.columns(),
        }


@dataclass(frozen=True)
class Place:
    """What a reading is about: a finding or (None) the whole case; and what it adds to."""

    finding_id: UUID | None = None
    addendum_to_id: UUID | None = None


def reading_content_parse(raw: Mapping[str, Any]) -> ReadingContent:
    """Check the fields of a form; ``raw`` holds a list under the names that take several words.

    Raises ``FieldInvalid`` with all that is wrong at once.
    """
    descriptors, errors = descriptors_parse(raw)

    def choice(name: str, choices: type[E]) -> E | None:
        value = str(raw.get(name) or "").strip()
        if not value:
            return None
        try:
            return choices(value)
        except ValueError:
            errors[name] = ["Choose one of: " + ", ".join(c.value for c in choices) + "."]
            return None

    category = choice("category", BiradsCategory)
    edition = choice("edition", BiradsEdition) or BiradsEdition.FIFTH_2013
    label = choice("label", ReadingLabel) or ReadingLabel.NONE
    text = ""
    try:
        text = text_check(str(raw.get("text") or ""), name="text", limit=MAX_READING_TEXT)
    except FieldInvalid as error:
        errors |= error.errors or {}
    if errors:
        raise FieldInvalid(errors=errors)
    return ReadingContent(category, edition, label, text, descriptors)


@transaction.atomic
def reading_draft_save(
    *,
    actor: Actor,
    case_id: UUID,
    place: Place,
    content: ReadingContent,
    version: int,
    by_itself: bool = False,
) -> Reading:
    """The actor's own draft for this place: made (``version`` 0), or changed from ``version`` on.

    ``by_itself``: the page saves while somebody types; of that the trail tells only that the draft
    was begun. ``FieldInvalid`` for words of a finding in the reading of a case, or the reverse.
    ``StateConflict`` where the draft was saved elsewhere since ``version``, where a draft or a
    signed reading of the actor is there already (then an addendum is the way), or where an
    addendum is to something that is no signed reading. ``NotFound`` for another site's case,
    ``Erased`` for an erased one, ``PermissionDenied`` without READ_CASES. Free text and category
    stay out of the trail.
    """
    case = _case_to_read(actor, case_id)
    return _save(actor, case, place, content, version, audited=not by_itself or version == 0)


@transaction.atomic
def reading_sign(
    *, actor: Actor, case_id: UUID, place: Place, content: ReadingContent, version: int
) -> Reading:
    """Draft -> signed, with ``content`` as its last word; from now on nothing changes it.

    Saves as ``reading_draft_save`` does, with the same errors, and stores whether this person
    had seen an answer of the case (``ResultRead`` of theirs or of a token of theirs), which
    answers were live, and, where the site reads first, whether the answers were open to them by an
    earlier signature of theirs. The reading of the case as a whole opens them (docs/adr/0014).
    ``FieldInvalid`` where a reading has no category or an addendum says
    nothing; then the draft stays as it was before.
    """
    case = _case_to_read(actor, case_id)
    _refuse_unfinished(place, content)
    draft = _save(actor, case, place, content, version, audited=False)
    Reading.objects.filter(pk=draft.pk, signed_at__isnull=True).update(
        signed_at=Now(),
        updated_at=Now(),
        ai_seen=_answers_seen(actor, case),
        after_reveal=_after_reveal(actor, case),
        results_of_record=[result.pk for result in results_of_record(case)],
    )
    draft.refresh_from_db()
    _audit(actor, draft, "reading.addendum_signed" if place.addendum_to_id else "reading.signed")
    return draft


@transaction.atomic
def reading_draft_discard(*, actor: Actor, reading_id: UUID, version: int) -> UUID:
    """Draft -> gone. Returns the case's id. ``NotFound`` unless it is the actor's own draft;
    ``StateConflict`` where it was saved elsewhere since ``version``."""
    actor.require(Capability.READ_CASES)
    own = Reading.objects.filter(
        pk=reading_id, case__site_id=actor.own_site, reader_id=_person(actor)
    )
    draft = own.select_for_update(of=("self",)).filter(signed_at__isnull=True).first()
    if draft is None:
        raise NotFound()
    if draft.version != version:
        raise StateConflict(OTHER_TAB)
    _audit(actor, draft, "reading.discarded")
    draft.delete()
    return draft.case_id


def results_of_record(case: Case) -> list[Result]:
    """The answers that are live now: of each frame of each image the newest, unless withdrawn."""
    # By the job, as the page decides which answer of a frame it shows.
    newest = (
        Result.objects.filter(image__case=case)
        .order_by("image_id", "frame", "-job__created_at", "-job_id")
        .distinct("image_id", "frame")
        .select_related("withdrawal")
        .defer("heatmap")
    )
    return [result for result in newest if getattr(result, "withdrawal", None) is None]


def _case_to_read(actor: Actor, case_id: UUID) -> Case:
    actor.require(Capability.READ_CASES)
    _person(actor)
    return case_locked(actor=actor, case_id=case_id)


def _person(actor: Actor) -> UUID:
    """Whose reading it is. ``PermissionDenied`` for the machine's own hands."""
    if actor.user_id is None:
        raise PermissionDenied("A reading is a person's.")
    return actor.user_id


def _save(
    actor: Actor,
    case: Case,
    place: Place,
    content: ReadingContent,
    version: int,
    *,
    audited: bool = True,
) -> Reading:
    reader = _person(actor)
    finding = finding_of(case, place.finding_id)
    descriptors_require_place(content.descriptors, of_finding=finding is not None)
    root = _root(case, finding, place)
    mine = Reading.objects.filter(case=case, finding=finding, reader_id=reader)
    if root is None and mine.filter(signed_at__isnull=False, addendum_to=None).exists():
        raise StateConflict(
            "You have signed a reading for this already. Add an addendum to it instead."
        )
    drafts = mine.filter(addendum_to=root, signed_at__isnull=True)
    values = content.columns()
    if version == 0:
        if drafts.exists():
            raise StateConflict(OTHER_TAB)
        draft = Reading.objects.create(
            case=case, finding=finding, addendum_to=root, reader_id=reader, **values
        )
    else:
        saved = drafts.filter(version=version).update(
            version=F("version") + 1, updated_at=Now(), **values
        )
        if not saved:
            raise StateConflict(OTHER_TAB)
        draft = drafts.get()
    if audited:
        _audit(actor, draft, "reading.draft_saved")
    return draft


def _root(case: Case, finding: Finding | None, place: Place) -> Reading | None:
    """The signed reading an addendum is to. ``NotFound`` for one of another case or place."""
    if place.addendum_to_id is None:
        return None
    root = Reading.objects.filter(pk=place.addendum_to_id, case=case, finding=finding).first()
    if root is None:
        raise NotFound()
    if root.signed_at is None or root.addendum_to_id is not None:
        raise StateConflict("An addendum is to a signed reading.")
    return root


def _refuse_unfinished(place: Place, content: ReadingContent) -> None:
    if place.addendum_to_id is None and content.category is None:
        raise FieldInvalid(errors={"category": ["Choose a category before you sign."]})
    if place.addendum_to_id is not None and content.is_empty:
        raise FieldInvalid(errors={"text": ["Say what is to be added."]})


def _answers_seen(actor: Actor, case: Case) -> bool:
    """Whether the person has read any answer of the case, at the portal or with a token."""
    reader = _person(actor)
    tokens = ApiToken.objects.filter(user_id=reader).values_list("pk", flat=True)
    readers = [reader, *tokens]
    return ResultRead.objects.filter(result__image__case=case, reader_id__in=readers).exists()


def _after_reveal(actor: Actor, case: Case) -> bool | None:
    """Whether the answers are open to this person by an earlier reading of the whole case; None
    where the site does not read first. Under the case's lock, so of two signatures one is first."""
    if not reader_first_now(site_id=case.site_id):
        return None
    own = Reading.objects.filter(case=case, reader_id=_person(actor), signed_at__isnull=False)
    return own.filter(finding=None, addendum_to=None).exists()


def _audit(actor: Actor, reading: Reading, action: str) -> None:
    finding = reading.finding.number if reading.finding else None
    detail: dict[str, Any] = {"finding": finding}
    if reading.signed_at is not None:
        detail |= {"ai_seen": reading.ai_seen, "results": len(reading.results_of_record)}
        if reading.after_reveal is not None:
            detail["after_reveal"] = reading.after_reveal
    if reading.addendum_to_id is not None:
        detail["addendum_to"] = str(reading.addendum_to_id)
    audit_record(
        actor=actor,
        action=action,
        object_type="reading",
        object_id=reading.pk,
        site_id=reading.case.site_id,
        case_id=reading.case_id,
        detail=detail,
    )
