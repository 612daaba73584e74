"""The words of the ultrasound lexicon as people read them. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum

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

LEGENDS: dict[str, str] = {
    COMPOSITION: "Tissue composition",
    "shape": "Shape",
    "orientation": "Orientation",
    "margin": "Margin",
    "echo_pattern": "Echo pattern",
    "posterior_features": "Posterior features",
    "calcifications": "Calcifications",
    "associated_features": "Associated features",
    "vascularity": "Vascularity",
    "elasticity": "Elasticity",
    "special_case": "Special case",
    "size_1_mm": "Longest axis",
    "size_2_mm": "At right angles",
    "size_3_mm": "Third axis",
}
WORDS: dict[str, Mapping[StrEnum, str]] = {
    COMPOSITION: {
        TissueComposition.HOMOGENEOUS_FAT: "Homogeneous background echotexture: fat",
        TissueComposition.HOMOGENEOUS_FIBROGLANDULAR: (
            "Homogeneous background echotexture: fibroglandular"
        ),
        TissueComposition.HETEROGENEOUS: "Heterogeneous background echotexture",
    },
    "shape": {Shape.OVAL: "Oval", Shape.ROUND: "Round", Shape.IRREGULAR: "Irregular"},
    "orientation": {
        Orientation.PARALLEL: "Parallel",
        Orientation.NOT_PARALLEL: "Not parallel",
    },
    "margin": {
        Margin.CIRCUMSCRIBED: "Circumscribed",
        Margin.INDISTINCT: "Indistinct",
        Margin.ANGULAR: "Angular",
        Margin.MICROLOBULATED: "Microlobulated",
        Margin.SPICULATED: "Spiculated",
    },
    "echo_pattern": {
        EchoPattern.ANECHOIC: "Anechoic",
        EchoPattern.HYPERECHOIC: "Hyperechoic",
        EchoPattern.COMPLEX_CYSTIC_AND_SOLID: "Complex cystic and solid",
        EchoPattern.HYPOECHOIC: "Hypoechoic",
        EchoPattern.ISOECHOIC: "Isoechoic",
        EchoPattern.HETEROGENEOUS: "Heterogeneous",
    },
    "posterior_features": {
        PosteriorFeatures.NONE: "No posterior features",
        PosteriorFeatures.ENHANCEMENT: "Enhancement",
        PosteriorFeatures.SHADOWING: "Shadowing",
        PosteriorFeatures.COMBINED: "Combined pattern",
    },
    "calcifications": {
        Calcifications.IN_MASS: "In a mass",
        Calcifications.OUTSIDE_MASS: "Outside of a mass",
        Calcifications.INTRADUCTAL: "Intraductal",
    },
    "associated_features": {
        AssociatedFeature.ARCHITECTURAL_DISTORTION: "Architectural distortion",
        AssociatedFeature.DUCT_CHANGES: "Duct changes",
        AssociatedFeature.SKIN_THICKENING: "Skin thickening",
        AssociatedFeature.SKIN_RETRACTION: "Skin retraction",
        AssociatedFeature.EDEMA: "Edema",
    },
    "vascularity": {
        Vascularity.ABSENT: "Absent",
        Vascularity.INTERNAL: "Internal vascularity",
        Vascularity.RIM: "Vessels in rim",
    },
    "elasticity": {
        Elasticity.SOFT: "Soft",
        Elasticity.INTERMEDIATE: "Intermediate",
        Elasticity.HARD: "Hard",
    },
    "special_case": {
        SpecialCase.SIMPLE_CYST: "Simple cyst",
        SpecialCase.CLUSTERED_MICROCYSTS: "Clustered microcysts",
        SpecialCase.COMPLICATED_CYST: "Complicated cyst",
        SpecialCase.MASS_IN_OR_ON_SKIN: "Mass in or on skin",
        SpecialCase.FOREIGN_BODY: "Foreign body including implants",
        SpecialCase.INTRAMAMMARY_NODE: "Lymph node, intramammary",
        SpecialCase.AXILLARY_NODE: "Lymph node, axillary",
        SpecialCase.VASCULAR_ABNORMALITY: "Vascular abnormality: AVM or pseudoaneurysm",
        SpecialCase.MONDOR_DISEASE: "Vascular abnormality: Mondor disease",
        SpecialCase.POSTSURGICAL_FLUID: "Postsurgical fluid collection",
        SpecialCase.FAT_NECROSIS: "Fat necrosis",
    },
}
NOT_CIRCUMSCRIBED = "Not circumscribed: "


def described(descriptors: Descriptors) -> list[tuple[str, str]]:
    """What was said, as pairs of legend and words in the order of the atlas; the size as one."""
    pairs = []
    for name in descriptors.said:
        if name in WORDS:
            pairs.append((LEGENDS[name], _words(name, getattr(descriptors, name))))
    if descriptors.sizes:
        pairs.append(("Size", size_words(descriptors.sizes)))
    return pairs


def size_words(sizes: tuple[Decimal, ...]) -> str:
    """ "12 × 8.5 mm"."""
    return " × ".join(_number(size) for size in sizes) + " mm"


def _words(name: str, value: str | tuple[str, ...]) -> str:
    known = {word.value: told for word, told in WORDS[name].items()}
    if isinstance(value, str):
        return known[value]
    told = ", ".join(known[one].lower() for one in value)
    if name == "margin" and Margin.CIRCUMSCRIBED.value not in value:
        return NOT_CIRCUMSCRIBED + told
    return told[:1].upper() + told[1:]


def _number(size: Decimal) -> str:
    return f"{size.normalize():f}"
