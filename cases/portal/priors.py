"""Earlier cases of a patient beside the present one: the list, and two pictures side by side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from django.utils.translation import gettext

from cases.access import Actor
from cases.errors import NotFound
from cases.models import Case, Image, Result
from cases.portal.images import ImagePanel, panels_of
from cases.portal.reads import note_shown
from cases.portal.shown import summary_shown
from cases.portal.wording import LATERALITY, STATES, StateWords
from cases.reports.answers import CaseSummary, ImageAnswer
from cases.selectors.priors import MAX_PRIORS, case_priors
from cases.vocabulary import Laterality
from cases.words import within

_BREASTS = {
    Laterality.LEFT: frozenset({Laterality.LEFT}),
    Laterality.RIGHT: frozenset({Laterality.RIGHT}),
    Laterality.BOTH: frozenset({Laterality.LEFT, Laterality.RIGHT}),
    Laterality.UNKNOWN: frozenset[Laterality](),
}


def breasts_of(images: Iterable[Image]) -> frozenset[Laterality]:
    """The breasts these images are of, as far as anybody said."""
    return frozenset[Laterality]().union(*(_BREASTS[Laterality(i.laterality)] for i in images))


def may_be_same_side(one: frozenset[Laterality], other: frozenset[Laterality]) -> bool:
    """Whether nobody said that these are different breasts."""
    return not one or not other or bool(one & other)


@dataclass(frozen=True)
class PriorImage:
    """An image of an earlier case, and the present image it is best held against."""

    number: int
    image: Image
    answer: ImageAnswer
    beside: Image | None

    @property
    def side(self) -> str:
        """Nobody compares by a side that nobody stated: then the page says so."""
        side = Laterality(self.image.laterality)
        return (
            gettext("side not stated") if side is Laterality.UNKNOWN else within(LATERALITY[side])
        )

    @property
    def state(self) -> StateWords:
        return STATES[self.answer.key]

    @property
    def top(self) -> Result | None:
        return self.answer.top


@dataclass(frozen=True)
class Prior:
    """An earlier case with its images of the same breast, or of one nobody named."""

    case: Case
    summary: CaseSummary
    images: tuple[PriorImage, ...]
    # How many of its images are of the other breast.
    elsewhere: int


def priors_context(*, actor: Actor, case: Case) -> dict[str, Any]:
    """What the case page needs for its priors. First reads of their answers are audited."""
    found = case_priors(actor=actor, case=case)
    priors = [prior_of(actor, prior, case) for prior in found[:MAX_PRIORS]]
    note_shown(actor, [prior.summary for prior in priors])
    return {
        "priors": priors,
        "priors_more": len(found) > MAX_PRIORS,
        "priors_limit": MAX_PRIORS,
    }


def prior_of(actor: Actor, prior: Case, case: Case) -> Prior:
    summary = summary_shown(actor=actor, case=prior)
    present = list(case.images.all())
    sides = breasts_of(present)
    clocks = {f.pk: f.clock_position for c in (case, prior) for f in c.findings.all()}
    images = tuple(
        PriorImage(number, answer.image, answer, beside_of(answer.image, present, clocks))
        for number, answer in enumerate(summary.answers, start=1)
        if may_be_same_side(breasts_of([answer.image]), sides)
    )
    return Prior(prior, summary, images, elsewhere=len(summary.answers) - len(images))


def beside_of(
    image: Image, others: Sequence[Image], clocks: Mapping[UUID, int | None]
) -> Image | None:
    """Of ``others`` the one to look at beside ``image``: at the same place, else of the same
    breast, else one that may be of it. ``clocks``: the clock positions of findings."""

    def clock(of: Image) -> int | None:
        return clocks.get(of.finding_id) if of.finding_id else None

    def distance(other: Image) -> int:
        one, two = breasts_of([image]), breasts_of([other])
        if not may_be_same_side(one, two):
            return 3
        if not one & two:
            return 2
        return 0 if clock(image) is not None and clock(image) == clock(other) else 1

    return min(others, key=distance, default=None)


@dataclass(frozen=True)
class Side:
    """One of the two pictures: of which case, and which of its images can be chosen instead."""

    title: str
    name: str
    frame_name: str
    case: Case
    panel: ImagePanel
    panels: tuple[ImagePanel, ...]


def side_of(
    *, actor: Actor, summary: CaseSummary, image_id: UUID, frame: int | None, name: str
) -> Side:
    """A picture of the comparison; ``name`` is its field in the address. ``NotFound`` where the
    case has no such image."""
    shown = {} if frame is None else {image_id: frame}
    panels = panels_of(summary, actor=actor, shown=shown)
    # Both cases have an image 1: ids on the page must differ.
    panels = [replace(panel, prefix=f"{name}-") for panel in panels]
    chosen = next((panel for panel in panels if panel.image.pk == image_id), None)
    if chosen is None:
        raise NotFound()
    return Side(
        title=gettext("This case") if name == "image" else gettext("Earlier case"),
        name=name,
        frame_name="frame" if name == "image" else "prior_frame",
        case=summary.case,
        panel=chosen,
        panels=tuple(panels),
    )
