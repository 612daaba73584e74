"""The life of model versions over HTTP: to be read by all who see models; stopped, never moved."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

from django.db.models import QuerySet
from rest_framework.request import Request
from rest_framework.response import Response

from cases.access import Capability
from cases.api.base import ApiView, ListApi
from cases.api.documentation import operation
from cases.api.permissions import any_of
from cases.api.serializers.promotion import (
    PromotionSerializer,
    RecallItemSerializer,
    ServingSerializer,
    SuspensionReasonSerializer,
)
from cases.api.serializers.queries import (
    ListQuerySerializer,
    PromotionQuerySerializer,
    RecallQuerySerializer,
)
from cases.errors import PermissionDenied
from cases.models import PromotionRequest, Result
from cases.selectors.learning import model_get
from cases.selectors.promotion import promotion_list
from cases.selectors.recall import recall_counts, recall_results
from cases.selectors.serving import suspension_list, suspension_now
from cases.services.recall import recall_note
from cases.services.serving import serving_suspend


class PromotionListApi(ListApi):
    required = {"GET": any_of(Capability.VIEW_MODELS)}
    query: ClassVar[type[ListQuerySerializer]] = PromotionQuerySerializer
    output = PromotionSerializer

    def rows(self, query: dict[str, Any]) -> QuerySet[PromotionRequest]:
        requests = promotion_list(actor=self.actor)
        wanted = query.get("state")
        if wanted is None:
            return requests
        return requests.filter(decision="") if wanted == "open" else requests.exclude(decision="")

    @operation(
        summary="Requests to promote a model, newest first",
        description="Asking and deciding take people at the portal.",
        parameters=[PromotionQuerySerializer],
        operation_id="promotions_list",
        success={(200, "application/json"): PromotionSerializer(many=True)},
        errors=(422,),
    )
    def get(self, request: Request) -> Response:
        return super().get(request)


class OnlyAtThePortalApi(ApiView):
    """What a program might try: answered 403 for everybody, whatever the scopes and roles."""

    required = {"POST": frozenset()}

    @operation(
        summary="Always refused: a person does this at the portal",
        description=(
            "Making a model live, approving that and rolling back take a person (and for the "
            "first two a second one) at the portal, and are in no scope of a token."
        ),
        request=None,
        success={},
        errors=(),
    )
    def post(self, request: Request, model_id: UUID) -> Response:
        raise PermissionDenied()


class _Serving(ApiView):
    def told(self) -> Response:
        suspension = suspension_now()
        serving = {
            "suspended": suspension is not None,
            "suspension": suspension,
            "history": suspension_list(actor=self.actor),
        }
        return Response(self.shown(ServingSerializer, serving))


class ServingApi(_Serving):
    required = {"GET": any_of(Capability.VIEW_MODELS)}

    @operation(
        summary="Whether answers are suspended, and when they were",
        success={200: ServingSerializer},
    )
    def get(self, request: Request) -> Response:
        return self.told()


class ServingSuspendApi(_Serving):
    required = {"POST": any_of(Capability.OPERATE, Capability.PROMOTE)}

    @operation(
        summary="Suspend answers",
        description=(
            "Jobs wait, submissions are still accepted. Resuming takes a person at the portal. "
            "409 where answers are suspended already."
        ),
        request=SuspensionReasonSerializer,
        success={200: ServingSerializer},
        errors=(409, 413, 415, 422),
    )
    def post(self, request: Request) -> Response:
        told = self.checked(SuspensionReasonSerializer, request.data)
        serving_suspend(actor=self.actor, reason=told["reason"])
        return self.told()


class RecallApi(ListApi):
    required = {"GET": any_of(Capability.VIEW_CASES)}
    query: ClassVar[type[ListQuerySerializer]] = RecallQuerySerializer
    output = RecallItemSerializer

    @operation(
        summary="Every answer a version gave in a period, newest first",
        description="Of the own site. Each call is in the audit trail. CSV: at the portal.",
        parameters=[RecallQuerySerializer],
        operation_id="models_recall",
        success={(200, "application/json"): RecallItemSerializer(many=True)},
        errors=(404, 422),
    )
    def get(self, request: Request, model_id: UUID) -> Response:
        query = self.checked(self.query, request.query_params)
        model = model_get(actor=self.actor, model_id=model_id)
        since, until = query.get("since"), query.get("until")
        results: QuerySet[Result] = recall_results(
            actor=self.actor, model=model, since=since, until=until
        )
        cases, count = recall_counts(results)
        recall_note(
            actor=self.actor,
            model=model,
            since=since,
            until=until,
            cases=cases,
            results=count,
            exported=False,
        )
        return self.page(results, query)
