"""A result in the words of the contract; `reports.answers` is where its content is made."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from cases.api.links import link
from cases.api.serializers.evidence import EvidenceFlagSerializer, flags_for
from cases.api.serializers.fields import OptionalChoiceField, choices
from cases.models import Result
from cases.reports.answers import result_json
from cases.reports.evidence import flags_json
from cases.vocabulary import Label, Outcome


class ProbabilitiesSerializer(serializers.Serializer[Any]):
    """Calibrated model scores in 0..1 that sum to 1. Not probabilities of disease."""

    benign = serializers.FloatField()
    malignant = serializers.FloatField()
    normal = serializers.FloatField()


class OperatingPointSerializer(serializers.Serializer[Any]):
    """`malignant` from `threshold` on; `sensitivity` is what the threshold was set for."""

    threshold = serializers.FloatField()
    sensitivity = serializers.FloatField()


class ModelRefSerializer(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    version = serializers.CharField()
    sha256 = serializers.CharField()


class WithdrawnSerializer(serializers.Serializer[Any]):
    """The answer must not be used any more; it stays to be seen."""

    at = serializers.DateTimeField()
    reason = serializers.CharField(allow_null=True)


class ResultSerializer(serializers.Serializer[Any]):
    """The answer for one frame. The label follows the operating point, not the largest score."""

    id = serializers.UUIDField()
    outcome = serializers.ChoiceField(choices(Outcome))
    reason = serializers.CharField(allow_null=True)
    label = OptionalChoiceField(choices(Label))  # type: ignore[assignment]
    probabilities = ProbabilitiesSerializer(allow_null=True)
    operating_point = OperatingPointSerializer()
    frame = serializers.IntegerField()
    heatmap_url = serializers.URLField(allow_null=True)
    model = ModelRefSerializer()
    engine = serializers.CharField()
    preprocessing = serializers.CharField()
    duration_ms = serializers.FloatField()
    withdrawn = WithdrawnSerializer(allow_null=True)
    research_use_only = serializers.BooleanField()

    def told(self, result: Result) -> dict[str, Any]:
        """What is said of ``result``; the fields above then say in which form."""
        heatmap_url = link(self.context["request"], "result-heatmap", result.pk)
        return result_json(result, heatmap_url=heatmap_url)

    def to_representation(self, instance: Result) -> dict[str, Any]:
        shown: dict[str, Any] = super().to_representation(self.told(instance))
        return shown


class TransformSerializer(serializers.Serializer[Any]):
    """How the frame was put on the network's input square; boxes are x0, y0, x1, y1 in pixels of
    the frame."""

    picture = serializers.ListField(child=serializers.IntegerField(), help_text="Width, height.")
    content = serializers.ListField(
        child=serializers.IntegerField(), help_text="The part that was used."
    )
    covered = serializers.ListField(
        child=serializers.FloatField(),
        help_text="What the square spans; beyond the frame where it was padded.",
    )
    fit = serializers.CharField(help_text="`pad` keeps the proportions, `squash` does not.")
    size = serializers.IntegerField(help_text="Side of the square.")


class ListedResultSerializer(ResultSerializer):
    """A result outside its job: with its address, what it is about, and how it was computed."""

    url = serializers.URLField()
    reason_code = serializers.CharField(
        allow_null=True, help_text="The reason in a word; null where there is none."
    )
    temperature = serializers.FloatField(
        allow_null=True, help_text="Logits were divided by this. Null in early results."
    )
    minimum_score = serializers.FloatField(
        allow_null=True,
        help_text="Below this largest score the model abstains; null where it never does.",
    )
    transform = TransformSerializer(allow_null=True)
    replay_url = serializers.URLField(help_text="POST computes the result again.")
    job = serializers.UUIDField()
    image = serializers.UUIDField()
    case = serializers.UUIDField()
    created_at = serializers.DateTimeField()

    def told(self, result: Result) -> dict[str, Any]:
        return {
            **super().told(result),
            "url": link(self.context["request"], "result-detail", result.pk),
            "reason_code": result.reason_code or None,
            "temperature": result.temperature,
            "minimum_score": result.minimum_score,
            "transform": result.transform,
            "replay_url": link(self.context["request"], "result-replay", result.pk),
            "job": result.job_id,
            "image": result.image_id,
            "case": result.image.case_id,
            "created_at": result.created_at,
        }


class ResultDetailSerializer(ListedResultSerializer):
    """A result standing alone: also with what its case and image say of the models' evidence.

    Context: `stated`.
    """

    outside_evidence = EvidenceFlagSerializer(
        many=True,
        help_text="Why the image lies outside what the models were tested on; no answer changes.",
    )

    def told(self, result: Result) -> dict[str, Any]:
        flags = flags_for(self.context, result.image.case, result.image)
        return {**super().told(result), "outside_evidence": flags_json(flags)}
