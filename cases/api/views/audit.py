"""The audit trail of the site."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from django.db.models import QuerySet
from rest_framework.request import Request
from rest_framework.response import Response

from cases.access import Capability
from cases.api.base import ListApi
from cases.api.documentation import operation
from cases.api.pagination import KeysetPagination, SerialCursorPagination
from cases.api.permissions import any_of
from cases.api.serializers.audit import AuditEventSerializer
from cases.api.serializers.queries import AuditQuerySerializer, ListQuerySerializer
from cases.models import AuditEvent
from cases.selectors.audit import audit_list
from cases.selectors.reader_first import events_shown


class AuditListApi(ListApi):
    required = {"GET": any_of(Capability.VIEW_AUDIT)}
    pagination_class: type[KeysetPagination] = SerialCursorPagination
    query: ClassVar[type[ListQuerySerializer]] = AuditQuerySerializer
    output = AuditEventSerializer
    filters = {
        "action": "action",
        "object_id": "object_id",
        "case": "case_id",
        "since": "at__gte",
        "until": "at__lt",
    }

    def rows(self, query: dict[str, Any]) -> QuerySet[AuditEvent]:
        return audit_list(actor=self.actor).filter(**self.filtered(query))

    def items(self, page: Sequence[AuditEvent]) -> Sequence[AuditEvent]:
        return events_shown(actor=self.actor, events=page)

    @operation(
        summary="The audit events of the site, last written first",
        description="Events of no site (the service itself, models) are among them.",
        parameters=[AuditQuerySerializer],
        operation_id="audit_list",
        success={(200, "application/json"): AuditEventSerializer(many=True)},
        errors=(422,),
    )
    def get(self, request: Request) -> Response:
        return super().get(request)
