"""Readings that people signed at the portal. No token signs one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from django.db.models import QuerySet
from rest_framework.request import Request
from rest_framework.response import Response

from cases.access import Capability
from cases.api.base import ListApi
from cases.api.documentation import operation
from cases.api.pagination import SignedCursorPagination
from cases.api.permissions import any_of
from cases.api.serializers.queries import ListQuerySerializer, ReadingQuerySerializer
from cases.api.serializers.readings import ReadingSerializer
from cases.models import Reading
from cases.selectors.readings import reading_list
from cases.services.audit import audit_record


class ReadingListApi(ListApi):
    required = {"GET": any_of(Capability.VIEW_CASES)}
    pagination_class = SignedCursorPagination
    query: ClassVar[type[ListQuerySerializer]] = ReadingQuerySerializer
    output = ReadingSerializer
    filters = {"since": "signed_at__gte", "until": "signed_at__lt"}

    def rows(self, query: dict[str, Any]) -> QuerySet[Reading]:
        self.case_id = query.get("case")
        readings = reading_list(actor=self.actor, case_id=self.case_id)
        return readings.filter(**self.filtered(query))

    def items(self, page: Sequence[Reading]) -> Sequence[Reading]:
        # Only a case that has shown something is named: the address may hold any id.
        audit_record(
            actor=self.actor,
            action="reading.listed",
            object_type="reading",
            case_id=self.case_id if page else None,
            detail={"readings": len(page)},
        )
        return page

    @operation(
        summary="Signed readings and addenda of the site, last signed first",
        description=(
            "An addendum points to the reading it adds to; neither ever changes. Drafts are their "
            "readers' alone. `text` is null for readers without identity (administrators)."
        ),
        parameters=[ReadingQuerySerializer],
        operation_id="readings_list",
        success={(200, "application/json"): ReadingSerializer(many=True)},
        errors=(422,),
    )
    def get(self, request: Request) -> Response:
        return super().get(request)
