"""The tables, one file per concept."""

from cases.models.accounts import SignInFailure
from cases.models.audit import AuditEvent
from cases.models.blobs import Blob, BlobChunk
from cases.models.curation import (
    CandidateEvent,
    FrozenPicture,
    PatientPartition,
    SnapshotFreeze,
    TrainingCandidate,
)
from cases.models.evidence import CaseCircumstance
from cases.models.gates import GatePlan, LockedSetUse
from cases.models.imaging import IDEMPOTENCY_LIFE, Case, Finding, Frame, Image, Patient, Submission
from cases.models.jobs import Job, JobEvent, ServiceHeartbeat
from cases.models.learning import ModelEvent, ModelVersion
from cases.models.openings import IdentityClosing, IdentityOpening
from cases.models.people import ApiToken, Site, User, UserRole
from cases.models.promotion import GateVerdict, ModelFault, PromotionRequest, ServingEvent
from cases.models.reader_first import ReaderFirstEvent
from cases.models.readings import Reading
from cases.models.results import Replay, Result, ResultRead
from cases.models.review import (
    FindingOutcome,
    PatientCorrection,
    PatientErasure,
    ResultWithdrawal,
)
from cases.models.seals import AuditSeal
from cases.models.separation import ScheduleEdit, SnapshotPatient, TrainingOrderer
from cases.models.shadow import ShadowResult
from cases.models.tallies import JobTally
from cases.models.training import (
    ScheduleFiring,
    TrainingEpoch,
    TrainingRun,
    TrainingSchedule,
    TrainingSnapshot,
)
from cases.models.webhooks import Webhook, WebhookAttempt, WebhookDelivery
from cases.models.worklist import SavedView, WorklistChange, WorklistEntry

__all__ = [
    "IDEMPOTENCY_LIFE",
    "ApiToken",
    "AuditEvent",
    "AuditSeal",
    "Blob",
    "BlobChunk",
    "CandidateEvent",
    "Case",
    "CaseCircumstance",
    "Finding",
    "FindingOutcome",
    "Frame",
    "FrozenPicture",
    "GatePlan",
    "GateVerdict",
    "IdentityClosing",
    "IdentityOpening",
    "Image",
    "Job",
    "JobEvent",
    "JobTally",
    "LockedSetUse",
    "ModelEvent",
    "ModelFault",
    "ModelVersion",
    "Patient",
    "PatientCorrection",
    "PatientErasure",
    "PatientPartition",
    "PromotionRequest",
    "ReaderFirstEvent",
    "Reading",
    "Replay",
    "Result",
    "ResultRead",
    "ResultWithdrawal",
    "SavedView",
    "ScheduleEdit",
    "ScheduleFiring",
    "ServiceHeartbeat",
    "ServingEvent",
    "ShadowResult",
    "SignInFailure",
    "Site",
    "SnapshotFreeze",
    "SnapshotPatient",
    "Submission",
    "TrainingCandidate",
    "TrainingEpoch",
    "TrainingOrderer",
    "TrainingRun",
    "TrainingSchedule",
    "TrainingSnapshot",
    "User",
    "UserRole",
    "Webhook",
    "WebhookAttempt",
    "WebhookDelivery",
    "WorklistChange",
    "WorklistEntry",
]
