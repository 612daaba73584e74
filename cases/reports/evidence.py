"""What lies outside the models' evidence, and what that evidence is. Pure functions.

A flag never changes an answer: it says that nobody knows how good answers are for such patients or
pictures.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date
from typing import Any

from django.utils.translation import gettext_noop as _

from cases.models import Case, Image
from cases.reports.card import measured_on
from cases.reports.card.blocks import bounds_of
from cases.reports.card.figures import evaluations
from cases.reports.card.values import Fields, count, figure, number
from cases.vocabulary import Circumstance, EvidenceFlag, Indication, Sex
from cases.words import Words, local

ADULT = 18
# Region Data Type (PS3.3 C.8.5.5.1.2): colour flow, spectral Doppler, Doppler traces.
_DOPPLER = frozenset(range(2, 8))

MEANING = _(
    "The models were not tested on this, as their cards say. How good the answer is here nobody "
    "knows; it was not changed by this note."
)


@dataclass(frozen=True)
class Flag:
    """One reason why an image lies outside the evidence. ``words``: a short sentence."""

    code: EvidenceFlag
    words: str


_WORDS = Words(
    {
        EvidenceFlag.MALE: _("The patient is male."),
        EvidenceFlag.UNDER_18: _("The patient was under 18 when the case was received."),
        EvidenceFlag.IMPLANT: _("The breast has an implant."),
        EvidenceFlag.LACTATING: _("The patient is lactating."),
        EvidenceFlag.TREATED: _("The breast was treated before."),
        EvidenceFlag.DOPPLER: _("The image holds Doppler."),
    }
)

CIRCUMSTANCE_WORDS = Words(
    {
        Circumstance.IMPLANT: _("Implant in the breast"),
        Circumstance.LACTATING: _("Lactating"),
        Circumstance.TREATED: _("Breast treated before (surgery, radiotherapy)"),
    }
)
_OF_CIRCUMSTANCE = {
    Circumstance.IMPLANT: EvidenceFlag.IMPLANT,
    Circumstance.LACTATING: EvidenceFlag.LACTATING,
    Circumstance.TREATED: EvidenceFlag.TREATED,
}


def case_flags(
    case: Case, stated: Collection[Circumstance], with_identity: bool
) -> tuple[Flag, ...]:
    """What is so of a whole case, in the order of `EvidenceFlag`.

    Sex and date of birth speak only for those who may see them.
    """
    found = {_OF_CIRCUMSTANCE[kind] for kind in stated}
    if case.indication == Indication.POST_TREATMENT:
        found.add(EvidenceFlag.TREATED)
    if with_identity:
        patient = case.patient
        if patient.sex == Sex.MALE:
            found.add(EvidenceFlag.MALE)
        if patient.birth_date and age_at(patient.birth_date, case.created_at.date()) < ADULT:
            found.add(EvidenceFlag.UNDER_18)
    return _flags(found)


def image_flags(image: Image) -> tuple[Flag, ...]:
    """What is so of one image alone, by its DICOM header."""
    regions = (image.facts or {}).get("regions") or ()
    kinds = {region.get("data_type") for region in regions if isinstance(region, dict)}
    return _flags({EvidenceFlag.DOPPLER} if kinds & _DOPPLER else set())


def age_at(birth: date, day: date) -> int:
    """Whole years; who was born on 29 February is a year older on 1 March."""
    return day.year - birth.year - ((day.month, day.day) < (birth.month, birth.day))


def _flags(found: Collection[EvidenceFlag]) -> tuple[Flag, ...]:
    return tuple(Flag(code, _WORDS[code]) for code in EvidenceFlag if code in found)


def flags_json(flags: Collection[Flag]) -> list[dict[str, Any]]:
    return [{"flag": flag.code.value, "words": flag.words} for flag in flags]


@dataclass(frozen=True)
class Measured:
    """What a model was measured to do at its operating point, by the first evaluation on its card.

    Figures with their 95 % intervals: "0.94 (0.89–0.98)"; "" where the card has none.
    """

    sensitivity: str
    specificity: str
    images: int | None
    title: str

    @property
    def measured_on(self) -> str:
        """Which images the figures come from, as the list of models says it."""
        return measured_on(self.title, self.images)


def measured_of(card: Fields) -> Measured | None:
    """None where the card has neither figure."""
    for title, fields in evaluations(card):
        sensitivity, specificity = (_figure(fields, k) for k in ("sensitivity", "specificity"))
        if sensitivity or specificity:
            return Measured(sensitivity, specificity, count(fields.get("n")), title)
    return None


def _figure(fields: Fields, key: str) -> str:
    if number(fields.get(key)) is None:
        return ""
    return local(figure(fields[key], bounds_of(fields, key)))
