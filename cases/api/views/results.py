"""Results, and where in the image the model looked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.http import HttpResponse
from rest_framework.request import Request
from rest_framework.response import Response

from cases.access import Capability
from cases.api.base import AnyAccept, ApiView, ListApi
from cases.api.conditional import answer, not_modified, unchanged, weak_etag
from cases.api.documentation import CONDITIONAL, NOT_MODIFIED, PNG, operation
from cases.api.pagination import JobCursorPagination
from cases.api.permissions import any_of
from cases.api.serializers.queries import HeatmapQuerySerializer, ResultQuerySerializer
from cases.api.serializers.results import ListedResultSerializer, ResultDetailSerializer
from cases.api.views.images import PICTURE_CACHE
from cases.errors import NotFound
from cases.models import Result
from cases.reports.answers import withdrawn_json
from cases.reports.heatmap import result_heatmap_png
from cases.selectors.cases import result_get, result_list
from cases.selectors.evidence import stated_of
from cases.selectors.reads import results_unread
from cases.services.previews import refuse_erased
from cases.services.results import result_read_note, results_read_note


class ResultListApi(ListApi):
    required = {"GET": any_of(Capability.VIEW_CASES)}
    pagination_class = JobCursorPagination
    query = ResultQuerySerializer
    output = ListedResultSerializer
    filters = {
        "since": "job__created_at__gte",
        "until": "job__created_at__lt",
        "outcome": "outcome",
        "label": "label",
        "model": "model_version_id",
        "case": "image__case_id",
        "image": "image_id",
    }

    def rows(self, query: dict[str, Any]) -> QuerySet[Result]:
        results = result_list(actor=self.actor).filter(**self.filtered(query))
        if "withdrawn" in query:
            results = results.filter(withdrawal__isnull=not query["withdrawn"])
        return results

    def items(self, page: Sequence[Result]) -> Sequence[Result]:
        unread = results_unread(actor=self.actor, results=page)
        if unread:
            results_read_note(
                actor=self.actor, case_of={result.pk: result.image.case_id for result in unread}
            )
        return page

    @operation(
        summary="The results of the site, newest job first",
        description="`label` is that of the answer; first reads are audited, as of single ones.",
        parameters=[ResultQuerySerializer],
        operation_id="results_list",
        success={(200, "application/json"): ListedResultSerializer(many=True)},
        errors=(422,),
    )
    def get(self, request: Request) -> Response:
        return super().get(request)


class ResultDetailApi(ApiView):
    required = {"GET": any_of(Capability.VIEW_CASES)}

    @operation(
        summary="A result",
        description=(
            "Results never change; one may be withdrawn, and why it lies outside the evidence may "
            "be stated later. First reads are audited."
        ),
        parameters=CONDITIONAL,
        success={200: ResultDetailSerializer, **NOT_MODIFIED},
        errors=(404,),
    )
    def get(self, request: Request, result_id: UUID) -> Response:
        result = result_get(actor=self.actor, result_id=result_id)
        data = self.shown(
            ResultDetailSerializer, result, stated=stated_of(case_id=result.image.case_id)
        )
        outside = [flag["flag"] for flag in data["outside_evidence"]]
        etag = weak_etag(result.pk, bool(result.heatmap), withdrawn_json(result), outside)
        if not_modified(request, etag):
            return unchanged(etag=etag)
        result_read_note(actor=self.actor, result=result, case_id=result.image.case_id)
        return answer(data, etag=etag)


class ResultHeatmapApi(ApiView):
    required = {"GET": any_of(Capability.VIEW_CASES)}
    content_negotiation_class = AnyAccept

    @operation(
        summary="Where the model found evidence for a label: a PNG to lay over the frame",
        description=(
            "Transparent where the map does not speak; scaled to its own maximum, so it tells "
            "where, not how much. 404 where the image was refused."
        ),
        parameters=[HeatmapQuerySerializer, *CONDITIONAL],
        success={(200, "image/png"): PNG, **NOT_MODIFIED},
        errors=(404, 410, 422),
    )
    def get(self, request: Request, result_id: UUID) -> HttpResponse:
        label: str = self.checked(HeatmapQuerySerializer, request.query_params)["label"]
        result = result_get(actor=self.actor, result_id=result_id)
        refuse_erased(result.image)
        headers = {"ETag": f'"{result.pk}-{label}"', "Cache-Control": PICTURE_CACHE}
        if not_modified(request, headers["ETag"]):
            return HttpResponse(status=304, headers=headers)
        png = result_heatmap_png(result, label)
        if png is None:
            raise NotFound("This result has no heatmap: the model did not read the image.")
        result_read_note(actor=self.actor, result=result, case_id=result.image.case_id)
        return HttpResponse(png, content_type="image/png", headers=headers)
