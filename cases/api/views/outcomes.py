"""Outcomes of findings: told, and recorded by systems that carry pathology reports."""

from __future__ import annotations

from uuid import UUID

from rest_framework.request import Request
from rest_framework.response import Response

from cases.access import Capability
from cases.api.base import ApiView
from cases.api.documentation import operation
from cases.api.permissions import any_of
from cases.api.serializers.outcomes import OutcomeRequestSerializer, OutcomeSerializer
from cases.selectors.outcomes import finding_get, finding_outcomes
from cases.services.audit import audit_record
from cases.services.outcomes import outcome_content_parse, outcome_record


class FindingOutcomesApi(ApiView):
    required = {
        "GET": any_of(Capability.VIEW_CASES),
        "POST": any_of(Capability.RECORD_OUTCOMES),
    }

    @operation(
        summary="What a finding turned out to be, oldest first; the last one is current",
        operation_id="finding_outcomes_list",
        success={(200, "application/json"): OutcomeSerializer(many=True)},
        errors=(404,),
    )
    def get(self, request: Request, finding_id: UUID) -> Response:
        finding = finding_get(actor=self.actor, finding_id=finding_id)
        outcomes = finding_outcomes(finding=finding)
        audit_record(
            actor=self.actor,
            action="outcome.listed",
            object_type="finding",
            object_id=finding.pk,
            case_id=finding.case_id,
        )
        return Response(self.shown(OutcomeSerializer, outcomes, many=True))

    @operation(
        summary="Record what a finding turned out to be",
        description=(
            "201 for a new outcome; 200 with the current one where it says the same already "
            "(pathology, basis, dates), so sending twice is once. 409 where another outcome is "
            "current and no `reason` is given. `follow_up` is `benign` without change over at "
            "least 24 months."
        ),
        request=OutcomeRequestSerializer,
        success={201: OutcomeSerializer, 200: OutcomeSerializer},
        errors=(404, 409, 410, 413, 415, 422),
    )
    def post(self, request: Request, finding_id: UUID) -> Response:
        finding = finding_get(actor=self.actor, finding_id=finding_id)
        wanted = self.checked(OutcomeRequestSerializer, request.data)
        content = outcome_content_parse(wanted)
        outcome, created = outcome_record(actor=self.actor, finding_id=finding.pk, content=content)
        return Response(self.shown(OutcomeSerializer, outcome), status=201 if created else 200)
