"""Two models side by side, as data."""

from __future__ import annotations

from uuid import UUID

from rest_framework.request import Request
from rest_framework.response import Response

from cases.access import Capability
from cases.api.base import ApiView
from cases.api.documentation import operation
from cases.api.permissions import any_of
from cases.api.serializers.comparison import ModelComparisonSerializer
from cases.reports.comparison import comparison_data
from cases.selectors.gates import gate_report
from cases.selectors.learning import model_get


class ModelComparisonApi(ApiView):
    required = {"GET": any_of(Capability.TRAIN, Capability.CURATE)}

    @operation(
        summary="A judged model beside the one that was live then",
        description=(
            "From the report that the gate kept. The pictures whose answer changed are named by "
            "their SHA-256; looking at them takes a person at the portal. A token needs the scopes "
            "read and admin."
        ),
        success={200: ModelComparisonSerializer},
        errors=(404,),
    )
    def get(self, request: Request, model_id: UUID) -> Response:
        model = model_get(actor=self.actor, model_id=model_id)
        report = gate_report(actor=self.actor, model=model)
        return Response(self.shown(ModelComparisonSerializer, comparison_data(report)))
