"""The addresses to wait at, under `/api/v1/`."""

from django.urls import path

from cases.api.views.events import (
    CaseEventsApi,
    JobEventsApi,
    SiteEventsApi,
    SubmissionEventsApi,
)

urlpatterns = [
    path("events/", SiteEventsApi.as_view(), name="site-events"),
    path("jobs/<uuid:job_id>/events/", JobEventsApi.as_view(), name="job-events"),
    path(
        "submissions/<uuid:submission_id>/events/",
        SubmissionEventsApi.as_view(),
        name="submission-events",
    ),
    path("cases/<uuid:case_id>/events/", CaseEventsApi.as_view(), name="case-events"),
]
