"""The ultrasound lexicon of the ACR BI-RADS atlas, 5th edition (2013), as closed vocabularies.

Each value is the atlas' own word. What a person chose stands in the columns of a reading; nothing
here is ever filled in from a model's answer.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from decimal import Decimal
from enum import StrEnum
from typing import Any


class TissueComposition(StrEnum):
    """Of the breast, not of a finding."""

    HOMOGENEOUS_FAT = "homogeneous_fat"
    HOMOGENEOUS_FIBROGLANDULAR = "homogeneous_fibroglandular"
    HETEROGENEOUS = "heterogeneous"


class Shape(StrEnum):
    OVAL = "oval"
    ROUND = "round"
    IRREGULAR = "irregular"


class Orientation(StrEnum):
    PARALLEL = "parallel"
    NOT_PARALLEL = "not_parallel"


class Margin(StrEnum):
    """Circumscribed, or not circumscribed in one way or more."""

    CIRCUMSCRIBED = "circumscribed"
    INDISTINCT = "indistinct"
    ANGULAR = "angular"
    MICROLOBULATED = "microlobulated"
    SPICULATED = "spiculated"


class EchoPattern(StrEnum):
    ANECHOIC = "anechoic"
    HYPERECHOIC = "hyperechoic"
    COMPLEX_CYSTIC_AND_SOLID = "complex_cystic_and_solid"
    HYPOECHOIC = "hypoechoic"
    ISOECHOIC = "isoechoic"
    HETEROGENEOUS = "heterogeneous"


class PosteriorFeatures(StrEnum):
    NONE = "none"
    ENHANCEMENT = "enhancement"
    SHADOWING = "shadowing"
    COMBINED = "combined"


class Calcifications(StrEnum):
    IN_MASS = "in_mass"
    OUTSIDE_MASS = "outside_mass"
    INTRADUCTAL = "intraductal"


class AssociatedFeature(StrEnum):
    """Those that may stand beside each other; vascularity and elasticity are one of a few."""

    ARCHITECTURAL_DISTORTION = "architectural_distortion"
    DUCT_CHANGES = "duct_changes"
    SKIN_THICKENING = "skin_thickening"
    SKIN_RETRACTION = "skin_retraction"
    EDEMA = "edema"


class Vascularity(StrEnum):
    ABSENT = "absent"
    INTERNAL = "internal"
    RIM = "rim"


class Elasticity(StrEnum):
    SOFT = "soft"
    INTERMEDIATE = "intermediate"
    HARD = "hard"


class SpecialCase(StrEnum):
    SIMPLE_CYST = "simple_cyst"
    CLUSTERED_MICROCYSTS = "clustered_microcysts"
    COMPLICATED_CYST = "complicated_cyst"
    MASS_IN_OR_ON_SKIN = "mass_in_or_on_skin"
    FOREIGN_BODY = "foreign_body"
    INTRAMAMMARY_NODE = "intramammary_node"
    AXILLARY_NODE = "axillary_node"
    VASCULAR_ABNORMALITY = "vascular_abnormality"
    MONDOR_DISEASE = "mondor_disease"
    POSTSURGICAL_FLUID = "postsurgical_fluid"
    FAT_NECROSIS = "fat_necrosis"


# One of the words, or none.
SINGLE: dict[str, type[StrEnum]] = {
    "shape": Shape,
    "orientation": Orientation,
    "echo_pattern": EchoPattern,
    "posterior_features": PosteriorFeatures,
    "vascularity": Vascularity,
    "elasticity": Elasticity,
    "special_case": SpecialCase,
}
# Any number of the words.
SEVERAL: dict[str, type[StrEnum]] = {
    "margin": Margin,
    "calcifications": Calcifications,
    "associated_features": AssociatedFeature,
}
# Of the whole breast: told in the reading of the case, never of a finding.
COMPOSITION = "tissue_composition"
SIZES = ("size_1_mm", "size_2_mm", "size_3_mm")
MAX_SIZE_MM = Decimal(300)
OF_A_FINDING = (*SINGLE, *SEVERAL, *SIZES)


@dataclass(frozen=True)
class Descriptors:
    """What a reader saw, in the words of the lexicon. ``""``, ``()``, None: not said."""

    tissue_composition: str = ""
    shape: str = ""
    orientation: str = ""
    margin: tuple[str, ...] = ()
    echo_pattern: str = ""
    posterior_features: str = ""
    calcifications: tuple[str, ...] = ()
    associated_features: tuple[str, ...] = ()
    vascularity: str = ""
    elasticity: str = ""
    special_case: str = ""
    # Axes in mm, the first one the longest where all are told.
    size_1_mm: Decimal | None = None
    size_2_mm: Decimal | None = None
    size_3_mm: Decimal | None = None

    @property
    def is_empty(self) -> bool:
        return not self.said

    @property
    def said(self) -> tuple[str, ...]:
        """Names of what was said, in the order of the atlas."""
        return tuple(f.name for f in fields(self) if getattr(self, f.name) not in ("", (), None))

    @property
    def sizes(self) -> tuple[Decimal, ...]:
        axes = (self.size_1_mm, self.size_2_mm, self.size_3_mm)
        return tuple(axis for axis in axes if axis is not None)

    def columns(self) -> dict[str, Any]:
        """As the columns of a reading hold them."""
        return {
            f.name: list(value) if isinstance(value, tuple) else value
            for f in fields(self)
            for value in [getattr(self, f.name)]
        }


NOTHING_SAID = Descriptors()


def descriptors_of(row: Any) -> Descriptors:
    """What a stored reading says."""
    held: dict[str, Any] = {f.name: getattr(row, f.name) for f in fields(Descriptors)}
    for name in SEVERAL:
        held[name] = tuple(held[name])
    return Descriptors(**held)
