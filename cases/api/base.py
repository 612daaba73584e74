"""What all views share: the actor, checked query parameters, pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any, ClassVar
from uuid import UUID

from django.db.models import QuerySet
from django.utils.cache import patch_vary_headers
from rest_framework.negotiation import BaseContentNegotiation, DefaultContentNegotiation
from rest_framework.parsers import BaseParser, MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer, Serializer
from rest_framework.views import APIView

from cases.access import Actor
from cases.api.authentication import actor_of
from cases.api.deprecation import Deprecated
from cases.api.links import link
from cases.api.pagination import CreatedCursorPagination, KeysetPagination
from cases.api.parsers import BoundedFormParser, BoundedJSONParser
from cases.api.permissions import Capabilities
from cases.api.serializers.queries import ListQuerySerializer
from cases.errors import NotAuthenticated

# OPTIONS would describe forms, which this API has none of; the schema describes it.
METHODS = ["get", "head", "post", "put", "patch", "delete"]


class ByAccept(DefaultContentNegotiation):
    """By the Accept header only: `?format=` means nothing here."""

    settings = SimpleNamespace(URL_FORMAT_OVERRIDE=None)  # type: ignore[assignment]


class AnyAccept(BaseContentNegotiation):
    """For pictures and files: they are what they are, whatever `Accept` says."""

    def select_parser(self, request: Request, parsers: Any) -> Any:
        return next(iter(parsers), None)

    def select_renderer(
        self, request: Request, renderers: Any, format_suffix: str | None = None
    ) -> Any:
        return renderers[0], renderers[0].media_type


class ApiView(APIView):
    """A view that says in ``required`` which capabilities each of its methods asks for."""

    required: ClassVar[dict[str, Capabilities]] = {}
    # What is on its way out says so in every answer.
    deprecated: ClassVar[Deprecated | None] = None
    http_method_names = METHODS
    content_negotiation_class: type[BaseContentNegotiation] = ByAccept
    parser_classes: Sequence[type[BaseParser]] = (
        BoundedJSONParser,
        BoundedFormParser,
        MultiPartParser,
    )

    @property
    def actor(self) -> Actor:
        actor = actor_of(self.request)
        if actor is None:
            raise NotAuthenticated()
        return actor

    def link(self, name: str, *args: UUID | str) -> str:
        return link(self.request, name, *args)

    def shown(
        self,
        serializer: type[BaseSerializer[Any]],
        instance: Any,
        *,
        many: bool = False,
        **more: Any,
    ) -> Any:
        """``instance`` as primitive data through ``serializer``."""
        context = {"request": self.request, "actor": self.actor, **more}
        return serializer(instance, many=many, context=context).data

    def checked(self, serializer: type[Serializer[Any]], data: Any) -> dict[str, Any]:
        """``data`` validated. DRF's ``ValidationError`` becomes ``field_invalid``."""
        checked = serializer(data=data)
        checked.is_valid(raise_exception=True)
        return dict(checked.validated_data)

    def finalize_response(
        self, request: Request, response: Response, *args: Any, **kwargs: Any
    ) -> Response:
        final = super().finalize_response(request, response, *args, **kwargs)
        # Patients' data: in no cache, unless the view says how; and never for another caller.
        final.headers.setdefault("Cache-Control", "private, no-store")
        patch_vary_headers(final, ["Authorization", "Cookie"])
        if self.deprecated is not None:
            self.deprecated.tell(final)
        return final


class ListApi(ApiView):
    """A list in pages: checked query parameters to ``rows``, a page of them to ``output``."""

    pagination_class: type[KeysetPagination] = CreatedCursorPagination
    query: ClassVar[type[ListQuerySerializer]] = ListQuerySerializer
    # Query parameter to condition of the ORM, for those that are one.
    filters: ClassVar[Mapping[str, str]] = {}
    output: ClassVar[type[BaseSerializer[Any]]]

    def rows(self, query: dict[str, Any]) -> QuerySet[Any]:
        """What the actor may see of what was asked for."""
        raise NotImplementedError

    def items(self, page: Sequence[Any]) -> Sequence[Any]:
        """The rows of a page as ``output`` takes them."""
        return page

    def get(self, request: Request) -> Response:
        query = self.checked(self.query, request.query_params)
        return self.page(self.rows(query), query)

    def filtered(self, query: dict[str, Any]) -> dict[str, Any]:
        """The conditions of ``filters`` that were asked for."""
        return {condition: query[name] for name, condition in self.filters.items() if name in query}

    def page(self, rows: QuerySet[Any], query: dict[str, Any]) -> Response:
        """The page of ``rows`` that was asked for."""
        pagination = self.pagination_class(
            self.request, ascending=not query["ordering"].startswith("-")
        )
        page = pagination.take(rows, size=query["page_size"], cursor=query.get("cursor", ""))
        return pagination.get_paginated_response(
            self.shown(self.output, self.items(page), many=True)
        )
