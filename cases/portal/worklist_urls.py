"""Addresses of the worklist and of what is done from it. None says anything about a patient."""

from django.urls import path

from cases.portal.views.worklist import WorklistRowsView, WorklistSearchView, WorklistView
from cases.portal.views.worklist_bulk import WorklistBulkConfirmView, WorklistBulkView
from cases.portal.views.worklist_views import WorklistViewChangeView, WorklistViewsView

urlpatterns = [
    path("cases/", WorklistView.as_view(), name="worklist"),
    path("cases/rows/", WorklistRowsView.as_view(), name="worklist-rows"),
    path("cases/search/", WorklistSearchView.as_view(), name="worklist-search"),
    path("cases/bulk/", WorklistBulkView.as_view(), name="worklist-bulk"),
    path("cases/bulk/confirm/", WorklistBulkConfirmView.as_view(), name="worklist-bulk-confirm"),
    path("cases/views/", WorklistViewsView.as_view(), name="worklist-views"),
    path(
        "cases/views/<uuid:view_id>/", WorklistViewChangeView.as_view(), name="worklist-view-change"
    ),
]
