"""The API about itself: its schema, its docs page, its error codes, and addresses it lacks."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from cases.api.base import METHODS
from cases.api.documentation import operation
from cases.api.errors import ALL_ERRORS
from cases.api.permissions import IsSignedIn
from cases.api.serializers.problems import ErrorTypeSerializer
from cases.errors import NotFound


class SchemaApi(SpectacularAPIView):
    """The OpenAPI 3 description of this API, as YAML or JSON (Accept, or `?format=json`)."""

    permission_classes = [IsSignedIn]
    http_method_names = METHODS


class DocsApi(SpectacularSwaggerSplitView):
    """Swagger UI from this server's own files, under the same strict content policy."""

    permission_classes = [IsSignedIn]
    http_method_names = METHODS
    url_name = "api:schema"
    template_name = "api/docs.html"


class ErrorTypeApi(APIView):
    """What the `type` of a problem points at. Open to all: it describes, it tells nothing."""

    authentication_classes: list[Any] = []
    permission_classes: list[Any] = []
    http_method_names = METHODS

    @operation(
        summary="What an error code means",
        success={200: ErrorTypeSerializer},
        errors=(404,),
        auth=[],
    )
    def get(self, request: Request, code: str) -> Response:
        kind = ALL_ERRORS.get(code)
        if kind is None:
            raise NotFound()
        told = {
            "code": kind.code,
            "status": kind.status,
            "title": kind.title,
            "detail": kind.default_detail,
        }
        return Response(ErrorTypeSerializer(told).data)


@extend_schema(exclude=True)
class UnknownApi(APIView):
    """Every other address under the API: 404 as a problem, for any method."""

    authentication_classes: list[Any] = []
    permission_classes: list[Any] = []
    http_method_names = METHODS

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        hint = "" if request.path.endswith("/") else " Addresses of this API end with a slash."
        raise NotFound(NotFound.default_detail + hint)
