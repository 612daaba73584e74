"""Why a case or an image lies outside what the models were tested on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rest_framework import serializers

from cases.access import Actor, Capability
from cases.api.serializers.fields import choices
from cases.models import Case, Image
from cases.reports.evidence import Flag, case_flags, image_flags
from cases.vocabulary import EvidenceFlag


class EvidenceFlagSerializer(serializers.Serializer[Any]):
    """One reason. It never changes an answer: how good answers are here nobody knows."""

    flag = serializers.ChoiceField(choices(EvidenceFlag))
    words = serializers.CharField()


def flags_for(
    context: Mapping[str, Any], case: Case, image: Image | None = None
) -> tuple[Flag, ...]:
    """The flags of a case, with those of one of its images. Context: `actor`, `stated`.

    What rests on sex and date of birth only for readers with identity.
    """
    actor: Actor = context["actor"]
    found = case_flags(case, context["stated"], actor.can(Capability.VIEW_IDENTITY))
    return found if image is None else (*found, *image_flags(image))
