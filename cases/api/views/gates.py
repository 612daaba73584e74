"""Gate plans: declared before a training, never changed."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from rest_framework.request import Request
from rest_framework.response import Response

from cases.access import Capability
from cases.api.base import ApiView, ListApi
from cases.api.documentation import operation, response_header
from cases.api.permissions import any_of
from cases.api.serializers.gates import (
    GatePlanDetailSerializer,
    GatePlanRequestSerializer,
    GatePlanSerializer,
)
from cases.api.serializers.queries import CREATED, CreatedQuerySerializer
from cases.models import GatePlan
from cases.selectors.gates import gate_plan_get, gate_plan_list
from cases.services.gate_fields import gate_plan_parse
from cases.services.gates import gate_plan_create


class GatePlanListApi(ListApi):
    required = {
        "GET": any_of(Capability.VIEW_MODELS, Capability.TRAIN),
        "POST": any_of(Capability.TRAIN),
    }
    query = CreatedQuerySerializer
    output = GatePlanSerializer
    filters = CREATED

    def rows(self, query: dict[str, Any]) -> QuerySet[GatePlan]:
        return gate_plan_list(actor=self.actor).filter(**self.filtered(query))

    @operation(
        summary="The gate plans of the site, newest first",
        parameters=[CreatedQuerySerializer],
        operation_id="gate_plans_list",
        success={(200, "application/json"): GatePlanSerializer(many=True)},
        errors=(422,),
    )
    def get(self, request: Request) -> Response:
        return super().get(request)

    @operation(
        summary="Declare what a model must reach before it is trained",
        description=(
            "A plan never changes, and its locked set stays locked: no training takes a snapshot "
            "that shares a file, a patient or a picture that looks the same with it. Give the "
            "plan's id to `POST /training-runs/`; the run's model then has a verdict for each "
            "limit."
        ),
        request=GatePlanRequestSerializer,
        parameters=[response_header("Location", "Address of the plan.", [201])],
        operation_id="gate_plans_create",
        success={201: GatePlanDetailSerializer},
        errors=(413, 415, 422),
    )
    def post(self, request: Request) -> Response:
        wanted = self.checked(GatePlanRequestSerializer, request.data)
        made = gate_plan_create(actor=self.actor, fields=gate_plan_parse(wanted))
        plan = gate_plan_get(actor=self.actor, plan_id=made.pk)
        data = self.shown(GatePlanDetailSerializer, plan)
        return Response(data, status=201, headers={"Location": data["url"]})


class GatePlanDetailApi(ApiView):
    required = {"GET": any_of(Capability.VIEW_MODELS, Capability.TRAIN)}

    @operation(
        summary="A gate plan with the uses of its locked set",
        success={200: GatePlanDetailSerializer},
        errors=(404,),
    )
    def get(self, request: Request, plan_id: UUID) -> Response:
        plan = gate_plan_get(actor=self.actor, plan_id=plan_id)
        return Response(self.shown(GatePlanDetailSerializer, plan))
