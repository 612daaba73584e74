"""The addresses of a model's life."""

from django.urls import path

from cases.portal.views.comparison import (
    CardsCompareView,
    LockedPictureView,
    ModelCompareFigureView,
    ModelCompareView,
)
from cases.portal.views.gates import (
    GatePlanCreateView,
    GatePlanDetailView,
    GatePlanListView,
)
from cases.portal.views.model_life import (
    ModelRejectView,
    ModelRollBackView,
    PromotionApproveView,
    PromotionDeclineView,
    PromotionDetailView,
    PromotionRequestView,
    PromotionWithdrawView,
)
from cases.portal.views.model_reports import (
    ModelLiveView,
    ModelRecallCsvView,
    ModelRecallView,
    ModelShadowView,
    ServingResumeView,
    ServingSuspendView,
    ServingView,
)
from cases.portal.views.watch import WatchCsvView, WatchView

urlpatterns = [
    path("models/live/", ModelLiveView.as_view(), name="model-live"),
    path("models/watch/", WatchView.as_view(), name="watch"),
    path("models/watch.csv", WatchCsvView.as_view(), name="watch-csv"),
    path("models/plans/", GatePlanListView.as_view(), name="gate-plan-list"),
    path("models/plans/new/", GatePlanCreateView.as_view(), name="gate-plan-create"),
    path("models/plans/<uuid:plan_id>/", GatePlanDetailView.as_view(), name="gate-plan-detail"),
    path("models/compare/", CardsCompareView.as_view(), name="model-cards-compare"),
    path("models/<uuid:model_id>/compare/", ModelCompareView.as_view(), name="model-compare"),
    path(
        "models/<uuid:model_id>/compare/curves/<slug:name>.svg",
        ModelCompareFigureView.as_view(),
        name="model-compare-figure",
    ),
    path(
        "models/<uuid:model_id>/compare/pictures/<slug:sha256>.png",
        LockedPictureView.as_view(),
        name="model-compare-picture",
    ),
    path("models/answering/", ServingView.as_view(), name="serving"),
    path("models/answering/suspend/", ServingSuspendView.as_view(), name="serving-suspend"),
    path("models/answering/resume/", ServingResumeView.as_view(), name="serving-resume"),
    path(
        "models/<uuid:model_id>/promotion/",
        PromotionRequestView.as_view(),
        name="promotion-request",
    ),
    path("models/<uuid:model_id>/roll-back/", ModelRollBackView.as_view(), name="model-roll-back"),
    path("models/<uuid:model_id>/reject/", ModelRejectView.as_view(), name="model-reject"),
    path("models/<uuid:model_id>/shadow/", ModelShadowView.as_view(), name="model-shadow"),
    path("models/<uuid:model_id>/recall/", ModelRecallView.as_view(), name="model-recall"),
    path(
        "models/<uuid:model_id>/recall.csv", ModelRecallCsvView.as_view(), name="model-recall-csv"
    ),
    path("promotions/<uuid:request_id>/", PromotionDetailView.as_view(), name="promotion-detail"),
    path(
        "promotions/<uuid:request_id>/approve/",
        PromotionApproveView.as_view(),
        name="promotion-approve",
    ),
    path(
        "promotions/<uuid:request_id>/decline/",
        PromotionDeclineView.as_view(),
        name="promotion-decline",
    ),
    path(
        "promotions/<uuid:request_id>/withdraw/",
        PromotionWithdrawView.as_view(),
        name="promotion-withdraw",
    ),
]
