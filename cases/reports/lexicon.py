"""The words of the ultrasound lexicon as people read them. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum

from django.utils.translation import gettext
from django.utils.translation import gettext_noop as _

from cases.lexicon import (
    COMPOSITION,
    AssociatedFeature,
    Calcifications,
    Descriptors,
    EchoPattern,
    Elasticity,
    Margin,
    Orientation,
    PosteriorFeatures,
    Shape,
    SpecialCase,
    TissueComposition,
    Vascularity,
)
from cases.words import Words, local, noun_within, within

LEGENDS = Words(
    {
        COMPOSITION: _("Tissue composition"),
        "shape": _("Shape"),
        "orientation": _("Orientation"),
        "margin": _("Margin"),
        "echo_pattern": _("Echo pattern"),
        "posterior_features": _("Posterior features"),
        "calcifications": _("Calcifications"),
        "associated_features": _("Associated features"),
        "vascularity": _("Vascularity"),
        "elasticity": _("Elasticity"),
        "special_case": _("Special case"),
        "size_1_mm": _("Longest axis"),
        "size_2_mm": _("At right angles"),
        "size_3_mm": _("Third axis"),
    }
)
WORDS: dict[str, Mapping[StrEnum, str]] = {
    COMPOSITION: Words(
        {
            TissueComposition.HOMOGENEOUS_FAT: _("Homogeneous background echotexture: fat"),
            TissueComposition.HOMOGENEOUS_FIBROGLANDULAR: (
                _("Homogeneous background echotexture: fibroglandular")
            ),
            TissueComposition.HETEROGENEOUS: _("Heterogeneous background echotexture"),
        }
    ),
    "shape": Words(
        {Shape.OVAL: _("Oval"), Shape.ROUND: _("Round"), Shape.IRREGULAR: _("Irregular")}
    ),
    "orientation": Words(
        {
            Orientation.PARALLEL: _("Parallel"),
            Orientation.NOT_PARALLEL: _("Not parallel"),
        }
    ),
    "margin": Words(
        {
            Margin.CIRCUMSCRIBED: _("Circumscribed"),
            Margin.INDISTINCT: _("Indistinct"),
            Margin.ANGULAR: _("Angular"),
            Margin.MICROLOBULATED: _("Microlobulated"),
            Margin.SPICULATED: _("Spiculated"),
        }
    ),
    "echo_pattern": Words(
        {
            EchoPattern.ANECHOIC: _("Anechoic"),
            EchoPattern.HYPERECHOIC: _("Hyperechoic"),
            EchoPattern.COMPLEX_CYSTIC_AND_SOLID: _("Complex cystic and solid"),
            EchoPattern.HYPOECHOIC: _("Hypoechoic"),
            EchoPattern.ISOECHOIC: _("Isoechoic"),
            EchoPattern.HETEROGENEOUS: _("Heterogeneous"),
        }
    ),
    "posterior_features": Words(
        {
            PosteriorFeatures.NONE: _("No posterior features"),
            PosteriorFeatures.ENHANCEMENT: _("Enhancement"),
            PosteriorFeatures.SHADOWING: _("Shadowing"),
            PosteriorFeatures.COMBINED: _("Combined pattern"),
        }
    ),
    "calcifications": Words(
        {
            Calcifications.IN_MASS: _("In a mass"),
            Calcifications.OUTSIDE_MASS: _("Outside of a mass"),
            Calcifications.INTRADUCTAL: _("Intraductal"),
        }
    ),
    "associated_features": Words(
        {
            AssociatedFeature.ARCHITECTURAL_DISTORTION: _("Architectural distortion"),
            AssociatedFeature.DUCT_CHANGES: _("Duct changes"),
            AssociatedFeature.SKIN_THICKENING: _("Skin thickening"),
            AssociatedFeature.SKIN_RETRACTION: _("Skin retraction"),
            AssociatedFeature.EDEMA: _("Edema"),
        }
    ),
    "vascularity": Words(
        {
            Vascularity.ABSENT: _("Absent"),
            Vascularity.INTERNAL: _("Internal vascularity"),
            Vascularity.RIM: _("Vessels in rim"),
        }
    ),
    "elasticity": Words(
        {
            Elasticity.SOFT: _("Soft"),
            Elasticity.INTERMEDIATE: _("Intermediate"),
            Elasticity.HARD: _("Hard"),
        }
    ),
    "special_case": Words(
        {
            SpecialCase.SIMPLE_CYST: _("Simple cyst"),
            SpecialCase.CLUSTERED_MICROCYSTS: _("Clustered microcysts"),
            SpecialCase.COMPLICATED_CYST: _("Complicated cyst"),
            SpecialCase.MASS_IN_OR_ON_SKIN: _("Mass in or on skin"),
            SpecialCase.FOREIGN_BODY: _("Foreign body including implants"),
            SpecialCase.INTRAMAMMARY_NODE: _("Lymph node, intramammary"),
            SpecialCase.AXILLARY_NODE: _("Lymph node, axillary"),
            SpecialCase.VASCULAR_ABNORMALITY: _("Vascular abnormality: AVM or pseudoaneurysm"),
            SpecialCase.MONDOR_DISEASE: _("Vascular abnormality: Mondor disease"),
            SpecialCase.POSTSURGICAL_FLUID: _("Postsurgical fluid collection"),
            SpecialCase.FAT_NECROSIS: _("Fat necrosis"),
        }
    ),
}
NOT_CIRCUMSCRIBED = _("Not circumscribed: ")


def described(descriptors: Descriptors) -> list[tuple[str, str]]:
    """What was said, as pairs of legend and words in the order of the atlas; the size as one."""
    pairs = []
    for name in descriptors.said:
        if name in WORDS:
            pairs.append((LEGENDS[name], _words(name, getattr(descriptors, name))))
    if descriptors.sizes:
        pairs.append((gettext("Size"), size_words(descriptors.sizes)))
    return pairs


def size_words(sizes: tuple[Decimal, ...]) -> str:
    """ "12 × 8.5 mm"."""
    return " × ".join(_number(size) for size in sizes) + " mm"


def _words(name: str, value: str | tuple[str, ...]) -> str:
    known = {word.value: told for word, told in WORDS[name].items()}
    if isinstance(value, str):
        return known[value]
    lower = noun_within if name == "associated_features" else within
    told = ", ".join(lower(known[one]) for one in value)
    if name == "margin" and Margin.CIRCUMSCRIBED.value not in value:
        return gettext(NOT_CIRCUMSCRIBED) + told
    return told[:1].upper() + told[1:]


def _number(size: Decimal) -> str:
    return local(f"{size.normalize():f}")
