"""The addresses of readings, and of reading first."""

from django.urls import path

from cases.portal.views.reader_first import (
    ReaderFirstView,
    ReadingChangesCsvView,
    ReadingChangesView,
)
from cases.portal.views.readings import ReadingDiscardView, ReadingKeepView, ReadingWriteView

urlpatterns = [
    path("cases/<uuid:case_id>/readings/", ReadingWriteView.as_view(), name="reading-write"),
    path("cases/<uuid:case_id>/readings/keep/", ReadingKeepView.as_view(), name="reading-keep"),
    path(
        "readings/<uuid:reading_id>/discard/", ReadingDiscardView.as_view(), name="reading-discard"
    ),
    path("reader-first/", ReaderFirstView.as_view(), name="reader-first"),
    path("reader-first/changes/", ReadingChangesView.as_view(), name="reading-changes"),
    path("reader-first/changes.csv", ReadingChangesCsvView.as_view(), name="reading-changes-csv"),
]
