"""The words of the ultrasound lexicon as a form sends them, checked."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from itertools import pairwise
from typing import Any

from cases.errors import FieldInvalid
from cases.lexicon import (
    COMPOSITION,
    MAX_SIZE_MM,
    OF_A_FINDING,
    SEVERAL,
    SINGLE,
    SIZES,
    Descriptors,
    Margin,
    TissueComposition,
)

Errors = dict[str, list[str]]


def descriptors_parse(raw: Mapping[str, Any]) -> tuple[Descriptors, Errors]:
    """What a form says in the words of the lexicon, and what is wrong with it by field.

    ``raw`` holds a list under the names that take several words. Unknown names are ignored.
    """
    errors: Errors = {}
    single: dict[str, type[StrEnum]] = {**SINGLE, COMPOSITION: TissueComposition}
    told: dict[str, Any] = {name: _one(raw, name, words, errors) for name, words in single.items()}
    told |= {name: _some(raw, name, words, errors) for name, words in SEVERAL.items()}
    told |= {name: _axis(raw, name, errors) for name in SIZES}
    if Margin.CIRCUMSCRIBED in told["margin"] and len(told["margin"]) > 1:
        errors["margin"] = ["A margin is circumscribed, or it is one or more of the others."]
    for earlier, later in pairwise(SIZES):
        missing = told[earlier] is None and earlier not in errors
        if told[later] is not None and missing:
            errors[earlier] = ["Give this axis too, or leave the next one out."]
    longest, *others = SIZES
    for axis in others:
        if told[longest] is not None and told[axis] is not None and told[axis] > told[longest]:
            errors[axis] = ["The longest axis comes first: this one is longer."]
    return Descriptors(**told), errors


def descriptors_require_place(descriptors: Descriptors, *, of_finding: bool) -> None:
    """``FieldInvalid`` for what a reading of this kind does not speak of.

    The composition is the breast's, told in the reading of the case; all else is a finding's.
    """
    foreign = (COMPOSITION,) if of_finding else OF_A_FINDING
    sentence = (
        "The composition of the breast belongs in the reading of the case as a whole."
        if of_finding
        else "This describes a finding. Name the finding and read it."
    )
    wrong = [name for name in descriptors.said if name in foreign]
    if wrong:
        raise FieldInvalid(errors={name: [sentence] for name in wrong})


def _known(value: str, name: str, words: type[StrEnum], errors: Errors) -> bool:
    known = value in {word.value for word in words}
    if not known:
        errors[name] = ["Choose among: " + ", ".join(word.value for word in words) + "."]
    return known


def _one(raw: Mapping[str, Any], name: str, words: type[StrEnum], errors: Errors) -> str:
    value = str(raw.get(name) or "").strip()
    return value if value and _known(value, name, words, errors) else ""


def _some(
    raw: Mapping[str, Any], name: str, words: type[StrEnum], errors: Errors
) -> tuple[str, ...]:
    """In the order of the atlas, each once."""
    given = raw.get(name) or ()
    values = {str(given)} if isinstance(given, str) else {str(value) for value in given}
    values.discard("")
    if not all(_known(value, name, words, errors) for value in values):
        return ()
    return tuple(word.value for word in words if word.value in values)


def _axis(raw: Mapping[str, Any], name: str, errors: Errors) -> Decimal | None:
    text = str(raw.get(name) or "").strip().replace(",", ".")
    if not text:
        return None
    try:
        size = Decimal(text)
        if not size.is_finite():
            raise InvalidOperation
    except InvalidOperation:
        errors[name] = ["A number of millimetres, for example 12 or 8.5."]
        return None
    if not Decimal("0.1") <= size <= MAX_SIZE_MM:
        errors[name] = [f"Between 0.1 and {MAX_SIZE_MM} mm."]
        return None
    return size.quantize(Decimal("0.1"))
