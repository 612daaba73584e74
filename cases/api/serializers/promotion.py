"""The life of a model version: gate, requests, suspension, what was live, whom to recall."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from cases.access import Actor, Capability
from cases.api.serializers.fields import LinkField, OptionalCharField, choices
from cases.api.serializers.learning import ModelDetailSerializer
from cases.api.serializers.results import WithdrawnSerializer
from cases.models import PromotionRequest, Result
from cases.reports.answers import withdrawn_json
from cases.selectors.model_life import LiveAt
from cases.services.persons import MAX_REASON
from cases.states import ModelState
from cases.vocabulary import Decision, GateState, Outcome


class SuspensionSerializer(serializers.Serializer[Any]):
    """A stretch of time in which no image was taken; jobs waited."""

    since = serializers.DateTimeField()
    until = serializers.DateTimeField(allow_null=True, help_text="Null while it lasts.")
    reason = serializers.CharField()
    by = serializers.CharField()


class ModelLiveSerializer(ModelDetailSerializer):
    """The live model, since when, and whether answers were suspended at that moment."""

    live_since = serializers.DateTimeField()
    suspension = SuspensionSerializer(allow_null=True)

    def to_representation(self, instance: LiveAt) -> dict[str, Any]:
        model: Any = instance.model
        model.live_since = instance.since
        model.suspension = instance.suspension
        shown: dict[str, Any] = super().to_representation(model)
        return shown


class ServingSerializer(serializers.Serializer[Any]):
    """Whether images are answered at this moment."""

    suspended = serializers.BooleanField()
    suspension = SuspensionSerializer(allow_null=True)
    history = SuspensionSerializer(many=True, help_text="Newest first.")


class SuspensionReasonSerializer(serializers.Serializer[Any]):
    reason = serializers.CharField(
        max_length=MAX_REASON, help_text="Shown to everybody whose images wait. No patient data."
    )


class GateSerializer(serializers.Serializer[Any]):
    state = serializers.ChoiceField(choices(GateState))
    limits = serializers.ListField(child=serializers.DictField())
    plan_sha256 = serializers.CharField(help_text="Of the plan frozen before the run.")
    created_at = serializers.DateTimeField()


class PromotionSerializer(serializers.Serializer[Any]):
    """One person asked; another decides at the portal."""

    id = serializers.UUIDField(source="pk")
    model = LinkField("model-detail", source="model_version_id")
    version = serializers.CharField(source="model_version.version")
    target = serializers.ChoiceField([ModelState.SHADOW.value, ModelState.ACTIVE.value])
    requested_by = serializers.CharField(source="requested_by.username")
    reason = serializers.CharField()
    created_at = serializers.DateTimeField()
    decision = serializers.SerializerMethodField()
    decided_by = serializers.SerializerMethodField()
    decision_reason = OptionalCharField()
    decided_at = serializers.DateTimeField(allow_null=True)

    @extend_schema_field(serializers.ChoiceField(choices(Decision), allow_null=True))
    def get_decision(self, request: PromotionRequest) -> str | None:
        return request.decision or None

    @extend_schema_field(serializers.CharField(allow_null=True))
    def get_decided_by(self, request: PromotionRequest) -> str | None:
        return request.decided_by.username if request.decided_by else None


class RecallPatientSerializer(serializers.Serializer[Any]):
    patient_id = serializers.CharField()
    patient_issuer = serializers.CharField(source="issuer")


class RecallItemSerializer(serializers.Serializer[Any]):
    """One answer of the version; `patient` is null for readers without identity, and where it was
    erased."""

    case = serializers.UUIDField(source="image.case_id")
    case_url = LinkField("case-detail", source="image.case_id")
    accession_number = OptionalCharField(source="image.case.accession_number")
    patient = serializers.SerializerMethodField()
    image = serializers.UUIDField(source="image_id")
    frame = serializers.IntegerField()
    result = serializers.UUIDField(source="pk")
    outcome = serializers.ChoiceField(choices(Outcome))
    answered_at = serializers.DateTimeField(source="created_at")
    withdrawn = serializers.SerializerMethodField()
    erased_at = serializers.DateTimeField(
        source="image.case.patient.erased_at",
        allow_null=True,
        help_text="From then on the patient's identity and images are gone.",
    )

    @extend_schema_field(WithdrawnSerializer(allow_null=True))
    def get_withdrawn(self, result: Result) -> dict[str, Any] | None:
        told = withdrawn_json(result)
        return dict(WithdrawnSerializer(told).data) if told else None

    @extend_schema_field(RecallPatientSerializer(allow_null=True))
    def get_patient(self, result: Result) -> dict[str, Any] | None:
        actor: Actor = self.context["actor"]
        patient = result.image.case.patient
        if patient.erased_at is not None or not actor.can(Capability.VIEW_IDENTITY):
            return None
        return dict(RecallPatientSerializer(patient).data)
