"""Cases: the list and one with its images and answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from rest_framework.request import Request
from rest_framework.response import Response

from cases.access import Capability
from cases.api.base import ApiView, ListApi
from cases.api.conditional import answer, content_etag, not_modified, unchanged
from cases.api.documentation import CONDITIONAL, NOT_MODIFIED, operation
from cases.api.permissions import any_of
from cases.api.reads import note_reads
from cases.api.serializers.cases import CaseDetailSerializer, CaseSerializer
from cases.api.serializers.queries import CREATED, CaseQuerySerializer
from cases.models import Case
from cases.reports.answers import CaseSummary, case_summaries, case_summary
from cases.selectors.cases import (
    case_get,
    case_list,
    cases_read,
    cases_unfinished,
    findings_attach,
    summaries_attach,
)
from cases.selectors.evidence import stated_of
from cases.selectors.outcomes import outcomes_of
from cases.selectors.readings import case_readings
from cases.services.audit import audit_record


class CaseListApi(ListApi):
    required = {"GET": any_of(Capability.VIEW_CASES)}
    query = CaseQuerySerializer
    output = CaseSerializer
    filters = {**CREATED, "indication": "indication"}

    def rows(self, query: dict[str, Any]) -> QuerySet[Case]:
        # No filter by accession number or patient: identity does not belong in a URL, and is
        # looked for by `POST /patients/search/`.
        cases = case_list(actor=self.actor).filter(**self.filtered(query))
        if "unfinished" in query:
            cases = cases_unfinished(cases, unfinished=query["unfinished"])
        if "read" in query:
            cases = cases_read(cases, read=query["read"])
        return cases

    def items(self, page: Sequence[Case]) -> list[CaseSummary]:
        summaries_attach(page, actor=self.actor)
        findings_attach(page)
        summaries = case_summaries(page)
        note_reads(self.actor, [answer for summary in summaries for answer in summary.answers])
        audit_record(
            actor=self.actor,
            action="case.listed",
            object_type="case",
            detail={"cases": len(summaries)},
        )
        return summaries

    @operation(
        summary="The cases of the site, newest first",
        description="Patients are null for readers without identity (administrators).",
        parameters=[CaseQuerySerializer],
        operation_id="cases_list",
        success={(200, "application/json"): CaseSerializer(many=True)},
        errors=(422,),
    )
    def get(self, request: Request) -> Response:
        return super().get(request)


class CaseDetailApi(ApiView):
    required = {"GET": any_of(Capability.VIEW_CASES)}

    @operation(
        summary="A case with its images, their answers and its readings",
        description="Audited as a view of the case; a 304 shows nothing and is not.",
        parameters=CONDITIONAL,
        success={200: CaseDetailSerializer, **NOT_MODIFIED},
        errors=(404,),
    )
    def get(self, request: Request, case_id: UUID) -> Response:
        case = case_get(actor=self.actor, case_id=case_id)
        summary = case_summary(case)
        readings = case_readings(actor=self.actor, case_id=case.pk)
        outcomes = outcomes_of(case_ids=[case.pk])
        stated = stated_of(case_id=case.pk)
        data = self.shown(
            CaseDetailSerializer, summary, readings=readings, outcomes=outcomes, stated=stated
        )
        etag = content_etag(data)
        if not_modified(request, etag):
            return unchanged(etag=etag)
        audit_record(
            actor=self.actor,
            action="case.viewed",
            object_type="case",
            object_id=case.pk,
            site_id=case.site_id,
            case_id=case.pk,
        )
        note_reads(self.actor, summary.answers)
        return answer(data, etag=etag)
