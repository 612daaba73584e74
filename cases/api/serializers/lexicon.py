"""What a reader saw, in the words of the ACR BI-RADS ultrasound lexicon (5th edition)."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from cases.api.serializers.fields import OptionalChoiceField, choices
from cases.lexicon import (
    AssociatedFeature,
    Calcifications,
    EchoPattern,
    Elasticity,
    Margin,
    Orientation,
    PosteriorFeatures,
    Shape,
    SpecialCase,
    TissueComposition,
    Vascularity,
    descriptors_of,
)
from cases.models import Reading


def _some(words: Any, **more: Any) -> Any:
    return serializers.ListField(child=serializers.ChoiceField(choices(words)), **more)


class LexiconSerializer(serializers.Serializer[Any]):
    """Null and empty lists: not said. In an addendum they leave what was said before."""

    tissue_composition = OptionalChoiceField(
        choices(TissueComposition), help_text="Of the breast; only in readings of the whole case."
    )
    shape = OptionalChoiceField(choices(Shape))
    orientation = OptionalChoiceField(choices(Orientation))
    margin = _some(Margin, help_text="`circumscribed` alone, or one or more of the others.")
    echo_pattern = OptionalChoiceField(choices(EchoPattern))
    posterior_features = OptionalChoiceField(
        choices(PosteriorFeatures), help_text="`none`: no posterior features."
    )
    calcifications = _some(Calcifications)
    associated_features = _some(AssociatedFeature)
    vascularity = OptionalChoiceField(choices(Vascularity))
    elasticity = OptionalChoiceField(choices(Elasticity))
    special_case = OptionalChoiceField(choices(SpecialCase))
    size_mm = serializers.ListField(
        child=serializers.FloatField(),
        max_length=3,
        help_text="Up to three axes, the longest first.",
    )

    def to_representation(self, instance: Reading) -> dict[str, Any]:
        descriptors = descriptors_of(instance)
        told = {**descriptors.columns(), "size_mm": descriptors.sizes}
        shown: dict[str, Any] = super().to_representation(told)
        return shown
