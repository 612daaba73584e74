"""Gate plans, and the uses of their locked sets."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from cases.api.serializers.fields import LinkField, choices
from cases.api.serializers.training import SnapshotRefSerializer
from cases.models import GatePlan, LockedSetUse
from cases.selectors.gates import locked_set_uses
from cases.services.gate_fields import MAX_NAME, ROUNDS
from cases.vocabulary import GateMetric, GateState, LimitAgainst, LimitBy


class PlanLimitSerializer(serializers.Serializer[Any]):
    """One bound on one metric."""

    metric = serializers.ChoiceField(choices(GateMetric))
    bound = serializers.FloatField(
        help_text="0 to 1; of a difference to the active model -1 to 1. Of `brier` and `ece` the "
        "most, of all others the least."
    )
    against = serializers.ChoiceField(
        choices(LimitAgainst),
        required=False,
        default=LimitAgainst.ABSOLUTE.value,
        help_text="The figure itself, or its difference to the active model's.",
    )
    by = serializers.ChoiceField(
        choices(LimitBy),
        required=False,
        default=LimitBy.INTERVAL.value,
        help_text="The unfavourable end of the 95 % interval, or the figure.",
    )
    source = serializers.CharField(  # type: ignore[assignment]
        required=False,
        allow_null=True,
        default=None,
        help_text="Only pictures of this source of the locked set; null: all.",
    )


class GatePlanRequestSerializer(serializers.Serializer[Any]):
    """`POST /gate-plans/`."""

    name = serializers.CharField(max_length=MAX_NAME)
    locked_set = serializers.CharField(max_length=64, help_text="Id of a snapshot.")
    limits = PlanLimitSerializer(many=True)
    minimum_malignant_patients = serializers.IntegerField(
        help_text="With fewer in the locked set the verdict is insufficient_evidence."
    )
    rounds = serializers.IntegerField(
        required=False, default=ROUNDS, help_text="Draws of the bootstrap."
    )
    seed = serializers.IntegerField(required=False, default=0)
    approvers = serializers.ListField(
        child=serializers.CharField(max_length=200),
        required=False,
        default=list,
        help_text="User names of who may approve; empty: every approver.",
    )


class GatePlanDocumentSerializer(serializers.Serializer[Any]):
    """What is frozen, and what the hash is of: its JSON with sorted keys and no blanks."""

    locked_set = serializers.CharField()
    limits = PlanLimitSerializer(many=True)
    minimum_malignant_patients = serializers.IntegerField()
    rounds = serializers.IntegerField()
    seed = serializers.IntegerField()
    approvers = serializers.ListField(child=serializers.CharField())


class GatePlanRefSerializer(serializers.Serializer[Any]):
    id = serializers.UUIDField(source="pk")
    url = LinkField("gate-plan-detail")
    name = serializers.CharField()
    sha256 = serializers.CharField(help_text="Of the document.")


class GatePlanSerializer(GatePlanRefSerializer):
    """A plan as it was declared. It never changes."""

    locked_set = SnapshotRefSerializer()
    malignant_patients = serializers.IntegerField(help_text="Of the locked set.")
    locked_set_uses = serializers.IntegerField(
        source="set_uses", help_text="How often a model was judged on the locked set."
    )
    document = GatePlanDocumentSerializer()
    created_by = serializers.CharField()
    created_at = serializers.DateTimeField()


class LockedSetUseSerializer(serializers.Serializer[Any]):
    """A model was judged on the locked set. Of another site's plan only that it was."""

    at = serializers.DateTimeField()
    plan = serializers.UUIDField(source="plan_id", allow_null=True)
    run = serializers.UUIDField(source="run_id", allow_null=True)
    model = serializers.UUIDField(source="run.model_version_id", allow_null=True)
    verdict = serializers.ChoiceField(choices(GateState), allow_null=True)
    left_out = serializers.IntegerField(
        allow_null=True, help_text="Pictures that were taken back: the figures are without them."
    )


class GatePlanDetailSerializer(GatePlanSerializer):
    """With every use of its locked set, newest first."""

    uses = serializers.SerializerMethodField()

    @extend_schema_field(LockedSetUseSerializer(many=True))
    def get_uses(self, plan: GatePlan) -> list[dict[str, Any]]:
        return [_use(use, plan) for use in locked_set_uses(plan=plan)]


def _use(use: LockedSetUse, plan: GatePlan) -> dict[str, Any]:
    at = serializers.DateTimeField().to_representation(use.at)
    if use.plan.site_id != plan.site_id:
        return {
            "at": at,
            "plan": None,
            "run": None,
            "model": None,
            "verdict": None,
            "left_out": None,
        }
    model_id = use.run.model_version_id
    return {
        "at": at,
        "plan": str(use.plan_id),
        "run": str(use.run_id),
        "model": str(model_id) if model_id else None,
        "verdict": use.facts.get("state"),
        "left_out": use.facts.get("left_out", 0),
    }
