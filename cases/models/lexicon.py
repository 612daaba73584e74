"""The columns in which a reading keeps the words of the ultrasound lexicon, and their rules."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from cases.lexicon import (
    COMPOSITION,
    MAX_SIZE_MM,
    SEVERAL,
    SINGLE,
    SIZES,
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
)


def _one_of(words: type[StrEnum]) -> Any:
    # Earlier versions that still run say nothing of it: the database fills it in.
    choices = [(word.value, word.value) for word in words]
    return models.CharField(max_length=32, blank=True, default="", db_default="", choices=choices)


def _some_of(words: type[StrEnum]) -> Any:
    choices = [(word.value, word.value) for word in words]
    word = models.CharField(max_length=32, choices=choices)
    return ArrayField(word, blank=True, default=list, db_default=[])


def _axis() -> Any:
    return models.DecimalField(max_digits=4, decimal_places=1, null=True, blank=True)


class Lexicon(models.Model):
    """What a reader saw, in the atlas' words. Empty where they said nothing of it."""

    tissue_composition = _one_of(TissueComposition)
    shape = _one_of(Shape)
    orientation = _one_of(Orientation)
    margin = _some_of(Margin)
    echo_pattern = _one_of(EchoPattern)
    posterior_features = _one_of(PosteriorFeatures)
    calcifications = _some_of(Calcifications)
    associated_features = _some_of(AssociatedFeature)
    vascularity = _one_of(Vascularity)
    elasticity = _one_of(Elasticity)
    special_case = _one_of(SpecialCase)
    size_1_mm = _axis()
    size_2_mm = _axis()
    size_3_mm = _axis()

    class Meta:
        abstract = True


def _known() -> list[models.CheckConstraint]:
    one: dict[str, type[StrEnum]] = {**SINGLE, COMPOSITION: TissueComposition}
    return [
        models.CheckConstraint(
            condition=Q(**{f"{name}__in": ["", *(word.value for word in words)]}),
            name=f"reading_{name}_known",
        )
        for name, words in one.items()
    ] + [
        models.CheckConstraint(
            condition=Q(**{f"{name}__contained_by": [word.value for word in words]}),
            name=f"reading_{name}_known",
        )
        for name, words in SEVERAL.items()
    ]


def _sizes() -> list[models.CheckConstraint]:
    return [
        models.CheckConstraint(
            condition=Q(**{f"{name}__isnull": True})
            | Q(**{f"{name}__gt": 0, f"{name}__lte": MAX_SIZE_MM}),
            name=f"reading_{name}_in_range",
        )
        for name in SIZES
    ] + [
        models.CheckConstraint(
            # The first axis before the second, the second before the third.
            condition=(Q(size_2_mm__isnull=True) | Q(size_1_mm__isnull=False))
            & (Q(size_3_mm__isnull=True) | Q(size_2_mm__isnull=False)),
            name="reading_sizes_in_order",
        )
    ]


def lexicon_constraints() -> list[models.CheckConstraint]:
    """The rules of the lexicon, for the reading's own table."""
    said_nothing = {
        **dict.fromkeys(SINGLE, ""),
        **{name: [] for name in SEVERAL},
        **{f"{name}__isnull": True for name in SIZES},
    }
    return [
        *_known(),
        *_sizes(),
        models.CheckConstraint(
            condition=~Q(margin__contains=[Margin.CIRCUMSCRIBED.value])
            | Q(margin=[Margin.CIRCUMSCRIBED.value]),
            name="reading_circumscribed_alone",
        ),
        models.CheckConstraint(
            condition=Q(finding__isnull=True, **said_nothing)
            | Q(finding__isnull=False, tissue_composition=""),
            name="reading_lexicon_of_its_place",
        ),
    ]
