"""How a model version does, for administrators' programs."""

from __future__ import annotations

from uuid import UUID

from rest_framework.request import Request
from rest_framework.response import Response

from cases.access import Capability
from cases.api.base import ApiView
from cases.api.documentation import operation
from cases.api.permissions import any_of
from cases.api.serializers.watch import WatchQuerySerializer, WatchSerializer
from cases.selectors.watch import watch, watch_version
from cases.watching import WatchFilter


class ModelWatchApi(ApiView):
    required = {"GET": any_of(Capability.OPERATE)}

    @operation(
        summary="How a version does: answers, known outcomes, calibration, drift of inputs",
        description=(
            "Of the own site, by device. Sensitivity, specificity and PPV rest on findings whose "
            "outcome somebody recorded; who is verified is no chance (`verification`), so they "
            "are no unbiased figures of the model."
        ),
        parameters=[WatchQuerySerializer],
        operation_id="models_watch",
        success={200: WatchSerializer},
        errors=(404, 422),
    )
    def get(self, request: Request, model_id: UUID) -> Response:
        query = self.checked(WatchQuerySerializer, request.query_params)
        version = watch_version(actor=self.actor, model_id=model_id)
        told = watch(actor=self.actor, wanted=WatchFilter(version=version, **query))
        return Response(self.shown(WatchSerializer, told))
