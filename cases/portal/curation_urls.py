"""The addresses of curation."""

from django.urls import path

from cases.portal.views.curation import (
    CandidateDecideView,
    CandidateDetailView,
    CandidateListView,
    CandidatePictureView,
    FreezeCancelView,
    FreezeListView,
)

urlpatterns = [
    path("models/curation/", CandidateListView.as_view(), name="candidate-list"),
    path("models/curation/snapshots/", FreezeListView.as_view(), name="freeze-list"),
    path(
        "models/curation/snapshots/<uuid:freeze_id>/cancel/",
        FreezeCancelView.as_view(),
        name="freeze-cancel",
    ),
    path(
        "models/curation/<uuid:candidate_id>/",
        CandidateDetailView.as_view(),
        name="candidate-detail",
    ),
    path(
        "models/curation/<uuid:candidate_id>/picture/",
        CandidatePictureView.as_view(),
        name="candidate-picture",
    ),
    path(
        "models/curation/<uuid:candidate_id>/decide/",
        CandidateDecideView.as_view(),
        name="candidate-decide",
    ),
]
