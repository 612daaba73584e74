"""The portal's addresses. No address holds anything about a patient, only random ids."""

from django.urls import path

from cases.portal.account_urls import urlpatterns as account_urlpatterns
from cases.portal.admin_urls import urlpatterns as admin_urlpatterns
from cases.portal.case_urls import urlpatterns as case_urlpatterns
from cases.portal.curation_urls import urlpatterns as curation_urlpatterns
from cases.portal.model_urls import urlpatterns as model_urlpatterns
from cases.portal.reading_urls import urlpatterns as reading_urlpatterns
from cases.portal.views.account import HomeView
from cases.portal.views.audit import AuditListView
from cases.portal.views.case import (
    CaseAnswersView,
    CaseAuditView,
    CaseDetailView,
    JobCancelView,
    JobRerunView,
    ResultReplayView,
)
from cases.portal.views.corrections import PatientCorrectView, PatientEraseView
from cases.portal.views.dead_letters import DeadLetterListView, DeadLetterRetryView
from cases.portal.views.files import (
    ImageFileView,
    ImageFramesView,
    ImagePreviewView,
    ResultHeatmapView,
)
from cases.portal.views.look import SubmissionLookView
from cases.portal.views.models import ModelDetailView, ModelListView
from cases.portal.views.outcomes import FindingAddView, OutcomeRecordView, ResearchOptOutView
from cases.portal.views.schedules import (
    ScheduleCreateView,
    ScheduleDetailView,
    ScheduleListView,
    ScheduleSwitchView,
)
from cases.portal.views.submit import SubmissionPendingView, SubmitView
from cases.portal.views.training import (
    SnapshotListView,
    TrainingListView,
    TrainingRunCancelView,
    TrainingRunCurveView,
    TrainingRunLiveView,
    TrainingRunView,
    TrainingStartView,
)
from cases.portal.views.withdrawals import ResultWithdrawView
from cases.portal.webhook_urls import urlpatterns as webhook_urlpatterns
from cases.portal.worklist_urls import urlpatterns as worklist_urlpatterns

urlpatterns = [
    path("", HomeView.as_view(), name="home"),
    *account_urlpatterns,
    *worklist_urlpatterns,
    path("cases/<uuid:case_id>/", CaseDetailView.as_view(), name="case-detail"),
    path("cases/<uuid:case_id>/answers/", CaseAnswersView.as_view(), name="case-answers"),
    path("cases/<uuid:case_id>/history/", CaseAuditView.as_view(), name="case-audit"),
    *reading_urlpatterns,
    path("cases/<uuid:case_id>/findings/", FindingAddView.as_view(), name="finding-add"),
    path("cases/<uuid:case_id>/patient/", PatientCorrectView.as_view(), name="patient-correct"),
    path("cases/<uuid:case_id>/erase/", PatientEraseView.as_view(), name="patient-erase"),
    path("cases/<uuid:case_id>/research/", ResearchOptOutView.as_view(), name="research-opt-out"),
    path(
        "findings/<uuid:finding_id>/outcomes/", OutcomeRecordView.as_view(), name="outcome-record"
    ),
    *case_urlpatterns,
    path("submit/look/", SubmissionLookView.as_view(), name="submission-look"),
    path("submit/", SubmitView.as_view(), name="case-submit"),
    path("submit/<slug:key>/", SubmissionPendingView.as_view(), name="submission-pending"),
    path("images/<uuid:image_id>/preview/", ImagePreviewView.as_view(), name="image-preview"),
    path("images/<uuid:image_id>/frames/", ImageFramesView.as_view(), name="image-frames"),
    path("images/<uuid:image_id>/file/", ImageFileView.as_view(), name="image-file"),
    path("results/<uuid:result_id>/heatmap/", ResultHeatmapView.as_view(), name="result-heatmap"),
    path("results/<uuid:result_id>/replay/", ResultReplayView.as_view(), name="result-replay"),
    path(
        "results/<uuid:result_id>/withdraw/", ResultWithdrawView.as_view(), name="result-withdraw"
    ),
    path("jobs/<uuid:job_id>/cancel/", JobCancelView.as_view(), name="job-cancel"),
    path("jobs/<uuid:job_id>/rerun/", JobRerunView.as_view(), name="job-rerun"),
    path("failed/", DeadLetterListView.as_view(), name="dead-letter-list"),
    path("failed/retry/", DeadLetterRetryView.as_view(), name="dead-letter-retry"),
    path("models/", ModelListView.as_view(), name="model-list"),
    path("models/<uuid:model_id>/", ModelDetailView.as_view(), name="model-detail"),
    *model_urlpatterns,
    *curation_urlpatterns,
    path("training/", TrainingListView.as_view(), name="training-list"),
    path("training/start/", TrainingStartView.as_view(), name="training-start"),
    path("training/snapshots/", SnapshotListView.as_view(), name="snapshot-list"),
    path("training/schedules/", ScheduleListView.as_view(), name="schedule-list"),
    path("training/schedules/new/", ScheduleCreateView.as_view(), name="schedule-create"),
    path(
        "training/schedules/<uuid:schedule_id>/",
        ScheduleDetailView.as_view(),
        name="schedule-detail",
    ),
    path(
        "training/schedules/<uuid:schedule_id>/switch/",
        ScheduleSwitchView.as_view(),
        name="schedule-switch",
    ),
    path("training/runs/<uuid:run_id>/", TrainingRunView.as_view(), name="training-run"),
    path(
        "training/runs/<uuid:run_id>/live/",
        TrainingRunLiveView.as_view(),
        name="training-run-live",
    ),
    path(
        "training/runs/<uuid:run_id>/losses.svg",
        TrainingRunCurveView.as_view(),
        name="training-run-curve",
    ),
    path(
        "training/runs/<uuid:run_id>/cancel/",
        TrainingRunCancelView.as_view(),
        name="training-run-cancel",
    ),
    *webhook_urlpatterns,
    *admin_urlpatterns,
    path("audit/", AuditListView.as_view(), name="audit-list"),
]
