"""The dead letters of the site: failed jobs that nobody has asked for again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar
from uuid import UUID

from django.db.models import QuerySet
from rest_framework.request import Request
from rest_framework.response import Response

from cases.access import Capability
from cases.api.base import ApiView, ListApi
from cases.api.documentation import operation
from cases.api.pagination import KeysetPagination, moment
from cases.api.permissions import any_of
from cases.api.serializers.dead_letters import (
    DeadLetterQuerySerializer,
    DeadLetterSerializer,
    RetriesSerializer,
    RetryRequestSerializer,
)
from cases.api.serializers.queries import ListQuerySerializer
from cases.models import Job
from cases.selectors.dead_letters import attempts_of, dead_letter_list
from cases.services.dead_letters import dead_letters_retry


class FailedCursorPagination(KeysetPagination):
    """Last failed first."""

    key = (("finished_at", moment), ("id", UUID))


class DeadLetterListApi(ListApi):
    required = {"GET": any_of(Capability.OPERATE)}
    query: ClassVar[type[ListQuerySerializer]] = DeadLetterQuerySerializer
    output = DeadLetterSerializer
    pagination_class = FailedCursorPagination

    def rows(self, query: dict[str, Any]) -> QuerySet[Job]:
        wanted = {name: query[name] for name in ("code", "since", "until") if name in query}
        return dead_letter_list(actor=self.actor, **wanted)

    def shown(self, serializer: Any, instance: Any, *, many: bool = False, **more: Any) -> Any:
        jobs: Sequence[Job] = instance
        return super().shown(serializer, jobs, many=many, attempts=attempts_of(jobs), **more)

    @operation(
        summary="Failed jobs that nobody has asked for again, last failed first",
        description="With every attempt: worker, times and how it ended.",
        parameters=[DeadLetterQuerySerializer],
        operation_id="dead_letters_list",
        success={(200, "application/json"): DeadLetterSerializer(many=True)},
        errors=(422,),
    )
    def get(self, request: Request) -> Response:
        return super().get(request)


class DeadLetterRetryApi(ApiView):
    required = {"POST": any_of(Capability.OPERATE)}

    @operation(
        summary="Try failed jobs again",
        description=(
            "A new job for each, on the live model; the failed ones stay. Twice is once. What "
            "cannot be tried again is told per job and keeps no other from it."
        ),
        request=RetryRequestSerializer,
        success={200: RetriesSerializer},
        errors=(413, 415, 422),
    )
    def post(self, request: Request) -> Response:
        wanted = self.checked(RetryRequestSerializer, request.data)
        retries = dead_letters_retry(actor=self.actor, job_ids=wanted["jobs"])
        return Response(self.shown(RetriesSerializer, {"results": retries}))
