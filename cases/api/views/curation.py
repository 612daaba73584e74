"""Candidates for training data, to read. Deciding about them takes a person at the portal."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from rest_framework.request import Request
from rest_framework.response import Response

from cases.access import Capability
from cases.api.base import ListApi
from cases.api.documentation import operation
from cases.api.permissions import any_of
from cases.api.serializers.curation import CandidateQuerySerializer, CandidateSerializer
from cases.models import TrainingCandidate
from cases.selectors.curation import candidate_list


class CandidateListApi(ListApi):
    required = {"GET": any_of(Capability.CURATE)}
    query = CandidateQuerySerializer
    output = CandidateSerializer

    def rows(self, query: dict[str, Any]) -> QuerySet[TrainingCandidate]:
        chosen = {name: query.get(name, "") for name in ("state", "label", "basis")}
        return candidate_list(actor=self.actor, **chosen)

    @operation(
        summary="The images of the site that may become training data, newest first",
        description=(
            "Recorded outcomes make them. They are accepted and rejected at the portal only, by "
            "somebody who looks at the picture."
        ),
        parameters=[CandidateQuerySerializer],
        operation_id="training_candidates_list",
        success={(200, "application/json"): CandidateSerializer(many=True)},
        errors=(422,),
    )
    def get(self, request: Request) -> Response:
        return super().get(request)
