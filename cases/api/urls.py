"""The addresses of the contract, under `/api/v1/`."""

from django.urls import path, re_path

from cases.api.event_urls import urlpatterns as event_urlpatterns
from cases.api.views.audit import AuditListApi
from cases.api.views.cases import CaseDetailApi, CaseListApi
from cases.api.views.comparison import ModelComparisonApi
from cases.api.views.curation import CandidateListApi
from cases.api.views.dead_letters import DeadLetterListApi, DeadLetterRetryApi
from cases.api.views.gates import GatePlanDetailApi, GatePlanListApi
from cases.api.views.images import ImageDetailApi, ImageFileApi, ImagePreviewApi
from cases.api.views.jobs import (
    JobCancelApi,
    JobDetailApi,
    JobListApi,
    JobRerunApi,
)
from cases.api.views.learning import ModelDetailApi, ModelListApi, ModelLiveApi
from cases.api.views.meta import DocsApi, ErrorTypeApi, SchemaApi, UnknownApi
from cases.api.views.outcomes import FindingOutcomesApi
from cases.api.views.patients import PatientSearchApi, ResearchOptOutApi
from cases.api.views.promotion import (
    OnlyAtThePortalApi,
    PromotionListApi,
    RecallApi,
    ServingApi,
    ServingSuspendApi,
)
from cases.api.views.readings import ReadingListApi
from cases.api.views.replays import ResultReplayApi
from cases.api.views.results import ResultDetailApi, ResultHeatmapApi, ResultListApi
from cases.api.views.submissions import SubmissionDetailApi, SubmissionListApi
from cases.api.views.training import (
    SnapshotDetailApi,
    SnapshotListApi,
    TrainingRunCancelApi,
    TrainingRunDetailApi,
    TrainingRunListApi,
)
from cases.api.views.watch import ModelWatchApi
from cases.api.webhook_urls import urlpatterns as webhook_urlpatterns

app_name = "api"

urlpatterns = [
    path("submissions/", SubmissionListApi.as_view(), name="submission-list"),
    path(
        "submissions/<uuid:submission_id>/",
        SubmissionDetailApi.as_view(),
        name="submission-detail",
    ),
    path("jobs/", JobListApi.as_view(), name="job-list"),
    path("jobs/<uuid:job_id>/", JobDetailApi.as_view(), name="job-detail"),
    path("jobs/<uuid:job_id>/cancel/", JobCancelApi.as_view(), name="job-cancel"),
    path("jobs/<uuid:job_id>/rerun/", JobRerunApi.as_view(), name="job-rerun"),
    path("dead-letters/", DeadLetterListApi.as_view(), name="dead-letter-list"),
    path("dead-letters/retry/", DeadLetterRetryApi.as_view(), name="dead-letter-retry"),
    path("cases/", CaseListApi.as_view(), name="case-list"),
    path("cases/<uuid:case_id>/", CaseDetailApi.as_view(), name="case-detail"),
    path("images/<uuid:image_id>/", ImageDetailApi.as_view(), name="image-detail"),
    path("images/<uuid:image_id>/file/", ImageFileApi.as_view(), name="image-file"),
    path("images/<uuid:image_id>/preview/", ImagePreviewApi.as_view(), name="image-preview"),
    path("results/", ResultListApi.as_view(), name="result-list"),
    path("results/<uuid:result_id>/", ResultDetailApi.as_view(), name="result-detail"),
    path("results/<uuid:result_id>/heatmap/", ResultHeatmapApi.as_view(), name="result-heatmap"),
    path("results/<uuid:result_id>/replay/", ResultReplayApi.as_view(), name="result-replay"),
    path(
        "findings/<uuid:finding_id>/outcomes/",
        FindingOutcomesApi.as_view(),
        name="finding-outcomes",
    ),
    path("patients/search/", PatientSearchApi.as_view(), name="patient-search"),
    path("patients/research-opt-out/", ResearchOptOutApi.as_view(), name="research-opt-out"),
    path("readings/", ReadingListApi.as_view(), name="reading-list"),
    path("models/", ModelListApi.as_view(), name="model-list"),
    path("models/live/", ModelLiveApi.as_view(), name="model-live"),
    path("models/<uuid:model_id>/", ModelDetailApi.as_view(), name="model-detail"),
    path("models/<uuid:model_id>/promote/", OnlyAtThePortalApi.as_view(), name="model-promote"),
    path("models/<uuid:model_id>/roll-back/", OnlyAtThePortalApi.as_view(), name="model-back"),
    path(
        "models/<uuid:model_id>/comparison/",
        ModelComparisonApi.as_view(),
        name="model-comparison",
    ),
    path("models/<uuid:model_id>/recall/", RecallApi.as_view(), name="model-recall"),
    path("models/<uuid:model_id>/watch/", ModelWatchApi.as_view(), name="model-watch"),
    path("promotions/", PromotionListApi.as_view(), name="promotion-list"),
    path("serving/", ServingApi.as_view(), name="serving"),
    path("serving/suspend/", ServingSuspendApi.as_view(), name="serving-suspend"),
    path("training-candidates/", CandidateListApi.as_view(), name="training-candidate-list"),
    path("training-snapshots/", SnapshotListApi.as_view(), name="training-snapshot-list"),
    path(
        "training-snapshots/<slug:snapshot_id>/",
        SnapshotDetailApi.as_view(),
        name="training-snapshot-detail",
    ),
    path("gate-plans/", GatePlanListApi.as_view(), name="gate-plan-list"),
    path("gate-plans/<uuid:plan_id>/", GatePlanDetailApi.as_view(), name="gate-plan-detail"),
    path("training-runs/", TrainingRunListApi.as_view(), name="training-run-list"),
    path(
        "training-runs/<uuid:run_id>/", TrainingRunDetailApi.as_view(), name="training-run-detail"
    ),
    path(
        "training-runs/<uuid:run_id>/cancel/",
        TrainingRunCancelApi.as_view(),
        name="training-run-cancel",
    ),
    *event_urlpatterns,
    *webhook_urlpatterns,
    path("audit/", AuditListApi.as_view(), name="audit-list"),
    path("errors/<slug:code>/", ErrorTypeApi.as_view(), name="error-type"),
    path("schema/", SchemaApi.as_view(), name="schema"),
    path("docs/", DocsApi.as_view(), name="docs"),
    re_path(r"", UnknownApi.as_view(), name="unknown"),
]
