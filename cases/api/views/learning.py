"""Model versions: which there are, and which was live when."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from rest_framework.request import Request
from rest_framework.response import Response

from cases.access import Capability
from cases.api.base import ApiView, ListApi
from cases.api.documentation import operation
from cases.api.permissions import any_of
from cases.api.serializers.learning import ModelDetailSerializer, ModelSerializer
from cases.api.serializers.promotion import ModelLiveSerializer
from cases.api.serializers.queries import ModelAtQuerySerializer, ModelQuerySerializer
from cases.models import ModelVersion
from cases.selectors.learning import model_get, model_list
from cases.selectors.model_life import live_at


class ModelListApi(ListApi):
    required = {"GET": any_of(Capability.VIEW_MODELS)}
    query = ModelQuerySerializer
    output = ModelSerializer
    filters = {"state": "state"}

    def rows(self, query: dict[str, Any]) -> QuerySet[ModelVersion]:
        # Cards are long, and only the detail shows them.
        models = model_list(actor=self.actor).filter(**self.filtered(query))
        return models.defer("card")

    @operation(
        summary="The model versions, newest first",
        parameters=[ModelQuerySerializer],
        operation_id="models_list",
        success={(200, "application/json"): ModelSerializer(many=True)},
        errors=(422,),
    )
    def get(self, request: Request) -> Response:
        return super().get(request)


class ModelDetailApi(ApiView):
    required = {"GET": any_of(Capability.VIEW_MODELS)}

    @operation(
        summary="A model version with its card",
        success={200: ModelDetailSerializer},
        errors=(404,),
    )
    def get(self, request: Request, model_id: UUID) -> Response:
        model = model_get(actor=self.actor, model_id=model_id)
        return Response(self.shown(ModelDetailSerializer, model))


class ModelLiveApi(ApiView):
    required = {"GET": any_of(Capability.VIEW_MODELS)}

    @operation(
        summary="The model that was live at a moment",
        description="With the suspension that lasted then, if any. 404 where none was live.",
        parameters=[ModelAtQuerySerializer],
        success={200: ModelLiveSerializer},
        errors=(404, 422),
    )
    def get(self, request: Request) -> Response:
        at = self.checked(ModelAtQuerySerializer, request.query_params).get("at")
        return Response(self.shown(ModelLiveSerializer, live_at(actor=self.actor, at=at)))
