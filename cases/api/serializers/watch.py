"""How a model does: shares with their counts and intervals, by site and device."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from cases.api.serializers.fields import ZonedDateTimeField, choices
from cases.api.serializers.queries import QuerySerializer
from cases.measures import DRIFT_BINS
from cases.vocabulary import Label
from cases.watching import AlertKind, Basis, Known, Mix, Watch, WatchRow

MAX_DEVICE = 130


class WatchQuerySerializer(QuerySerializer):
    device = serializers.CharField(
        required=False,
        max_length=MAX_DEVICE,
        help_text="Manufacturer and model, as `device` below; `not stated` where files tell none.",
    )
    since = ZonedDateTimeField(required=False, help_text="Answers at or after this moment.")
    until = ZonedDateTimeField(required=False, help_text="Answers before this moment.")


class ShareSerializer(serializers.Serializer[Any]):
    """`count` of `n`. Of fewer than 10 no share is told: value and interval are null."""

    count = serializers.IntegerField()
    n = serializers.IntegerField()
    value = serializers.FloatField(allow_null=True)
    ci95 = serializers.ListField(
        child=serializers.FloatField(),
        source="interval",
        allow_null=True,
        help_text="Wilson: [low, high].",
    )


class MixSerializer(serializers.Serializer[Any]):
    """What was said of so many images."""

    images = serializers.IntegerField()
    answered = serializers.SerializerMethodField()
    abstained = ShareSerializer(source="abstained_share")
    refused = ShareSerializer(source="refused_share")
    refused_by_reason = serializers.DictField(
        child=serializers.IntegerField(), source="refused", help_text="Counts by `reason_code`."
    )

    @extend_schema_field(serializers.DictField(child=ShareSerializer()))
    def get_answered(self, mix: Mix) -> dict[str, Any]:
        shares = {label.value: mix.share(mix.answered.get(label.value, 0)) for label in Label}
        return {label: dict(ShareSerializer(share).data) for label, share in shares.items()}


class KnownSerializer(serializers.Serializer[Any]):
    """By finding, at the operating point; `…_all` count findings without an answer as above."""

    basis = serializers.ChoiceField(
        choices(Basis), help_text="`verified`: histology and follow-up together."
    )
    findings = serializers.IntegerField(source="n")
    sensitivity = ShareSerializer()
    specificity = ShareSerializer()
    ppv = ShareSerializer()
    sensitivity_all = ShareSerializer()
    specificity_all = ShareSerializer()

    def to_representation(self, instance: tuple[Basis, Known]) -> dict[str, Any]:
        basis, known = instance
        shown: dict[str, Any] = {"basis": basis.value}
        for name, one in self.fields.items():
            if name != "basis":
                shown[name] = one.to_representation(one.get_attribute(known))
        return shown


class VerificationSerializer(serializers.Serializer[Any]):
    """Of how many findings histology or follow-up told the outcome, by what the model said. Who is
    verified is no chance: the figures of `known` lean on it."""

    above = ShareSerializer()
    below = ShareSerializer()
    neither = serializers.IntegerField(help_text="Outcomes neither malignant nor benign.")


class CalibrationBinSerializer(serializers.Serializer[Any]):
    mean_score = serializers.FloatField()
    malignant = ShareSerializer(source="share")


class CalibrationSerializer(serializers.Serializer[Any]):
    """By image, of verified findings; `ece` is null of fewer than 50 images."""

    images = serializers.IntegerField(source="n")
    findings = serializers.IntegerField()
    ece = serializers.FloatField(source="error", allow_null=True)
    bins = CalibrationBinSerializer(many=True, help_text="15 of equal width, from score 0 to 1.")


class DriftSerializer(serializers.Serializer[Any]):
    """Feature distances of the recent images against a reference."""

    reference = serializers.ChoiceField(["training", "first_images"], source="reference.of")
    reference_images = serializers.IntegerField(source="reference.n")
    images = serializers.IntegerField(source="n")
    tenths = serializers.ListField(
        child=serializers.IntegerField(),
        source="counts",
        min_length=DRIFT_BINS,
        max_length=DRIFT_BINS,
    )
    stability_index = serializers.FloatField(source="psi", allow_null=True)
    chance = serializers.FloatField(
        allow_null=True, help_text="What chance alone exceeds once in a thousand."
    )
    far = ShareSerializer(help_text="Beyond the reference's 95th percentile.")


class WatchGroupSerializer(serializers.Serializer[Any]):
    """One device, or all of them together (`device` null)."""

    site = serializers.CharField()
    device = serializers.SerializerMethodField()
    mix = MixSerializer()
    recent = MixSerializer(help_text="Of the last `recent_days`.")
    withdrawn = serializers.IntegerField(help_text="Answers withdrawn: in no other figure.")
    known = serializers.SerializerMethodField()
    verification = VerificationSerializer()
    calibration = CalibrationSerializer(allow_null=True)
    drift = DriftSerializer(allow_null=True)
    alerts = serializers.SerializerMethodField()

    @extend_schema_field(serializers.CharField(allow_null=True))
    def get_device(self, row: WatchRow) -> str | None:
        return None if row.device is None else row.device_name

    @extend_schema_field(KnownSerializer(many=True))
    def get_known(self, row: WatchRow) -> list[Any]:
        told = [(basis, known) for basis, known in row.known.items() if known.n]
        return list(KnownSerializer(told, many=True).data)

    @extend_schema_field(serializers.ListField(child=serializers.ChoiceField(choices(AlertKind))))
    def get_alerts(self, row: WatchRow) -> list[str]:
        return [alert.kind.value for alert in self.context["watch"].limits.of(row)]


class AlertLimitsSerializer(serializers.Serializer[Any]):
    """From which figures on an alert is raised; shares by the lower end of their interval."""

    stability_index = serializers.FloatField(source="psi")
    far = serializers.FloatField()
    refused = serializers.FloatField()
    abstained = serializers.FloatField()


class WatchSerializer(serializers.Serializer[Any]):
    """How one version does at the own site."""

    recent_days = serializers.IntegerField(source="days")
    limits = AlertLimitsSerializer()
    groups = serializers.SerializerMethodField()

    @extend_schema_field(WatchGroupSerializer(many=True))
    def get_groups(self, told: Watch) -> list[Any]:
        context = {**self.context, "watch": told}
        return list(WatchGroupSerializer(told.rows, many=True, context=context).data)
