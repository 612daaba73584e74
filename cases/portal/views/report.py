"""The report of a case: a page to print, and the same as a PDF."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext

from cases.access import Capability
from cases.errors import Erased
from cases.models import Case, Image, Result
from cases.portal.reads import note_shown
from cases.portal.report import case_report
from cases.portal.shown import summary_shown
from cases.portal.views.base import PortalView
from cases.reports.answers import CaseSummary
from cases.reports.case_pdf import case_report_pdf
from cases.reports.case_report import CANNOT_TITLE, OUTSIDE_TITLE, READINGS_TITLE, CaseReport
from cases.reports.picture import report_picture
from cases.selectors.cases import case_get
from cases.services.audit import audit_record
from cases.services.previews import frame_png


class _ReportView(PortalView):
    any_of = (Capability.VIEW_CASES,)
    http_method_names = ["get", "head", "options"]
    action: ClassVar[str]

    def get(self, request: HttpRequest, case_id: UUID) -> HttpResponse:
        case = case_get(actor=self.actor, case_id=case_id)
        if case.patient.erased_at is not None:
            raise Erased()
        heatmap = request.GET.get("heatmap") == "1"
        summary = summary_shown(actor=self.actor, case=case)
        report = case_report(actor=self.actor, case=case, summary=summary, heatmap=heatmap)
        response = self.answer(request, case, summary, report)
        note_shown(self.actor, [summary])
        audit_record(
            actor=self.actor,
            action=self.action,
            object_type="case",
            object_id=case.pk,
            site_id=case.site_id,
            case_id=case.pk,
            detail={"images": len(report.images), "heatmap": heatmap},
        )
        return response

    def answer(
        self, request: HttpRequest, case: Case, summary: CaseSummary, report: CaseReport
    ) -> HttpResponse:
        raise NotImplementedError


class CaseReportView(_ReportView):
    action = "case.report_viewed"

    def answer(
        self, request: HttpRequest, case: Case, summary: CaseSummary, report: CaseReport
    ) -> HttpResponse:
        context: dict[str, Any] = {
            "case": case,
            "report": report,
            "has_heatmap": any(image.result_id for image in report.images),
            "outside_title": gettext(OUTSIDE_TITLE),
            "readings_title": gettext(READINGS_TITLE),
            "cannot_title": gettext(CANNOT_TITLE),
        }
        return render(request, "cases/case_report.html", context)


class CaseReportPdfView(_ReportView):
    """A file of random name: it says nothing of the patient where it lies."""

    action = "case.report_downloaded"

    def answer(
        self, request: HttpRequest, case: Case, summary: CaseSummary, report: CaseReport
    ) -> HttpResponse:
        images: dict[UUID, Image] = {answer.image.pk: answer.image for answer in summary.answers}
        results: dict[UUID, Result] = {r.pk: r for a in summary.answers for r in a.results}
        pictures = {}
        for shown in report.images:
            png = frame_png(image=images[shown.image_id], index=shown.frame)
            heat = results[shown.result_id] if report.heatmap and shown.result_id else None
            pictures[shown.image_id] = report_picture(png, heat)
        return HttpResponse(
            case_report_pdf(report, pictures),
            content_type="application/pdf",
            headers={
                "Content-Disposition": f'attachment; filename="case-{case.pk}.pdf"',
                "X-Content-Type-Options": "nosniff",
            },
        )
