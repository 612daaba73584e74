"""Addresses around a case: priors, report, what the models were not tested on."""

from django.urls import path

from cases.portal.views.evidence import CircumstancesView
from cases.portal.views.priors import PriorCompareView
from cases.portal.views.report import CaseReportPdfView, CaseReportView

urlpatterns = [
    path("cases/<uuid:case_id>/report/", CaseReportView.as_view(), name="case-report"),
    path("cases/<uuid:case_id>/report.pdf", CaseReportPdfView.as_view(), name="case-report-pdf"),
    path("cases/<uuid:case_id>/compare/", PriorCompareView.as_view(), name="case-compare"),
    path(
        "cases/<uuid:case_id>/circumstances/",
        CircumstancesView.as_view(),
        name="case-circumstances",
    ),
]
